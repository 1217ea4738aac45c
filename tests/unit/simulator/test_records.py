"""Every record is what its outcome says, by the models and by an independent recount."""

from __future__ import annotations

import json
from collections import Counter

from deploy.local.simulator import Ledger, Produced
from deploy.local.simulator.malformed import KINDS
from schemas.events.envelope import Envelope
from schemas.events.event_types import MODELS

from .contract import Seen


def test_every_event_of_a_calm_run_is_valid_and_all_types_appear(calm: list[Seen]) -> None:
    """All 38 types of the catalogue occur and every record satisfies its models."""
    assert all(record.outcome == "stored" and envelope is not None for record, envelope, _ in calm)
    assert len({envelope.type for _, envelope, _ in calm if envelope is not None}) == len(MODELS) == 38


def test_outcomes_agree_with_an_independent_recount(troubled: list[Seen]) -> None:
    """Stored, duplicate and dead letter follow from the bytes and the order alone, record by record."""
    stored: set[tuple[str, bytes | None, str, str]] = set()
    for record, envelope, _ in troubled:
        if envelope is None:
            assert record.outcome == "dead_letter", record
            assert record.reason is not None, record
            continue
        identity = record.topic, record.key, envelope.source, envelope.id
        assert record.outcome == ("duplicate" if identity in stored else "stored"), record
        assert record.reason is None
        stored.add(identity)


def test_an_id_never_comes_twice_but_as_a_duplicate(troubled: list[Seen]) -> None:
    """A (source, id) pair belongs to one key, so that per-partition deduplication sees all its copies."""
    keys: dict[tuple[str, str], bytes | None] = {}
    for record, envelope, _ in troubled:
        if envelope is not None:
            assert keys.setdefault((envelope.source, envelope.id), record.key) == record.key


def test_every_fault_was_produced(troubled: list[Seen]) -> None:
    """The run has every reason the simulator can give, so the recount above means something."""
    reasons = {record.reason for record, _, _ in troubled if record.outcome == "dead_letter"}
    assert reasons == {
        "empty",
        "encoding",
        "json",
        "nesting",
        "duplicate_key",
        "envelope",
        "content_type",
        "unknown_type",
        "unknown_version",
        "wrong_topic",
        "key",
        "data",
        "clock_ahead",
        "clock_behind",
    }
    assert len(KINDS) >= 20


def test_the_ledger_is_the_sum_of_the_outcomes(troubled: list[Seen]) -> None:
    """Produced = stored + duplicates + dead letters, in total, by reason and by topic."""
    ledger = Ledger()
    for record, _, _ in troubled:
        ledger.add(record)
    outcomes = Counter(record.outcome for record, _, _ in troubled)
    assert ledger.produced == len(troubled) == ledger.stored + ledger.duplicates + ledger.dead_letters
    assert (ledger.stored, ledger.duplicates) == (outcomes["stored"], outcomes["duplicate"])
    assert sum(ledger.dead_letters_by_reason.values()) == ledger.dead_letters == outcomes["dead_letter"]
    account = json.loads(json.dumps(ledger.to_json()))
    assert sum(row["produced"] for row in account["by_topic"].values()) == ledger.produced


def test_duplicates_are_identical_or_differ_in_time_alone(troubled: list[Seen]) -> None:
    """A copy repeats the bytes of its original; a few carry another time."""
    originals: dict[tuple[str, str], tuple[Produced, Envelope, object]] = {}
    copies = retimed = 0
    for record, envelope, data in troubled:
        if envelope is None:
            continue
        first, first_envelope, first_data = originals.setdefault((envelope.source, envelope.id), (record, envelope, data))
        if first is record:
            continue
        copies += 1
        if (first.value, first.headers) != (record.value, record.headers):
            retimed += 1
            assert first_data == data
            assert first_envelope.model_copy(update={"time": envelope.time}) == envelope
    assert 0 < retimed < 0.5 * copies
