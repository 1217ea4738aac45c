"""What a script yields: events before they have an id, a sequence number and a form on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from deploy.local.simulator.district import Device
from schemas.events.event_types import FAMILIES, schema_uri, type_uri


class Kind:
    """One event type with the parts of its envelope that never change."""

    __slots__ = ("dataschema", "family", "name", "topic", "type", "type_fragment")

    def __init__(self, name: str, topic: str, family: str) -> None:
        self.name = name
        self.topic = topic
        self.family = family
        self.type = type_uri(name)
        self.dataschema = schema_uri(name)
        self.type_fragment = f'","type":"{self.type}","dataschema":"{self.dataschema}","time":"'


KINDS: Final = {name: Kind(name, family.topic, family.name) for family in FAMILIES for name in family.models}


class Context:
    """What an event is about: partition key, subject and the extension attributes that apply."""

    __slots__ = ("attributes", "fragment", "headers", "key")

    def __init__(
        self,
        partitionkey: str,
        subject: str,
        *,
        schoolid: str | None = None,
        classid: str | None = None,
        lessonid: str | None = None,
    ) -> None:
        given = {
            "subject": subject,
            "partitionkey": partitionkey,
            "schoolid": schoolid,
            "classid": classid,
            "lessonid": lessonid,
        }
        self.key = partitionkey.encode()
        self.attributes = {name: value for name, value in given.items() if value is not None}
        self.fragment = '"' + "".join(f',"{name}":"{value}"' for name, value in self.attributes.items())
        self.headers = [(f"ce_{name}", value.encode()) for name, value in self.attributes.items()]


class Draft(NamedTuple):
    """One event of a script. ``data`` is JSON text; ``time_ms`` is the true time, whatever the device's clock says."""

    time_ms: int
    kind: Kind
    device: Device
    context: Context
    data: str


#: A script in pieces, each with its horizon: no later piece holds a draft before that time (ms).
#: The first piece is empty and says when the script begins.
Script = Iterator[tuple[int, list[Draft]]]
#: Horizon of a script's last piece: nothing follows, so the script holds nothing back.
LAST: Final = 0
