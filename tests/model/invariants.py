"""What must hold at any time, and what must hold once everything has settled."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from schemas.events.event_types import FAMILIES
from sinks.stores.checkpoints import Checkpoint
from sinks.stores.dead_letters import DeadLetter
from streams.pipeline.batch import TopicPartition
from tests.model.logs import Expectation, ExpectedLog, Identity
from tests.model.memory import Database, MemoryCheckpointStore, Row, Session
from tests.model.workers import ZONE
from tests.oracle.oracle import Metrics, RowKey, expected_rows

_COUNTERS = ("consumed", "stored", "duplicates", "dead_letters")
_TOLERANCE = 1e-9


class InvariantBrokenError(AssertionError):
    """The protocol let something happen that must not."""


def must(holds: bool, invariant: str, **details: Any) -> None:
    """Raise :class:`InvariantBrokenError` unless the invariant holds."""
    if not holds:
        raise InvariantBrokenError(f"{invariant}: {details}")


def load_checkpoints(database: Database) -> dict[TopicPartition, Checkpoint]:
    """Return the checkpoints as any reader sees them."""
    return MemoryCheckpointStore(Session(database), "reader").load()


def stored_rows(database: Database, place: TopicPartition) -> dict[Identity, list[Row]]:
    """Return the stored events of one partition by identity; more than one row is an invariant broken."""
    found: dict[Identity, list[Row]] = defaultdict(list)
    for row in database.tables[f"events_{place[0].rsplit('.', 1)[1]}"].final():
        if row["partition"] == place[1]:
            found[row["key"], row["source"], row["id"]].append(row)
    return found


def check_partition(
    database: Database, published: list[DeadLetter], expected_log: ExpectedLog, point: Checkpoint, before: Checkpoint | None
) -> None:
    """Hold one partition to the invariants, given the checkpoint read now and the one read before."""
    place = expected_log.place
    must(before is None or point.position >= before.position, "a checkpoint never goes back", now=point, before=before)
    must(point.epoch in expected_log.epochs, "an epoch begins where a worker took over", point=point)
    expected = expected_log.below(point.epoch, point.next_offset)
    for counter in _COUNTERS:
        found, right = getattr(point, counter), getattr(expected.checkpoint, counter)
        must(found == right, f"{counter} is what the log holds", place=place, found=found, expected=right, point=point)
    accounted = point.stored + point.duplicates + point.dead_letters
    must(point.consumed == accounted, "consumed = stored + duplicates + dead letters", point=point)
    rows = stored_rows(database, place)
    missing = [identity for identity in expected.events if identity not in rows]
    must(not missing, "what is below the checkpoint is stored", place=place, missing=missing, point=point)
    rejected = {row["position"] for row in _letters(database, place)}
    must(expected.letters <= rejected, "what was rejected below the checkpoint is recorded", letters=expected.letters)
    sent = {letter.position for letter in published if (letter.topic, letter.partition) == place}
    must(expected.letters <= sent, "what was rejected below the checkpoint is published", letters=expected.letters)


def check_stored(database: Database, expected_log: ExpectedLog) -> None:
    """Every row is an event of the log, stored once, as it came first."""
    everything = expected_log.everything().events
    for identity, rows in stored_rows(database, expected_log.place).items():
        must(len(rows) == 1, "an event is stored once", place=expected_log.place, rows=rows)
        expected = everything.get(identity)
        must(expected is not None, "what is stored was in the log", identity=identity)
        found = (rows[0]["time_us"], rows[0]["position"])
        right = (expected.time_us, expected.position) if expected else None
        must(found == right, "the first of its kind is stored", identity=identity, found=found, expected=right)


def check_settled(
    database: Database, expected_logs: Mapping[TopicPartition, ExpectedLog], points: Mapping[TopicPartition, Checkpoint]
) -> None:
    """After everything is read: the store is the log without its duplicates, and the metrics follow from the store."""
    for place, expected_log in expected_logs.items():
        if not expected_log.epochs:
            continue
        expected: Expectation = expected_log.everything()
        rows = stored_rows(database, place)
        must(rows.keys() == expected.events.keys(), "stored = unique events", place=place, point=points.get(place))
        counted = points[place].stored if place in points else 0
        must(counted == len(rows), "the counter of stored events is what is stored", place=place, counted=counted)
        letters = {row["position"] for row in _letters(database, place)}
        must(letters == expected.letters, "dead letters = rejected records", place=place, found=letters)
    events = [row for family in FAMILIES for row in database.tables[family.table].final()]
    _check_metrics(_found_rows(database), expected_rows(events, ZONE))


def _letters(database: Database, place: TopicPartition) -> list[Row]:
    return [row for row in database.tables["dead_letters"].final() if (row["topic"], row["partition"]) == place]


def _found_rows(database: Database) -> dict[RowKey, Metrics]:
    return {
        RowKey(row["metric"], row["window"], row["key"], row["item"], row["slot_us"]): Metrics(
            row["window_start_us"],
            row["window_end_us"],
            row["value"],
            row["numerator"],
            row["denominator"],
            row["sample_size"],
            tuple(row["parts"]),
        )
        for row in database.tables["metric_rows"].final()
    }


def _check_metrics(found: Mapping[RowKey, Metrics], expected: Mapping[RowKey, Metrics]) -> None:
    must(
        found.keys() == expected.keys(),
        "there is a row for every metric",
        missing=expected.keys() - found.keys(),
        superfluous=found.keys() - expected.keys(),
    )
    for key, right in expected.items():
        row = found[key]
        exact = (row.window_start_us, row.window_end_us, row.sample_size, row.value is None) == (
            right.window_start_us,
            right.window_end_us,
            right.sample_size,
            right.value is None,
        )
        pairs = [
            (row.numerator, right.numerator),
            (row.denominator, right.denominator),
            (row.value or 0, right.value or 0),
            *((one or 0, other or 0) for one, other in zip(row.parts, right.parts, strict=False)),
        ]
        exact = exact and len(row.parts) == len(right.parts)
        close = all(abs(one - other) <= _TOLERANCE * max(1, abs(other)) for one, other in pairs)
        must(exact and close, "a metric is what the stored events say", key=key, found=row, expected=right)
