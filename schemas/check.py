"""Check events before they are sent: whether the platform would accept them, and if not, all that has to be changed.

The check is the codec's own validator, so its verdict is the worker's, but for what only a worker knows: the record's
key, which is taken to be ``partitionkey``, and its timestamp, which is taken to be the present.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from schemas.codec.documents import Document, documents
from schemas.codec.records import ClockLimits, Reason
from schemas.codec.validate import faults
from schemas.codec.validate_read import Fault
from schemas.events.event_types import FAMILIES, PREFIX, Family

#: What a vendor does about a fault.
REMEDIES: Final = {
    Reason.EMPTY: "Send the event as the record's value.",
    Reason.TOO_LARGE: "Send less in one event; a long roster belongs into the registry.",
    Reason.ENCODING: "Encode the text as UTF-8.",
    Reason.JSON: "Write the event with a JSON library, without comments, NaN or a byte order mark.",
    Reason.NESTING: "Flatten what you add of your own.",
    Reason.DUPLICATE_KEY: "Write each name once.",
    Reason.ENVELOPE: "Correct the attribute; docs/events.md lists them all.",
    Reason.CONTENT_TYPE: "Send content-type: application/cloudevents+json, or application/json in binary mode.",
    Reason.UNKNOWN_TYPE: "Use a type of the catalogue; `classpulse schema export` writes them all.",
    Reason.UNKNOWN_VERSION: "Send the version that is supported, or upgrade the platform first.",
    Reason.WRONG_TOPIC: "Send the event to its own family's topic.",
    Reason.KEY: "Set the Kafka record key; partitionkey may say the same (`classpulse schema check` sees no other key).",
    Reason.DATA: "Correct the field of data; the type's JSON Schema says what it may hold.",
    Reason.CLOCK_AHEAD: "Set the device's clock by NTP.",
    Reason.CLOCK_BEHIND: "Set the device's clock by NTP.",
    Reason.DATABASE: "Ask the operator: a rule of the database is narrower than the contract.",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one event of a file: ``event`` is its number and ``line`` where it begins, both from 1.

    ``id`` and ``type`` are what the event says, as far as they can be read. Without ``faults`` it is accepted; the first of
    them is what a dead letter would name.
    """

    event: int
    line: int
    id: str | None
    type: str | None
    faults: tuple[Fault, ...]

    @property
    def accepted(self) -> bool:
        """Whether a worker would store the event."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class _Record:
    """An event as a record with the right key."""

    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    offset: int = 0
    timestamp: int = -1


def check(
    chunks: Iterable[bytes], *, clock: ClockLimits, now_us: int, max_value_bytes: int, family: Family | None = None
) -> Iterator[Verdict]:
    """Yield the verdict on each structured-mode event of a file that comes in ``chunks``; for its forms see ``documents``.

    ``now_us`` is the present in microseconds since the epoch. Without ``family``, each event is checked against the family
    its type names.
    """
    for document in documents(chunks, max_value_bytes):
        if document.fault is not None:
            fault = Fault(Reason.JSON, None, document.fault)
            yield Verdict(document.number, document.line, None, None, (fault,))
            continue
        attributes = _attributes(document, max_value_bytes)
        key, event_type = attributes.get("partitionkey"), attributes.get("type")
        record = _Record(None if key is None else key.encode("utf-8", "surrogatepass"), document.value)
        found = faults(
            family or _family_of(event_type), record, clock=clock, now_us=now_us, max_value_bytes=max_value_bytes
        )
        yield Verdict(document.number, document.line, attributes.get("id"), event_type, tuple(found))


def _attributes(document: Document, max_value_bytes: int) -> dict[str, str]:
    try:
        # Integers stay text: Python refuses to convert very long ones, which the contract lets pass where it ignores them.
        found: Any = json.loads(document.value, parse_int=str) if len(document.value) <= max_value_bytes else None
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found[name] for name in ("id", "type", "partitionkey") if isinstance(found.get(name), str)}


def _family_of(event_type: str | None) -> Family:
    named = (event_type or "").removeprefix(PREFIX).partition(".")[0]
    return next((family for family in FAMILIES if family.name == named), FAMILIES[0])
