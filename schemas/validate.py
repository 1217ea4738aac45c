"""One record at a time, the slow way: strict JSON, then the Pydantic models. This is the contract in code.

The columnar codec decides most records without this module, and asks it about every record it is not sure of.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pydantic import ValidationError

from schemas.codec_headers import HeaderFault, is_binary, layout
from schemas.codec_types import (
    DETAIL_LIMIT_CHARS,
    OVERSIZED_HEADER,
    UNREADABLE_HEADER,
    ClockLimits,
    Reason,
    Record,
    Reject,
    quote,
)
from schemas.envelope import SUPPORTED_MAJOR_VERSION, Data, Envelope
from schemas.event_types import MODELS, PREFIX, SUFFIX, Family
from schemas.fields import timestamp_us
from schemas.validate_explain import explain

#: Deeper JSON is refused: no event of the catalogue is deeper than 3, and a parser's stack is finite.
DEPTH_LIMIT: Final = 64
#: Every bounded integer field has fewer digits than this.
DIGITS_LIMIT: Final = 100
#: Attributes of the envelope that must equal ``partitionkey`` where they are present, by family.
EQUAL_TO_KEY: Final[dict[str, tuple[str, ...]]] = {
    "classroom": ("subject", "lessonid"),
    "prep": (),
    "research": ("subject",),
    "registry": ("subject",),
}
_ENVELOPE_KEYS: Final = frozenset(Envelope.model_fields) | {"data", "data_base64"}
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_VERSION: Final = re.compile(r"[:/]v?([0-9.]+)\Z")


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted record: its row in the batch, its envelope, its data, and the event type's short name."""

    row: int
    offset: int
    name: str
    envelope: Envelope
    data: Data


class _Refused(Exception):  # noqa: N818 - it never leaves this module; it is a verdict, not an error
    def __init__(self, reason: Reason, field: str | None, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.field = field
        self.detail = detail


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys were given more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) != len(pairs):
            times = Counter(key for key, _ in pairs)
            self.repeated = [key for key in self if times[key] > 1]


def validate(
    family: Family,
    record: Record,
    row: int,
    *,
    clock: ClockLimits,
    now_us: int,
    max_value_bytes: int,
) -> Event | Reject:
    """Return the event that ``record`` is, or why it is none. Raises nothing for any content.

    Checked in this order, the first fault decides: value and its encoding, content mode, JSON, envelope, type and
    version, record key, the family's rules, data, clock.
    """
    try:
        return _event(family, record, row, clock=clock, now_us=now_us, max_value_bytes=max_value_bytes)
    except _Refused as refused:
        detail = refused.detail
        if len(detail) > DETAIL_LIMIT_CHARS:
            detail = f"{detail[: DETAIL_LIMIT_CHARS - 1]}…"
        return Reject(row, refused.reason, refused.field, detail)


def schema_version(dataschema: str) -> str:
    """Return the version that ends ``dataschema``, without a leading ``v``: ``urn:x:v1.2`` gives ``1.2``."""
    found = _VERSION.search(dataschema)
    return found.group(1) if found else ""


def _event(family: Family, record: Record, row: int, *, clock: ClockLimits, now_us: int, max_value_bytes: int) -> Event:
    if record.value is None:
        _refuse_substitute(record.headers)
    text = _text(record.value, max_value_bytes)
    attributes = _header_attributes(record.headers)
    content = _json(text)
    if attributes is None:
        if not isinstance(content, _Object):
            raise _Refused(Reason.ENVELOPE, None, f"expected a JSON object with an event in it, got {quote(content)}")
        _no_repeats(content, _ENVELOPE_KEYS, "")
        envelope, data = _envelope(content), content.get("data")
    else:
        envelope, data = _envelope(attributes), content
    name = _name(family, envelope)
    _check_key(family, record.key, envelope)
    if attributes is None and isinstance(content, _Object) and content.get("data_base64") is not None:
        raise _Refused(Reason.DATA, "data_base64", "expected a JSON object in `data`, got `data_base64`")
    event = Event(row, record.offset, name, envelope, _data(family, name, data))
    _check_clock(timestamp_us(envelope.time), record, clock, now_us)
    return event


def _refuse_substitute(headers: Sequence[tuple[str, bytes]] | None) -> None:
    """Refuse a record that stands for one that could not be read, with the explanation that it carries."""
    for name, content in headers or ():
        if name == OVERSIZED_HEADER:
            raise _Refused(Reason.TOO_LARGE, None, _explanation(content))
        if name == UNREADABLE_HEADER:
            raise _Refused(Reason.ENCODING, None, _explanation(content))


def _explanation(content: bytes | None) -> str:
    # A producer can send such a header as well, with anything in it.
    return (content or b"").decode("utf-8", "backslashreplace")


def _text(value: bytes | None, max_value_bytes: int) -> str:
    if not value:
        raise _Refused(Reason.EMPTY, None, "expected an event, got a record without a value")
    if len(value) > max_value_bytes:
        raise _Refused(Reason.TOO_LARGE, None, f"expected at most {max_value_bytes} bytes, got {len(value)}")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        near = quote(value[max(0, error.start - 10) : error.start + 10])
        raise _Refused(
            Reason.ENCODING, None, f"expected UTF-8, got another byte at position {error.start}, near {near}"
        ) from None


def _header_attributes(headers: Sequence[tuple[str, bytes]] | None) -> dict[str, str | None] | None:
    """Return the attributes in the headers (binary mode), or None for structured mode."""
    names = tuple(name for name, _ in headers or ())
    values: tuple[bytes | None, ...] = tuple(value for _, value in headers or ())
    found = layout(names)
    binary = is_binary(found, values)
    if isinstance(binary, HeaderFault):
        raise _Refused(binary.reason, binary.field, binary.detail)
    if not binary:
        return None
    attributes: dict[str, str | None] = {}
    for attribute, index in found.attributes:
        if attribute not in Envelope.model_fields:
            continue
        value = values[index]
        try:
            attributes[attribute] = None if value is None else value.decode("utf-8")
        except UnicodeDecodeError:
            detail = f"expected UTF-8 in the header ce_{attribute}, got {quote(value)}"
            raise _Refused(Reason.ENCODING, attribute, detail) from None
    return attributes


def _json(text: str) -> Any:
    if text.count("{") + text.count("[") > DEPTH_LIMIT:
        _check_depth(text)
    try:
        return json.loads(text, object_pairs_hook=_Object, parse_int=_integer, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        near = quote(text[max(0, error.pos - 10) : error.pos + 30])
        detail = f"not valid JSON at character {error.pos}: {error.msg}; near {near}"
        raise _Refused(Reason.JSON, None, detail) from None


def _integer(digits: str) -> int:
    """Return an integer; one that no field can hold is cut short, since Python refuses more than 4,300 digits."""
    return int(digits[:DIGITS_LIMIT])


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(Reason.JSON, None, f"{name} is not JSON; leave the field out or send null")


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in re.findall(r"[][{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_LIMIT:
            raise _Refused(Reason.NESTING, None, f"expected at most {DEPTH_LIMIT} levels of nesting, got more")


def _no_repeats(content: _Object, known: frozenset[str], prefix: str) -> None:
    for key in content.repeated:
        if key in known:
            field = f"{prefix}{key}"
            raise _Refused(Reason.DUPLICATE_KEY, field, f"expected {field} once, got it several times")


def _envelope(attributes: dict[str, Any]) -> Envelope:
    try:
        return Envelope.model_validate(attributes)
    except ValidationError as error:
        field, detail = explain(error, "")
        raise _Refused(Reason.ENVELOPE, field, detail) from None


def _name(family: Family, envelope: Envelope) -> str:
    """Return the short name of the event's type, which the family must have in a supported version."""
    name = envelope.type.removeprefix(PREFIX).removesuffix(SUFFIX)
    if f"{PREFIX}{name}{SUFFIX}" != envelope.type or name not in MODELS:
        base, _, version = envelope.type.removeprefix(PREFIX).rpartition(".")
        if envelope.type.startswith(PREFIX) and base in MODELS and re.fullmatch(r"v[0-9]{1,4}", version):
            detail = f"expected version {SUFFIX[1:]} of {base}, got {version}; upgrade, then replay the dead letter"
            raise _Refused(Reason.UNKNOWN_VERSION, "type", detail)
        detail = f"expected {PREFIX}<name>{SUFFIX} with a name of the catalogue, got {quote(envelope.type)}"
        raise _Refused(Reason.UNKNOWN_TYPE, "type", detail)
    if name not in family.models:
        other = name.partition(".")[0]
        detail = f"{name} belongs into the topic of the family {other}, it came in the topic of {family.name}"
        raise _Refused(Reason.WRONG_TOPIC, "type", detail)
    version = schema_version(envelope.dataschema)
    if int(version.partition(".")[0]) != SUPPORTED_MAJOR_VERSION:
        detail = f"expected major version {SUPPORTED_MAJOR_VERSION}, got {quote(envelope.dataschema)}"
        raise _Refused(Reason.UNKNOWN_VERSION, "dataschema", f"{detail}; upgrade, then replay the dead letter")
    return name


def _check_key(family: Family, key: bytes | None, envelope: Envelope) -> None:
    if key != envelope.partitionkey.encode("utf-8"):
        detail = f"expected the record key {quote(envelope.partitionkey)}, as partitionkey says, got {quote(key)}"
        raise _Refused(Reason.KEY, "partitionkey", detail)
    for attribute in EQUAL_TO_KEY[family.name]:
        value = getattr(envelope, attribute)
        if value is not None and value != envelope.partitionkey:
            detail = f"{attribute}: expected partitionkey, {quote(envelope.partitionkey)}, got {quote(value)}"
            raise _Refused(Reason.ENVELOPE, attribute, detail)


def _data(family: Family, name: str, data: Any) -> Data:
    if not isinstance(data, _Object):
        raise _Refused(Reason.DATA, "data", f"data: expected a JSON object, got {quote(data)}")
    model = family.models[name]
    _no_repeats(data, frozenset(model.model_fields), "data.")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        field, detail = explain(error, "data.")
        raise _Refused(Reason.DATA, field, detail) from None


def _check_clock(time_us: int, record: Record, clock: ClockLimits, now_us: int) -> None:
    if time_us < clock.earliest_us:
        detail = f"time: {(clock.earliest_us - time_us) / 1e6:.0f} s before the earliest time that is accepted"
        raise _Refused(Reason.CLOCK_BEHIND, "time", f"{detail}; check the device's clock")
    ahead_us = time_us - clock.latest_us(record.timestamp, now_us)
    if ahead_us > 0:
        detail = f"time: {(ahead_us + clock.max_ahead_us) / 1e6:.0f} s after the record was received"
        limit = f"at most {clock.max_ahead_us / 1e6:.0f} s are accepted; check the device's clock"
        raise _Refused(Reason.CLOCK_AHEAD, "time", f"{detail}, {limit}")
