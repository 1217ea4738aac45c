"""Check events before they are sent: whether the platform would accept them, and if not, what to change.

The check is the codec's own validator, so its verdict is the worker's, but for what only a worker knows: the record's
key, which is taken to be ``partitionkey``, and its clock limits, which may be set here.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from schemas.codec_types import ClockLimits, Reason
from schemas.event_types import FAMILIES, PREFIX, Family
from schemas.validate import Event, validate

VALUE_LIMIT_BYTES: Final = 1_048_576
_NO_CLOCK: Final = ClockLimits(earliest_us=-(2**62), max_ahead_us=2**62)
_BLANKS: Final = re.compile(r"[ \t\r\n]*")
_REMEDIES: Final = {
    Reason.EMPTY: "Send the event as the record's value.",
    Reason.TOO_LARGE: "Send less in one event; a long roster belongs into the registry.",
    Reason.ENCODING: "Encode the text as UTF-8.",
    Reason.JSON: "Write the event with a JSON library, one object a line, without comments, NaN or a byte order mark.",
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
    """What becomes of one event: ``line`` counts from 1 (items of an array count likewise).

    An accepted event has ``type`` (its short name) and no ``reason``; a rejected one has ``reason``, the ``field`` to
    blame if there is one, ``detail``, and the ``remedy``.
    """

    line: int
    accepted: bool
    type: str | None
    reason: Reason | None = None
    field: str | None = None
    detail: str | None = None
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class _Line:
    """A line as a record with the right key."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    offset: int = 0
    timestamp: int = -1


def check(
    lines: Iterable[bytes], *, family: Family | None = None, clock: ClockLimits = _NO_CLOCK, now_us: int = 0
) -> Iterator[Verdict]:
    """Yield the verdict on each structured-mode event of ``lines``: one event a line, or one JSON array over all.

    Blank lines are skipped. Without ``family``, each event is checked against the family its type names. Lines are
    read one at a time; an array is read as a whole.
    """
    for number, line in _events(iter(lines)):
        yield _verdict(number, line, family, clock, now_us)


def _events(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    first = True
    for number, line in enumerate(lines, start=1):
        text = line.strip(b" \t\r\n")
        if not text:
            continue
        if first and text.startswith(b"["):
            yield from _array(number, b"".join([line, *lines]))
            return
        first = False
        yield number, text


def _array(number: int, text: bytes) -> list[tuple[int, bytes]]:
    """Return the items of a JSON array as they are written, so that repeated names and odd numbers still show.

    A text that is no array is one item, as a whole: the validator says what is wrong with it.
    """
    try:
        return list(enumerate(_items(text.decode("utf-8")), start=1))
    except (ValueError, RecursionError):
        return [(number, text)]


def _items(text: str) -> Iterator[bytes]:
    decoder = json.JSONDecoder()
    place = _skip(text, _skip(text, 0) + 1)
    closed = text.startswith("]", place)
    while not closed:
        _, end = decoder.raw_decode(text, place)
        yield text[place:end].encode("utf-8")
        place = _skip(text, end)
        closed = text.startswith("]", place)
        if not closed:
            if not text.startswith(",", place):
                message = "expected a comma between items"
                raise ValueError(message)
            place = _skip(text, place + 1)
    if _skip(text, place + 1) != len(text):
        message = "expected nothing after the array"
        raise ValueError(message)


def _skip(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    return found.end() if found else place


def _verdict(number: int, line: bytes, family: Family | None, clock: ClockLimits, now_us: int) -> Verdict:
    attributes = _attributes(line)
    key = attributes.get("partitionkey")
    event_type = attributes.get("type")
    name = event_type if isinstance(event_type, str) else None
    record = _Line(key.encode("utf-8", "surrogatepass") if isinstance(key, str) else None, line)
    found = validate(
        family or _family_of(name), record, number, clock=clock, now_us=now_us, max_value_bytes=VALUE_LIMIT_BYTES
    )
    if isinstance(found, Event):
        return Verdict(number, accepted=True, type=found.name)
    remedy = _REMEDIES[found.reason]
    return Verdict(number, False, name, found.reason, found.field, found.detail, remedy)  # noqa: FBT003


def _attributes(line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line) if len(line) <= VALUE_LIMIT_BYTES else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _family_of(event_type: str | None) -> Family:
    named = (event_type or "").removeprefix(PREFIX).partition(".")[0]
    return next((family for family in FAMILIES if family.name == named), FAMILIES[0])
