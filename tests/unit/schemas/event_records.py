"""Kafka records of the catalogue's example events, right and altered."""

import json
from dataclasses import dataclass, replace
from typing import Any

from schemas.codec.decode import ClockLimits, Reject, decode
from schemas.events.event_types import CLASSROOM, Family
from schemas.export import example

NOW_US = 1_800_000_000_000_000
CLOCK = ClockLimits(earliest_us=1_600_000_000_000_000, max_ahead_us=60_000_000)
NAME = "classroom.answer.submitted"


@dataclass(frozen=True)
class KafkaRecord:
    """A record as aiokafka gives it."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, Any], ...] = ()
    offset: int = 7
    timestamp: int = NOW_US // 1000


def record(event: dict[str, Any]) -> KafkaRecord:
    """Return ``event`` in structured mode, with its key."""
    key = event.get("partitionkey")
    return KafkaRecord(key.encode() if isinstance(key, str) else None, json.dumps(event).encode())


def binary(event: dict[str, Any]) -> KafkaRecord:
    """Return ``event`` in binary mode, with its key."""
    attributes = {name: value for name, value in event.items() if name not in {"data", "datacontenttype"}}
    headers = [("content-type", b"application/json")]
    headers += [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    return KafkaRecord(event["partitionkey"].encode(), json.dumps(event["data"]).encode(), tuple(headers))


def key_alone() -> KafkaRecord:
    """Return the example as the Python SDK's v1 ``to_binary`` sends it: the partition key is the record key alone."""
    given = binary(answer())
    return replace(given, headers=tuple(header for header in given.headers if header[0] != "ce_partitionkey"))


def verdict(given: KafkaRecord, family: Family = CLASSROOM, limit_bytes: int = 1_048_576) -> Reject | None:
    """Return why ``given`` is rejected, or None."""
    decoded = decode(family, [given], clock=CLOCK, now_us=NOW_US, max_value_bytes=limit_bytes)
    assert decoded.events.height + len(decoded.rejects) == 1
    return decoded.rejects[0] if decoded.rejects else None


def answer(**changes: Any) -> dict[str, Any]:
    """Return the example of a submitted answer, attributes changed."""
    return {**example(CLASSROOM, NAME), **changes}


def answer_data(**changes: Any) -> dict[str, Any]:
    """Return the same, fields of data changed."""
    event = example(CLASSROOM, NAME)
    return {**event, "data": {**event["data"], **changes}}


def without(name: str) -> dict[str, Any]:
    """Return the same without an attribute."""
    event = answer()
    del event[name]
    return event
