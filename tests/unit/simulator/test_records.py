"""Every record is what its fate says, by the models and by an independent recount."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from pydantic import ValidationError

from deploy.simulator import Ledger, Produced
from deploy.simulator.malformed import KINDS
from schemas.envelope import Envelope
from schemas.event_types import FAMILIES, MODELS, PREFIX, SUFFIX
from schemas.fields import timestamp_us

FAMILY_OF_TOPIC = {family.topic: family for family in FAMILIES}
EARLIEST_US = timestamp_us("2020-01-01T00:00:00Z")
HOUR_US = 3_600_000_000


class NotAnEvent(Exception):
    """The record breaks a rule of the contract."""


def read(record: Produced) -> tuple[Envelope, Any]:
    """Return the envelope and the data of a record; raises for everything a worker must refuse."""
    attributes, data = _parts(record)
    envelope = Envelope.model_validate(attributes)
    name = envelope.type.removeprefix(PREFIX).removesuffix(SUFFIX)
    if name not in FAMILY_OF_TOPIC[record.topic].models:
        raise NotAnEvent(f"{name} in {record.topic}")
    if not envelope.dataschema.endswith(f"{name}:1.0"):
        raise NotAnEvent(envelope.dataschema)
    if record.key != envelope.partitionkey.encode():
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
    content = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse)
    if headers["content-type"] == b"application/cloudevents+json":
        return content, content.get("data")
    if headers["content-type"] != b"application/json":
        raise NotAnEvent("content type")
    return {name[3:]: value.decode() for name, value in headers.items() if name.startswith("ce_")}, content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise NotAnEvent("repeated key")
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise NotAnEvent(constant)


def is_event(record: Produced) -> bool:
    """Tell whether a worker may store the record."""
    try:
        read(record)
    except (NotAnEvent, ValidationError, ValueError, RecursionError):
        return False
    return True


def test_every_event_of_a_calm_run_is_valid_and_all_types_appear(calm: list[Produced]) -> None:
    """All 38 types of the catalogue occur and every record satisfies its models."""
    names = Counter(read(record)[0].type for record in calm)
    assert len(names) == len(MODELS) == 38
    assert all(record.fate == "stored" for record in calm)


def test_fates_agree_with_an_independent_recount(troubled: list[Produced]) -> None:
    """Stored, duplicate and dead letter follow from the bytes and the order alone, record by record."""
    seen: set[tuple[str, bytes | None, str, str]] = set()
    for record in troubled:
        if not is_event(record):
            assert record.fate == "dead_letter" and record.reason is not None, record
            continue
        envelope, _ = read(record)
        identity = record.topic, record.key, envelope.source, envelope.id
        assert record.fate == ("duplicate" if identity in seen else "stored"), record
        assert record.reason is None
        seen.add(identity)


def test_an_id_never_comes_twice_but_as_a_duplicate(troubled: list[Produced]) -> None:
    """A (source, id) pair belongs to one key, so that per-partition deduplication sees all its copies."""
    keys: dict[tuple[str, str], bytes | None] = {}
    for record in troubled:
        if record.fate != "dead_letter":
            envelope, _ = read(record)
            assert keys.setdefault((envelope.source, envelope.id), record.key) == record.key


def test_every_fault_was_produced(troubled: list[Produced]) -> None:
    """The run has every reason the simulator can give, so the recount above means something."""
    reasons = {record.reason for record in troubled if record.fate == "dead_letter"}
    assert reasons == {
        "empty", "encoding", "json", "nesting", "duplicate_key", "envelope", "content_type", "unknown_type",
        "unknown_version", "wrong_topic", "key", "data", "clock_ahead", "clock_behind",
    }  # fmt: skip
    assert len(KINDS) >= 20


def test_the_ledger_is_the_sum_of_the_fates(troubled: list[Produced]) -> None:
    """Produced = stored + duplicates + dead letters, in total, by reason and by topic."""
    ledger = Ledger()
    for record in troubled:
        ledger.add(record)
    fates = Counter(record.fate for record in troubled)
    assert ledger.produced == len(troubled) == ledger.stored + ledger.duplicates + ledger.dead_letters
    assert (ledger.stored, ledger.duplicates) == (fates["stored"], fates["duplicate"])
    assert sum(ledger.dead_letters_by_reason.values()) == ledger.dead_letters == fates["dead_letter"]
    account = json.loads(json.dumps(ledger.to_json()))
    assert sum(row["produced"] for row in account["by_topic"].values()) == ledger.produced


def test_duplicates_are_identical_or_differ_in_time_alone(troubled: list[Produced]) -> None:
    """A copy repeats the bytes of its original; a few carry another time."""
    originals: dict[tuple[str, str], Produced] = {}
    retimed = 0
    for record in troubled:
        if record.fate == "dead_letter":
            continue
        envelope, data = read(record)
        if record.fate == "stored":
            originals[envelope.source, envelope.id] = record
            continue
        original = originals[envelope.source, envelope.id]
        if (original.value, original.headers) != (record.value, record.headers):
            retimed += 1
            first, first_data = read(original)
            assert first_data == data
            assert first.model_copy(update={"time": ""}) == envelope.model_copy(update={"time": ""})
    assert 0 < retimed < 0.5 * sum(record.fate == "duplicate" for record in troubled)
