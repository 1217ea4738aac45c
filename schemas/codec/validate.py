"""One record at a time, the slow way: strict JSON, then the Pydantic models. This is the contract in code.

The columnar codec decides most records without this module, and asks it about every record it is not sure of.
"""

import re
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.codec.columns import Kind, model_fields
from schemas.codec.explain import explanations
from schemas.codec.records import DETAIL_LIMIT_CHARS, ClockLimits, Reason, Record, Reject, quote
from schemas.codec.validate_read import Fault, JsonObject, Rejected, read, reject_substitute
from schemas.events.consistency import contradictions
from schemas.events.envelope import SUPPORTED_MAJOR_VERSION, Data, Envelope
from schemas.events.event_types import MODELS, PREFIX, REGISTRY, RETIRED, SUFFIX, Family, schema_uri, type_uri
from schemas.events.fields import TIME_REACH_DAYS, TIME_REACH_US, Identifier, timestamp_us

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The end of the year 2148, after which no event's time lies.
_LATEST_MS: Final = 5_648_745_599_999
#: Attributes of the envelope that must equal ``partitionkey`` where they are present, by family.
EQUAL_TO_KEY: Final[dict[str, tuple[str, ...]]] = {
    "classroom": ("subject", "lessonid"),
    "prep": (),
    "research": ("subject",),
    "registry": ("subject",),
}
_ENVELOPE_KEYS: Final = frozenset(Envelope.model_fields) | {"data", "data_base64"}
_VERSION: Final = re.compile(r"[:/]v?([0-9.]+)\Z")
_KEY: Final = TypeAdapter[str](Identifier)


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted record: its row in the batch, its partition key, its envelope and data, and its type's short name."""

    row: int
    offset: int
    name: str
    key: str
    envelope: Envelope
    data: Data


#: Yields faults and returns what was asked for, as far as the faults leave it.
_Checked = Generator[Fault, None, Any]


def validate(
    family: Family,
    record: Record,
    row: int,
    *,
    clock: ClockLimits,
    now_us: int,
    max_value_bytes: int,
    log: str | None = None,
) -> Event | Reject:
    """Return the event that ``record`` is, or why it is none. Raises nothing for any content.

    ``log`` names the log that the record is from, epoch included. With it a tombstone of the registry is the event that
    the entry was retired: its source is ``log``, its id the offset, its time the record's timestamp.

    Checked in this order, the first fault decides: value and its encoding, content mode, JSON, envelope, type and
    version, record key, the family's rules, data, clock, the other times beside ``time``, contradictions.
    """
    found = _examined(family, record, row, clock=clock, now_us=now_us, max_value_bytes=max_value_bytes, log=log)
    try:
        fault = next(found)
    except StopIteration as ended:
        event: Event = ended.value
        return event
    return Reject(row, fault.reason, fault.field, _shortened(fault.detail))


def faults(family: Family, record: Record, *, clock: ClockLimits, now_us: int, max_value_bytes: int) -> list[Fault]:
    """Return all that is wrong with ``record``, in the order of ``validate``, whose verdict is the first; none: accepted.

    What can only be judged once another fault is gone is left out, such as the data of an unknown type.
    """
    found = _examined(family, record, 0, clock=clock, now_us=now_us, max_value_bytes=max_value_bytes)
    return [fault._replace(detail=_shortened(fault.detail)) for fault in found]


def _shortened(detail: str) -> str:
    return detail if len(detail) <= DETAIL_LIMIT_CHARS else f"{detail[: DETAIL_LIMIT_CHARS - 1]}…"


def schema_version(dataschema: str) -> str:
    """Return the version that ends ``dataschema``, without a leading ``v``: ``urn:x:v1.2`` gives ``1.2``."""
    found = _VERSION.search(dataschema)
    return found.group(1) if found else ""


def _examined(
    family: Family,
    record: Record,
    row: int,
    *,
    clock: ClockLimits,
    now_us: int,
    max_value_bytes: int,
    log: str | None = None,
) -> Generator[Fault, None, Event | None]:
    """Yield what is wrong with ``record``, the deciding fault first, or return the event."""
    try:
        if log is not None and family is REGISTRY and record.value is None and record.key is not None:
            attributes, data, is_structured = _retirement(record, record.key, log)
        else:
            attributes, data, is_structured = read(record, max_value_bytes)
    except Rejected as rejected:
        yield rejected.fault
        return None
    if is_structured:
        yield from _repeats(attributes, _ENVELOPE_KEYS, "")
    envelope, sound = yield from _held_to(Envelope, attributes, Reason.ENVELOPE, "")
    name = yield from _name(family, sound)
    key, content, sound_data = None, None, {}
    if attributes.get("partitionkey") is None or "partitionkey" in sound:
        key = yield from _key(family, record.key, sound)
    if is_structured and attributes.get("data_base64") is not None:
        yield Fault(Reason.DATA, "data_base64", "expected a JSON object in `data`, got `data_base64`")
    elif not isinstance(data, JsonObject):
        yield Fault(Reason.DATA, "data", f"data: expected a JSON object, got {'null' if data is None else quote(data)}")
    elif name is not None:
        yield from _repeats(data, frozenset(family.models[name].model_fields), "data.")
        content, sound_data = yield from _held_to(family.models[name], data, Reason.DATA, "data.")
    if "time" in sound:
        time_us = timestamp_us(sound["time"])
        is_in_time = yield from _clock(sound["time"], record, clock, now_us)
        if is_in_time:
            yield from _reach(time_us, Envelope, sound, Reason.ENVELOPE, "")
        if is_in_time and name is not None:
            yield from _consistent(time_us, family, name, sound_data)
    if envelope is None or name is None or key is None or content is None:
        return None
    return Event(row, record.offset, name, key, envelope, content)


def _retirement(record: Record, key: bytes, log: str) -> tuple[dict[str, Any], JsonObject, bool]:
    """Return what a tombstone means, Kafka's way to delete from a compacted topic, as ``read`` returns an event.

    A timestamp beyond what an event's time can be becomes the nearest one that can; the clock's limits reject it.
    """
    reject_substitute(record.headers)
    try:
        entity = key.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected(Reason.ENCODING, "partitionkey", f"expected UTF-8 in the record key, got {quote(key)}") from None
    moment = _EPOCH + timedelta(milliseconds=min(max(record.timestamp, 0), _LATEST_MS))
    attributes = {
        "specversion": "1.0",
        "id": str(record.offset),
        "source": log,
        "type": type_uri(RETIRED),
        "time": moment.isoformat(),
        "subject": entity,
        "dataschema": schema_uri(RETIRED),
        "partitionkey": entity,
    }
    return attributes, JsonObject([]), False


def _repeats(content: dict[str, Any], known: frozenset[str], prefix: str) -> _Checked:
    for key in content.repeated if isinstance(content, JsonObject) else ():
        if key in known:
            field = f"{prefix}{key}"
            yield Fault(Reason.DUPLICATE_KEY, field, f"expected {field} once, got it several times")


def _held_to(model: type[BaseModel], values: dict[str, Any], reason: Reason, prefix: str) -> _Checked:
    """Return the model's instance, None if anything is wrong, and the values that are sound."""
    known = {name: values[name] for name in model.model_fields if name in values}
    try:
        return model.model_validate(values), known
    except ValidationError as error:
        for path, detail in explanations(error, prefix):
            yield Fault(reason, path, detail)
        wrong = {part["loc"][0] for part in error.errors(include_url=False, include_input=False, include_context=False)}
        return None, {name: value for name, value in known.items() if name not in wrong}


def _name(family: Family, sound: dict[str, Any]) -> _Checked:
    """Return the short name of the event's type if the family has it in a supported version."""
    event_type, dataschema = sound.get("type"), sound.get("dataschema")
    name = None
    if event_type is not None:
        name = yield from _type_name(family, event_type)
    if dataschema is not None and int(schema_version(dataschema).partition(".")[0]) != SUPPORTED_MAJOR_VERSION:
        detail = f"expected major version {SUPPORTED_MAJOR_VERSION}, got {quote(dataschema)}"
        yield Fault(Reason.UNKNOWN_VERSION, "dataschema", f"{detail}; upgrade, then replay the dead letter")
        return None
    return name


def _type_name(family: Family, event_type: str) -> _Checked:
    name = event_type.removeprefix(PREFIX).removesuffix(SUFFIX)
    if f"{PREFIX}{name}{SUFFIX}" != event_type or name not in MODELS:
        base, _, version = event_type.removeprefix(PREFIX).rpartition(".")
        if event_type.startswith(PREFIX) and base in MODELS and re.fullmatch(r"v[0-9]{1,4}", version):
            detail = f"expected version {SUFFIX[1:]} of {base}, got {version}; upgrade, then replay the dead letter"
            yield Fault(Reason.UNKNOWN_VERSION, "type", detail)
            return None
        detail = f"expected {PREFIX}<name>{SUFFIX} with a name of the catalogue, got {quote(event_type)}"
        yield Fault(Reason.UNKNOWN_TYPE, "type", detail)
        return None
    if name not in family.models:
        other = name.partition(".")[0]
        detail = f"{name} belongs into the topic of the family {other}, it came in the topic of {family.name}"
        yield Fault(Reason.WRONG_TOPIC, "type", detail)
        return None
    return name


def _key(family: Family, record_key: bytes | None, sound: dict[str, Any]) -> _Checked:
    """Return the partition key: what the record key says, and ``partitionkey`` too where it is there."""
    key = sound.get("partitionkey")
    if key is None:
        key = yield from _said_alone(record_key)
    elif record_key != key.encode("utf-8"):
        detail = f"expected the record key {quote(key)}, as partitionkey says, got {quote(record_key)}"
        yield Fault(Reason.KEY, "partitionkey", detail)
    for attribute in EQUAL_TO_KEY[family.name] if key is not None else ():
        value = sound.get(attribute)
        if value is not None and value != key:
            detail = f"{attribute}: expected the partition key, {quote(key)}, got {quote(value)}"
            yield Fault(Reason.ENVELOPE, attribute, detail)
    return key


def _said_alone(record_key: bytes | None) -> _Checked:
    """Return the record key as the partition key, if it can be one."""
    if record_key is None:
        detail = "expected the partition key as the record key, got neither a record key nor partitionkey"
        yield Fault(Reason.KEY, "partitionkey", detail)
        return None
    try:
        return _KEY.validate_python(record_key.decode("utf-8"))
    except UnicodeDecodeError:
        yield Fault(Reason.KEY, "partitionkey", f"expected UTF-8 in the record key, got {quote(record_key)}")
    except ValidationError as error:
        for _, detail in explanations(error, "record key"):
            yield Fault(Reason.KEY, "partitionkey", detail)
    return None


def _clock(text: str, record: Record, clock: ClockLimits, now_us: int) -> _Checked:
    """Return whether the event's time keeps the clock's limits."""
    behind_us = clock.earliest_us - timestamp_us(text)
    if behind_us > 0:
        got = f"got {quote(text)}, {behind_us / 1e6:.0f} s earlier"
        detail = f"time: expected no time before the earliest that is accepted, {got}; check the device's clock"
        yield Fault(Reason.CLOCK_BEHIND, "time", detail)
        return False
    received_us = clock.latest_us(record.timestamp, now_us) - clock.max_ahead_us
    ahead_us = timestamp_us(text) - received_us
    if ahead_us > clock.max_ahead_us:
        detail = f"expected at most {clock.max_ahead_us / 1e6:.0f} s after the record was received"
        got = f"got {quote(text)}, {ahead_us / 1e6:.0f} s after"
        yield Fault(Reason.CLOCK_AHEAD, "time", f"time: {detail}, {got}; check the device's clock")
        return False
    return True


def _consistent(time_us: int, family: Family, name: str, sound_data: dict[str, Any]) -> _Checked:
    """Yield what in the data cannot be of one event: times far from ``time``, fields that contradict each other."""
    yield from _reach(time_us, family.models[name], sound_data, Reason.DATA, "data.")
    for field, detail in contradictions(name, time_us, sound_data):
        yield Fault(Reason.DATA, f"data.{field}", f"data.{field}: {detail}")


def _reach(time_us: int, model: type[BaseModel], sound: dict[str, Any], reason: Reason, prefix: str) -> _Checked:
    """Yield each time that lies too far from ``time`` to be of the same event."""
    for name, field in model_fields(model).items():
        text = sound.get(name) if field.rule.kind is Kind.TIMESTAMP else None
        if text is not None and abs(timestamp_us(text) - time_us) > TIME_REACH_US:
            detail = f"{prefix}{name}: expected a time within {TIME_REACH_DAYS} days of the event's time, got {quote(text)}"
            yield Fault(reason, f"{prefix}{name}", detail)
