"""The contract of a record, told once more and independently of the simulator and of the codec."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic import ValidationError

from deploy.local.simulator import Produced
from schemas.events.envelope import Envelope
from schemas.events.event_types import FAMILIES, MODELS, PREFIX, SUFFIX
from schemas.events.fields import timestamp_us

FAMILY_OF_TOPIC = {family.topic: family for family in FAMILIES}
EARLIEST_US = timestamp_us("2020-01-01T00:00:00Z")
HOUR_US = 3_600_000_000


class NotAnEvent(Exception):  # noqa: N818 - it says what the record is
    """The record breaks a rule of the contract."""


def read(record: Produced) -> tuple[Envelope, Any]:
    """Return the envelope and the data of a record; raises for everything a worker must reject."""
    attributes, data = _parts(record)
    envelope = Envelope.model_validate(attributes)
    name = envelope.type.removeprefix(PREFIX).removesuffix(SUFFIX)
    if name not in FAMILY_OF_TOPIC[record.topic].models:
        raise NotAnEvent(f"{name} in {record.topic}")
    if not envelope.dataschema.endswith(f"{name}:1.0"):
        raise NotAnEvent(envelope.dataschema)
    if envelope.partitionkey is None or record.key != envelope.partitionkey.encode():
        raise NotAnEvent("key")
    if record.topic != "classpulse.prep" and envelope.subject != envelope.partitionkey:
        raise NotAnEvent("subject")
    if record.topic == "classpulse.classroom" and envelope.lessonid != envelope.partitionkey:
        raise NotAnEvent("lessonid")
    if not EARLIEST_US <= timestamp_us(envelope.time) <= record.timestamp_ms * 1000 + HOUR_US:
        raise NotAnEvent("clock")
    return envelope, MODELS[name].model_validate(data)


def _parts(record: Produced) -> tuple[dict[str, Any], Any]:
    headers = dict(record.headers)
    text = (record.value or b"").decode()
    content = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_reject)
    if headers["content-type"] == b"application/cloudevents+json":
        return content, content.get("data")
    if headers["content-type"] != b"application/json":
        raise NotAnEvent("content type")
    return {name[3:]: value.decode() for name, value in headers.items() if name.startswith("ce_")}, content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise NotAnEvent("repeated key")
    return dict(pairs)


def _reject(constant: str) -> None:
    raise NotAnEvent(constant)


class Seen(NamedTuple):
    """A record with what it says; no envelope: a worker must reject it."""

    record: Produced
    envelope: Envelope | None
    data: Any


def seen(record: Produced) -> Seen:
    """Read a record as a worker must."""
    try:
        return Seen(record, *read(record))
    except (NotAnEvent, ValidationError, ValueError, RecursionError):
        return Seen(record, None, None)
