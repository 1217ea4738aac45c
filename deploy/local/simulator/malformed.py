"""Records that no worker may store, one maker a fault, each with the reason the worker must give.

Every record here has exactly one fault, so that the reason does not depend on the order of the worker's checks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from deploy.local.simulator.encoding import STRUCTURED_HEADERS, Event, attributes, binary_headers
from deploy.local.simulator.ledger import Produced
from deploy.local.simulator.school_day import rfc3339
from schemas.events.event_types import FAMILIES, MODELS, PREFIX, SUFFIX, schema_uri

#: Deep enough to break a recursive parser, as hostile input is.
_NESTING_DEPTH: Final = 10_000

_Json = dict[str, Any]
_Maker = Callable[[Event, int], Produced]


def _record(event: Event, arrival_ms: int, reason: str, value: bytes | None, **changed: Any) -> Produced:
    record = Produced(
        event.draft.kind.topic,
        event.draft.context.key,
        value,
        STRUCTURED_HEADERS,
        arrival_ms,
        "dead_letter",
        reason,
    )
    return record._replace(**changed)


def _structured(event: Event) -> _Json:
    named = attributes(event, rfc3339(event.device_time_ms))
    return {"specversion": "1.0", **named, "datacontenttype": "application/json", "data": json.loads(event.draft.data)}


def _bytes(event: _Json) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _value(reason: str, spoil: Callable[[bytes], bytes | None]) -> _Maker:
    """Return a maker that spoils the bytes of the value."""

    def make(event: Event, arrival_ms: int) -> Produced:
        return _record(event, arrival_ms, reason, spoil(_bytes(_structured(event))))

    return make


def _changed(reason: str, change: Callable[[_Json], None]) -> _Maker:
    """Return a maker that changes the event before it is written as JSON."""

    def make(event: Event, arrival_ms: int) -> Produced:
        structured = _structured(event)
        change(structured)
        return _record(event, arrival_ms, reason, _bytes(structured))

    return make


def _with(name: str, value: Any) -> Callable[[_Json], None]:
    return lambda event: event.__setitem__(name, value)


def _without(name: str) -> Callable[[_Json], None]:
    return lambda event: event.__delitem__(name)


def _wrong_type_of_data(event: _Json) -> None:
    """Every type but the empty ones has a field that can be of a wrong type; those get no data at all."""
    if event["data"]:
        name = next(iter(event["data"]))
        event["data"][name] = {"unexpected": "object"}
    else:
        event["data"] = "none"


def _missing_field(event: _Json) -> None:
    name = event["type"].removeprefix(PREFIX).removesuffix(SUFFIX)
    required = [field for field, info in MODELS[name].model_fields.items() if info.is_required()]
    if required:
        del event["data"][required[0]]
    else:
        event["data"] = "none"


def _nested(value: bytes) -> bytes:
    return value[:-1] + b',"extra":' + b"[" * _NESTING_DEPTH + b"]" * _NESTING_DEPTH + b"}"


def _unknown_version(event: _Json) -> None:
    event["dataschema"] = event["dataschema"].rsplit(":", 1)[0] + ":2.0"


def _unknown_type(event: _Json) -> None:
    event["type"] = "io.classpulse.classroom.homework.forgotten.v1"
    event["dataschema"] = schema_uri("classroom.homework.forgotten")


def _null_value(event: Event, arrival_ms: int) -> Produced:
    """A null on the compacted registry topic would delete the entry; there the value is empty instead."""
    value = b"" if event.draft.kind.family == "registry" else None
    return _record(event, arrival_ms, "empty", value)


def _wrong_topic(event: Event, arrival_ms: int) -> Produced:
    topics = [family.topic for family in FAMILIES]
    topic = topics[(topics.index(event.draft.kind.topic) + 1) % len(topics)]
    return _record(event, arrival_ms, "wrong_topic", _bytes(_structured(event)), topic=topic)


def _wrong_key(event: Event, arrival_ms: int) -> Produced:
    return _record(event, arrival_ms, "key", _bytes(_structured(event)), key=event.draft.context.key + b"-other")


def _no_key(event: Event, arrival_ms: int) -> Produced:
    # The registry's topic is compacted: Kafka itself rejects a record without a key there, and its whole batch with it.
    key = b"" if event.draft.kind.family == "registry" else None
    return _record(event, arrival_ms, "key", _bytes(_structured(event)), key=key)


def _wrong_content_type(event: Event, arrival_ms: int) -> Produced:
    headers = [("content-type", b"text/plain")]
    return _record(event, arrival_ms, "content_type", _bytes(_structured(event)), headers=headers)


def _binary(event: Event, arrival_ms: int, reason: str, *, value: bytes, without: str = "") -> Produced:
    headers = binary_headers(event, rfc3339(event.device_time_ms))
    headers = [(name, content) for name, content in headers if name != without]
    return _record(event, arrival_ms, reason, value, headers=headers)


def _binary_without_time(event: Event, arrival_ms: int) -> Produced:
    return _binary(event, arrival_ms, "envelope", value=event.draft.data.encode(), without="ce_time")


def _binary_cut_json(event: Event, arrival_ms: int) -> Produced:
    return _binary(event, arrival_ms, "json", value=event.draft.data.encode()[:-1])


#: Faults that can be seen in the value alone, by name.
VALUE_KINDS: Final[dict[str, _Maker]] = {
    "empty_value": _value("empty", lambda _: b""),
    "null_value": _null_value,
    "invalid_utf8": _value("encoding", lambda value: value.replace(b'"source":"', b'"source":"\xff\xfe\x80', 1)),
    "cut_json": _value("json", lambda value: value[: value.index(b'","subject"')]),
    "trailing_text": _value("json", lambda value: value + b" and more"),
    "nan": _value("json", lambda value: value[:-1] + b',"extra":NaN}'),
    "deep_nesting": _value("nesting", _nested),
    "duplicate_key": _value("duplicate_key", lambda value: b'{"id":"another",' + value[1:]),
    "missing_id": _changed("envelope", _without("id")),
    "missing_time": _changed("envelope", _without("time")),
    "missing_source": _changed("envelope", _without("source")),
    "time_without_zone": _changed("envelope", _with("time", "2026-11-16T08:05:12.345")),
    "time_that_is_no_date": _changed("envelope", _with("time", "2026-02-30T08:05:12+08:00")),
    "number_as_id": _changed("envelope", _with("id", 42)),
    "other_specversion": _changed("envelope", _with("specversion", "0.3")),
    "unknown_type": _changed("unknown_type", _unknown_type),
    "unknown_version": _changed("unknown_version", _unknown_version),
    "wrong_type_of_data": _changed("data", _wrong_type_of_data),
    "missing_field": _changed("data", _missing_field),
}
#: Faults of the record around the value, by name.
RECORD_KINDS: Final[dict[str, _Maker]] = {
    "wrong_topic": _wrong_topic,
    "wrong_key": _wrong_key,
    "no_key": _no_key,
    "wrong_content_type": _wrong_content_type,
    "binary_without_time": _binary_without_time,
    "binary_cut_json": _binary_cut_json,
}
KINDS: Final[dict[str, _Maker]] = {**VALUE_KINDS, **RECORD_KINDS}


def spoiled(event: Event, arrival_ms: int, kind: str) -> Produced:
    """Return ``event`` with the fault called ``kind``; raises ``KeyError`` for an unknown name."""
    return KINDS[kind](event, arrival_ms)
