"""From a draft to the bytes of a Kafka record, in either content mode of CloudEvents.

Written with string templates over prepared fragments: a run of a million records must take seconds, and every
identifier here is our own, free of characters that JSON would escape.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from deploy.local.simulator.chance import seeded
from deploy.local.simulator.draft import Draft
from deploy.local.simulator.ledger import Outcome, Produced
from deploy.local.simulator.school_day import rfc3339

STRUCTURED_HEADERS: Final = [("content-type", b"application/cloudevents+json")]
_BINARY_HEADERS: Final = [("content-type", b"application/json"), ("ce_specversion", b"1.0")]
#: A tablet writes an event down a moment after it happened.
_WRITTEN_DOWN_MS: Final = 40


class Event(NamedTuple):
    """A draft that has got its identity: id and sequence stay the same however often it is sent."""

    draft: Draft
    event_id: str
    sequence: str
    #: By the device's clock, ms.
    device_time_ms: int
    recordedtime: str | None
    binary: bool


class Encoder:
    """Gives events their identity and encodes them; deterministic by the seed and the order of calls."""

    def __init__(self, seed: int, binary_share: float) -> None:
        self._bits = seeded(seed, "ids").getrandbits
        self._mode = seeded(seed, "modes").random
        self._binary_share = binary_share

    def identify(self, draft: Draft, *, offline: bool) -> Event:
        """Give the draft the next sequence number of its device and an id in the form of a UUIDv7."""
        device = draft.device
        device.sequence += 1
        device_time_ms = draft.time_ms + device.skew_ms
        stamp = f"{device_time_ms:012x}"
        noise = f"{self._bits(72):018x}"
        return Event(
            draft,
            f"{stamp[:8]}-{stamp[8:]}-7{noise[:3]}-a{noise[3:6]}-{noise[6:]}",
            f"{device.sequence:010d}",
            device_time_ms,
            rfc3339(device_time_ms + _WRITTEN_DOWN_MS) if offline else None,
            self._mode() < self._binary_share,
        )


def encode(event: Event, time_ms: int, arrival_ms: int, outcome: Outcome, reason: str | None = None) -> Produced:
    """Return the record of ``event`` with ``time_ms`` as its time, arriving at ``arrival_ms``."""
    draft = event.draft
    kind, context = draft.kind, draft.context
    if event.binary:
        return Produced(
            kind.topic,
            context.key,
            draft.data.encode(),
            binary_headers(event, rfc3339(time_ms)),
            arrival_ms,
            outcome,
            reason,
        )
    recorded = f'","recordedtime":"{event.recordedtime}' if event.recordedtime is not None else ""
    value = (
        f'{{"specversion":"1.0","id":"{event.event_id}","source":"{draft.device.source}{kind.type_fragment}'
        f'{rfc3339(time_ms)}{context.fragment},"sequence":"{event.sequence}{recorded}'
        f'","datacontenttype":"application/json","data":{draft.data}}}'
    )
    return Produced(kind.topic, context.key, value.encode(), STRUCTURED_HEADERS, arrival_ms, outcome, reason)


def attributes(event: Event, time: str) -> dict[str, str]:
    """Return the event's context attributes by name, without ``specversion``."""
    named = {
        "id": event.event_id,
        "source": event.draft.device.source,
        "type": event.draft.kind.type,
        "dataschema": event.draft.kind.dataschema,
        "time": time,
        **event.draft.context.attributes,
        "sequence": event.sequence,
    }
    if event.recordedtime is not None:
        named["recordedtime"] = event.recordedtime
    return named


def binary_headers(event: Event, time: str) -> list[tuple[str, bytes]]:
    """Return the record headers of the event in binary content mode."""
    kind = event.draft.kind
    headers = [
        *_BINARY_HEADERS,
        ("ce_id", event.event_id.encode()),
        ("ce_source", event.draft.device.source.encode()),
        ("ce_type", kind.type.encode()),
        ("ce_dataschema", kind.dataschema.encode()),
        ("ce_time", time.encode()),
        *event.draft.context.headers,
        ("ce_sequence", event.sequence.encode()),
    ]
    if event.recordedtime is not None:
        headers.append(("ce_recordedtime", event.recordedtime.encode()))
    return headers
