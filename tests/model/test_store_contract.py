"""The stores in memory and the real ones behave alike in everything the pipeline relies on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from schemas.codec.decode import ClockLimits, event_columns
from schemas.events.event_types import CLASSROOM, RESEARCH, Family
from schemas.events.pseudonym import Pseudonymizer
from sinks.clickhouse.client import Warehouse
from sinks.stores.checkpoints import Checkpoint, CheckpointStore
from sinks.stores.dead_letters import DeadLetter, DeadLetterStore
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from streams.core.families import FOLDS
from streams.core.rows import ROW_SCHEMA
from streams.pipeline.decoder import Before, Decoder
from tests.model.memory import (
    Database,
    MemoryCheckpointStore,
    MemoryDeadLetterStore,
    MemoryEventStore,
    MemoryMetricStore,
    Session,
)
from tests.model.vocabulary import BASE_US, MINUTE_US, Batch, Record, Told, tell

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Stores:
    """All stores of one database, and a reader that sees the latest rows."""

    events: Any
    metrics: Any
    checkpoints: Any
    dead_letters: Any
    merge: Callable[[str], None]
    read: Callable[[str, Sequence[str]], Rows]


@pytest.fixture(params=["memory", "clickhouse"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Return the stores in memory, or those in a fresh database of a real engine."""
    if request.param == "memory":
        return in_memory()
    return in_clickhouse(request.getfixturevalue("warehouse"))


def in_memory() -> Stores:
    """Return the stores in memory."""
    database = Database()
    session = Session(database)
    return Stores(
        MemoryEventStore(session),
        MemoryMetricStore(session),
        MemoryCheckpointStore(session, "test"),
        MemoryDeadLetterStore(session),
        lambda table: database.tables[table].merge(),
        lambda table, names: [{name: row[name] for name in names} for row in database.tables[table].final()],
    )


def in_clickhouse(warehouse: Warehouse) -> Stores:
    """Return the real stores."""

    def read(table: str, names: Sequence[str]) -> Rows:
        selected = ", ".join(
            f"toUnixTimestamp64Micro(toDateTime64({name[:-3]}, 6)) AS {name}" if name.endswith("_us") else name
            for name in names
        )
        return warehouse.query("read", f"SELECT {selected} FROM {table} FINAL").to_dicts()

    def merge(table: str) -> None:
        warehouse.call("merge", lambda client: client.command(f"OPTIMIZE TABLE {table} FINAL"))

    return Stores(
        EventStore(warehouse),
        MetricStore(warehouse),
        CheckpointStore(warehouse, "test"),
        DeadLetterStore(warehouse),
        merge,
        read,
    )


def decoded(
    told: Sequence[Told], family: Family = CLASSROOM, partition: int = 0, epoch: int = 0, first: int = 0
) -> pl.DataFrame:
    """Return what the real decoder makes of things told, at consecutive offsets."""
    decoder = Decoder(ClockLimits(0, 100 * MINUTE_US), MINUTE_US, 100_000, Pseudonymizer(b"0123456789abcdef"))
    records = [Record(first + n, one.key.encode(), one.value, BASE_US // 1000) for n, one in enumerate(told)]
    batch = Batch(family.topic, partition, records, first, first + len(records))
    chunk = decoder.decode_batch(family, batch, records, Before(epoch, 0), BASE_US + 600 * MINUTE_US)
    assert not chunk.dead_letters
    return chunk.events


def lesson(count: int, partition: int = 0) -> list[Told]:
    """Return events of one lesson."""
    place = (CLASSROOM.topic, partition)
    drawn = (tell(place, "fresh", seed, seed, []) for seed in range(20 * count))
    return [told for told in drawn if told.key.endswith("-0")][:count]


def cached(stores: Stores, keys: Sequence[str], below: dict[int, int], family: Family = CLASSROOM) -> Rows:
    """Read cached events as the pipeline does, in an order of their own."""
    figures = FOLDS[family.name]
    found = stores.events.events_of(family, figures.cached_columns, keys, below)
    rows: list[dict[str, Any]] = found.cast(figures.cached_schema(family)).sort("source", "id", "time_us").to_dicts()
    return rows


def ids(rows: Rows) -> list[str]:
    """Return the ids of events."""
    return sorted(row["id"] for row in rows)


def metric(key: str, value: float, revision: int, slot_us: int = 0) -> pl.DataFrame:
    """Return one metric row of a partition."""
    row = ("participation_rate", "activity", key, "", slot_us, BASE_US, BASE_US + 1, value, value, 1.0, 1, [value])
    frame = pl.DataFrame([row], schema=ROW_SCHEMA, orient="row")
    return frame.with_columns(
        pl.lit(RESEARCH.topic).alias("topic"),
        pl.lit(0, pl.UInt16).alias("partition"),
        pl.lit(revision, pl.UInt64).alias("revision"),
    )


def letter(position: int, partition: int = 0) -> DeadLetter:
    """Return a rejected record."""
    return DeadLetter(
        CLASSROOM.topic, partition, position, position, BASE_US // 1000, "json", "", "why", None, b"12345", ()
    )


def test_cached_events_are_what_was_decoded(stores: Stores) -> None:
    """Every column of a cached event comes back as it was, to the microsecond; an absent list comes back empty."""
    events = decoded(lesson(6))
    stores.events.insert(CLASSROOM, events)
    schema = FOLDS["classroom"].cached_schema(CLASSROOM)
    stored = events.select(schema.names()).with_columns(
        pl.col(pl.List(pl.String)).fill_null(pl.lit([], pl.List(pl.String)))
    )
    expected = stored.cast(schema).sort("source", "id").to_dicts()
    assert cached(stores, ["classroom-0-0"], {0: 2**63}) == expected


def test_cached_events_are_of_the_keys_asked_for(stores: Stores) -> None:
    """Other keys and other families do not answer; a key without events has none."""
    stores.events.insert(CLASSROOM, decoded(lesson(2)))
    assert cached(stores, ["classroom-9-9"], {0: 2**63}) == []
    assert cached(stores, ["classroom-0-0"], {}, RESEARCH) == []
    assert len(cached(stores, ["classroom-0-0", "classroom-9-9"], {0: 2**63})) == 2


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (1, 1), (2, 2), (3, 3), (2**48, 3)])
def test_cached_events_end_below_the_position(stores: Stores, limit: int, count: int) -> None:
    """An event at or above the position of its partition does not count yet."""
    told = lesson(3)
    stores.events.insert(CLASSROOM, decoded(told))
    assert ids(cached(stores, ["classroom-0-0"], {0: limit})) == sorted(
        one.identity[2] for one in told[:count] if one.identity
    )


def test_the_position_is_that_of_the_events_partition(stores: Stores) -> None:
    """Each partition has its own limit; one that is not named has none."""
    stores.events.insert(CLASSROOM, decoded(lesson(2), partition=0))
    stores.events.insert(CLASSROOM, decoded(lesson(2, partition=1), partition=1))
    keys = ["classroom-0-0", "classroom-1-0"]
    assert len(cached(stores, keys, {0: 1, 1: 2})) == 3
    assert len(cached(stores, keys, {0: 0})) == 2
    assert len(cached(stores, keys, {})) == 4


def test_an_earlier_epoch_is_below_a_later_one(stores: Stores) -> None:
    """Positions grow with the epoch, whatever the offsets are."""
    told = lesson(2)
    stores.events.insert(CLASSROOM, decoded(told[:1], epoch=0, first=900))
    stores.events.insert(CLASSROOM, decoded(told[1:], epoch=1, first=0))
    assert len(cached(stores, ["classroom-0-0"], {0: 1 << 48})) == 1
    assert len(cached(stores, ["classroom-0-0"], {0: (1 << 48) + 1})) == 2


def test_an_event_inserted_again_is_one_row(stores: Stores) -> None:
    """The same key, time, source and id: the row inserted last remains after a merge, another time is another row."""
    told = lesson(1)
    stores.events.insert(CLASSROOM, decoded(told, first=3))
    stores.events.insert(CLASSROOM, decoded(told, first=5))
    stores.events.insert(CLASSROOM, decoded(told, first=7).with_columns(pl.col("time_us") + 1))
    rows = stores.read("events_classroom", ["time_us", "position"])
    assert sorted((row["time_us"], row["position"]) for row in rows) == [(told[0].time_us, 5), (told[0].time_us + 1, 7)]
    stores.merge("events_classroom")
    assert len(cached(stores, ["classroom-0-0"], {0: 100})) == 2
    assert len(cached(stores, ["classroom-0-0"], {0: 5})) == 0


def test_what_is_stored_between_two_positions(stores: Stores) -> None:
    """The first position is in, the second is not; other partitions are not asked; one row an event."""
    told = lesson(4)
    for _again in range(2):
        stores.events.insert(CLASSROOM, decoded(told, first=10))
    stores.events.insert(CLASSROOM, decoded(lesson(1, partition=1), partition=1, first=11))
    columns = FOLDS["classroom"].cached_columns
    found = stores.events.stored_between(CLASSROOM, columns, 0, (11, 13))
    assert sorted(found["position"].to_list()) == [11, 12]
    assert set(found.columns) == {"key", "type", "source", "id", "time_us", *columns, "partition", "position"}
    assert stores.events.stored_between(CLASSROOM, columns, 0, (14, 2**60)).is_empty()


def test_the_highest_revision_of_a_metric_counts(stores: Stores) -> None:
    """A lower revision loses even if it comes later; of equal ones the later insert counts; each slot is a row."""
    for value, revision in ((1.0, 5), (2.0, 9), (3.0, 7)):
        stores.metrics.upsert(metric("a", value, revision))
    stores.metrics.upsert(metric("a", 8.0, 1, slot_us=60_000_000))
    for value in (4.0, 6.0):
        stores.metrics.upsert(metric("b", value, 1 << 48))
    expected = [("a", 2.0), ("a", 8.0), ("b", 6.0)]
    for _look in range(2):
        rows = stores.read("metric_rows", ["key", "value"])
        assert sorted((row["key"], row["value"]) for row in rows) == expected
        stores.merge("metric_rows")


def test_the_highest_position_of_a_checkpoint_counts(stores: Stores) -> None:
    """A lower position loses even if it comes later; an epoch outranks every offset; of equals the later counts."""
    topic = CLASSROOM.topic
    first = Checkpoint(topic, 0, 0, 9, 77, BASE_US + 1, BASE_US - 5, 9, 6, 2, 1, last_offset=6)
    stores.checkpoints.save([first, Checkpoint(topic, 1, 0, 500)])
    stores.checkpoints.save([Checkpoint(topic, 0, 0, 4)])
    assert stores.checkpoints.load() == {(topic, 0): first, (topic, 1): Checkpoint(topic, 1, 0, 500)}
    stores.merge("checkpoints")
    later = Checkpoint(topic, 0, 0, 9, 77, BASE_US + 1, BASE_US + 60, 9, 6, 2, 1)
    stores.checkpoints.save([later])
    stores.checkpoints.save([Checkpoint(topic, 1, 1, 0, 2**32 - 1)])
    assert stores.checkpoints.load() == {(topic, 0): later, (topic, 1): Checkpoint(topic, 1, 1, 0, 2**32 - 1)}


def test_dead_letters_are_one_row_a_position(stores: Stores) -> None:
    """A dead letter recorded again replaces itself; counting takes in the first position and not the second."""
    stores.dead_letters.insert([letter(3), letter(5), letter(1 << 48), letter(3, partition=1)])
    stores.dead_letters.insert([letter(3)])
    rows = stores.read("dead_letters", ["position", "partition", "reason", "value_bytes", "recorded_at_us"])
    assert sorted((row["partition"], row["position"]) for row in rows) == [(0, 3), (0, 5), (0, 1 << 48), (1, 3)]
    assert {(row["reason"], row["value_bytes"], row["recorded_at_us"]) for row in rows} == {("json", 5, BASE_US)}
    assert stores.dead_letters.count_between(CLASSROOM.topic, 0, (3, 1 << 48)) == 2
    assert stores.dead_letters.count_between(CLASSROOM.topic, 0, (6, 1 << 48)) == 0


def test_duplicates_are_one_row_a_position(stores: Stores) -> None:
    """A record that is dropped again, after a crash, leaves no second trace."""
    dropped = decoded(lesson(3), first=3)
    stores.events.note_duplicates(CLASSROOM, dropped)
    stores.events.note_duplicates(CLASSROOM, dropped.head(1))
    rows = stores.read("duplicates", ["topic", "partition", "position", "key", "source", "schoolid"])
    assert sorted((row["topic"], row["partition"], row["position"]) for row in rows) == [
        (CLASSROOM.topic, 0, 3),
        (CLASSROOM.topic, 0, 4),
        (CLASSROOM.topic, 0, 5),
    ]


def test_nothing_is_inserted_for_nothing(stores: Stores) -> None:
    """Empty inserts leave no trace, and empty tables answer with nothing."""
    columns: dict[str, Any] = {**event_columns(CLASSROOM), "partition": pl.UInt16, "position": pl.UInt64}
    stores.events.insert(CLASSROOM, pl.DataFrame(schema=columns))
    stores.metrics.upsert(metric("a", 1.0, 1).clear())
    stores.dead_letters.insert([])
    assert stores.checkpoints.load() == {}
    for table in ("events_classroom", "metric_rows", "dead_letters"):
        assert stores.read(table, ["key" if table != "dead_letters" else "topic"]) == []
    assert cached(stores, ["classroom-0-0"], {0: 100}) == []
