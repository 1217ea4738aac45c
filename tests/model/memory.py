"""The stores in memory, with the semantics of ClickHouse's ReplacingMergeTree that the pipeline relies on.

Of rows with one key the highest version counts, and of equal versions the one inserted last; rows that lost stay visible
to a reader without FINAL until a merge. ``test_store_contract.py`` holds these stores and the real ones to the same
behaviour.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from schemas.events.event_types import FAMILIES, Family
from schemas.metrics.catalogue import CATALOGUE_VERSION
from sinks.stores.checkpoints import Checkpoint
from sinks.stores.dead_letters import DeadLetter
from sinks.stores.events import DUPLICATE_COLUMNS, DUPLICATES
from streams.core.families import FOLDS

Row = dict[str, Any]
EVERY_FACT = ("key", "type", "source", "id", "time_us")
_NO_LIMIT = 2**64


@dataclass
class Table:
    """A ReplacingMergeTree: rows in the order of their insertion; ``version`` is None where the last insert counts."""

    key: tuple[str, ...]
    version: str | None = None
    rows: list[Row] = field(default_factory=list)

    def final(self) -> list[Row]:
        """Return one row for each key, as a SELECT with FINAL does."""
        latest: dict[tuple[Any, ...], Row] = {}
        for row in self.rows:
            identity = tuple(row[name] for name in self.key)
            known = latest.get(identity)
            if known is None or self.version is None or row[self.version] >= known[self.version]:
                latest[identity] = row
        return list(latest.values())

    def merge(self) -> None:
        """Drop the rows that lost, as the engine does in the background whenever it likes."""
        self.rows = self.final()


class Database:
    """Every table of the product that a worker writes."""

    def __init__(self) -> None:
        self.tables = {family.table: Table(("key", "time_us", "source", "id")) for family in FAMILIES}
        self.tables["metric_rows"] = Table(("key", "metric", "window", "item", "slot_us"), "revision")
        self.tables["checkpoints"] = Table(("topic", "partition"), "position")
        self.tables["duplicates"] = Table(("topic", "partition", "position"))
        self.tables["dead_letters"] = Table(("topic", "partition", "position"))

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        """Store rows."""
        self.tables[table].rows.extend(rows)


class Session:
    """One worker's connection. A subclass may come between the stores and the database, call by call."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def insert(self, table: str, rows: list[Row]) -> None:
        """Store rows."""
        self.database.insert(table, rows)

    def rows(self, table: str, *, final: bool) -> list[Row]:
        """Return the rows of a table, with or without those that lost and are not merged away yet."""
        found = self.database.tables[table]
        return found.final() if final else list(found.rows)


class MemoryEventStore:
    """As ``sinks.stores.events.EventStore``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, family: Family, events: pl.DataFrame) -> dict[tuple[int, int], str]:
        """Insert events; absent strings and lists are stored empty, as ClickHouse does."""
        if events.is_empty():
            return {}
        rows = [
            {name: _stored_value(events.schema[name], value) for name, value in row.items()}
            for row in events.iter_rows(named=True)
        ]
        self._session.insert(family.table, rows)
        return {}

    def note_duplicates(self, family: Family, dropped: pl.DataFrame) -> None:
        """Record what was dropped."""
        if not dropped.is_empty():
            rows = dropped.select(pl.lit(family.topic).alias("topic"), *DUPLICATE_COLUMNS)
            self._session.insert(DUPLICATES, list(rows.iter_rows(named=True)))

    def events_of(self, family: Family, columns: Sequence[str], keys: Sequence[str], below: dict[int, int]) -> pl.DataFrame:
        """Return the stored events of ``keys`` below the positions."""
        wanted = set(keys)
        found = [
            row
            for row in self._session.rows(family.table, final=False)
            if row["key"] in wanted and row["position"] < below.get(row["partition"], _NO_LIMIT)
        ]
        return _frame(family, found, (*EVERY_FACT, *columns))

    def stored_between(
        self, family: Family, columns: Sequence[str], partition: int, positions: tuple[int, int]
    ) -> pl.DataFrame:
        """Return what is stored of a partition from the first position to before the second."""
        found = [
            row
            for row in self._session.rows(family.table, final=True)
            if row["partition"] == partition and positions[0] <= row["position"] < positions[1]
        ]
        return _frame(family, found, (*EVERY_FACT, *columns, "partition", "position"))


def _stored_value(dtype: pl.DataType, value: Any) -> Any:
    if value is not None:
        return value
    if dtype == pl.String:
        return ""
    return [] if isinstance(dtype, pl.List) else None


def _frame(family: Family, rows: list[Row], columns: Sequence[str]) -> pl.DataFrame:
    schema = FOLDS[family.name].cached_schema(family) | {"type": pl.String, "partition": pl.UInt16, "position": pl.UInt64}
    wanted = {name: schema[name] for name in columns}
    absent = {name for name, kind in wanted.items() if kind == pl.String and name not in EVERY_FACT}
    found = [{name: None if name in absent and row[name] == "" else row[name] for name in wanted} for row in rows]
    return pl.DataFrame(found, schema=wanted)


class MemoryMetricStore:
    """As ``sinks.stores.metrics.MetricStore``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def upsert(self, rows: pl.DataFrame) -> None:
        """Write metric rows."""
        if not rows.is_empty():
            rows = rows.with_columns(pl.lit(CATALOGUE_VERSION, pl.UInt16).alias("catalogue_version"))
            self._session.insert("metric_rows", rows.to_dicts())


class MemoryCheckpointStore:
    """As ``sinks.stores.checkpoints.CheckpointStore``."""

    def __init__(self, session: Session, worker: str) -> None:
        self._session = session
        self._worker = worker

    def save(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Write checkpoints."""
        rows = [{**asdict(point), "position": point.position, "worker": self._worker} for point in checkpoints]
        if rows:
            self._session.insert("checkpoints", rows)

    def load(self) -> dict[tuple[str, int], Checkpoint]:
        """Return the latest checkpoint of every partition."""
        points = [
            Checkpoint(**{name: value for name, value in row.items() if name not in {"position", "worker"}})
            for row in self._session.rows("checkpoints", final=True)
        ]
        return {(point.topic, point.partition): point for point in points}


class MemoryDeadLetterStore:
    """As ``sinks.stores.dead_letters.DeadLetterStore``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, letters: Sequence[DeadLetter]) -> None:
        """Record why and where."""
        if letters:
            self._session.insert(
                "dead_letters",
                [
                    {
                        "topic": letter.topic,
                        "partition": letter.partition,
                        "position": letter.position,
                        "reason": str(letter.reason),
                        "field": letter.field,
                        "value_bytes": len(letter.value or b""),
                        "recorded_at_us": letter.timestamp_ms * 1000,
                    }
                    for letter in letters
                ],
            )

    def count_between(self, topic: str, partition: int, positions: tuple[int, int]) -> int:
        """Return how many dead letters a partition has from the first position to before the second."""
        return sum(
            (row["topic"], row["partition"]) == (topic, partition) and positions[0] <= row["position"] < positions[1]
            for row in self._session.rows("dead_letters", final=True)
        )


class MemoryDeadLetterTopic:
    """A dead-letter topic that keeps what it is given and acknowledges at once."""

    def __init__(self) -> None:
        self.published: list[DeadLetter] = []

    def publish(self, letters: Sequence[DeadLetter]) -> Future[None]:
        """Keep."""
        self.published.extend(letters)
        done: Future[None] = Future()
        done.set_result(None)
        return done
