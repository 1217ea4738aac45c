"""Rebuild stored metrics after a formula, the engagement weights or the catalogue changed, while workers run.

A key (lesson, teacher, activity) with an event in the given days is rebuilt whole, as a worker would that sees it for the
first time: its stored events below the checkpoint of its partition, folded anew, with that checkpoint's position as the
revision. So a worker that knows more writes a higher revision and wins. ``docs/recompute.md`` says why nothing old can
come back, and what it leaves alone.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from schemas.events.event_types import FAMILIES, Family
from schemas.metrics.catalogue import METRICS
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Warehouse
from sinks.stores.checkpoints import CheckpointStore
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from sinks.stores.retention import AgedKeys, complete
from streams.core.event_cache import IDENTITY
from streams.core.families import FOLDS
from streams.recompute.compare import compared
from streams.recompute.rows import RowStore

__all__ = ["EVENTS_PER_RANGE", "Counts", "OnProgress", "Progress", "RecomputeReport", "Stores", "Wanted", "recompute"]

#: Events that are read and folded at once: what one write of a worker holds, below 1 GB with the rows they give.
EVENTS_PER_RANGE: Final = 100_000

_RANGES: Final = """
SELECT min(key) AS key_from, max(key) AS key_to
FROM
(
    SELECT key, intDiv(sum(events) OVER (ORDER BY key), {{events_per_range:UInt64}}) AS nth
    FROM (SELECT key, count() AS events FROM {table} WHERE key IN ({keys}) GROUP BY key)
)
GROUP BY nth
ORDER BY nth
"""
_KEYS: Final = (
    "SELECT DISTINCT key FROM {table} WHERE time >= fromUnixTimestamp64Micro({{from_us:Int64}}, 'UTC')"
    " AND time < fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which metrics of which days: ``metrics`` by name (empty: all, and those the catalogue no longer knows).

    ``first_day`` and ``last_day`` are local days of the district, both included.
    """

    metrics: frozenset[str]
    first_day: date
    last_day: date

    def families(self) -> list[Family]:
        """Return the families that have one of the metrics."""
        having = {metric.family for metric in METRICS if not self.metrics or metric.name in self.metrics}
        return [family for family in FAMILIES if family.name in having]

    def bounds_us(self, time_zone: str) -> tuple[int, int]:
        """Return the first microsecond of the days and the first one after them."""
        zone = ZoneInfo(time_zone)
        starts = (datetime.combine(day, time(), zone) for day in (self.first_day, self.last_day + timedelta(days=1)))
        first_us, end_us = (round(start.timestamp()) * 1_000_000 for start in starts)
        return first_us, end_us


@dataclass(slots=True)
class Counts:
    """Rows of one metric. ``changed`` and ``missing`` were written (or would be); ``unexplained`` no event explains."""

    same: int = 0
    changed: int = 0
    missing: int = 0
    unexplained: int = 0
    #: Written by a worker that is further than the checkpoint; left to it.
    ahead: int = 0
    #: Of those, the ones of an older catalogue: that worker was not upgraded, or has ended without its checkpoint.
    ahead_of_older_catalogue: int = 0


@dataclass(slots=True)
class RecomputeReport:
    """What was done: keys and events read, rows by metric; ``deleted`` of the unexplained rows are gone."""

    dry_run: bool
    keys: int = 0
    events: int = 0
    deleted: int = 0
    by_metric: dict[str, Counts] = field(default_factory=dict)

    def total(self, name: str) -> int:
        """Return the sum of one of the counts over all metrics."""
        return sum(getattr(counts, name) for counts in self.by_metric.values())

    @property
    def left(self) -> int:
        """Rows that are still not as the formulas say."""
        return self.total("unexplained") - self.deleted + self.total("ahead_of_older_catalogue")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: ranges of keys done of one family, and rows written so far in all."""

    family: str
    ranges_done: int
    ranges_total: int
    rows_written: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Stores:
    """Where metrics come from and go to."""

    events: EventStore
    metrics: MetricStore
    checkpoints: CheckpointStore
    rows: RowStore
    aged: AgedKeys

    @classmethod
    def of(cls, warehouse: Warehouse) -> "Stores":
        """Return the stores behind one connection."""
        return cls(
            EventStore(warehouse),
            MetricStore(warehouse),
            CheckpointStore(warehouse, "recompute"),
            RowStore(warehouse),
            AgedKeys(warehouse),
        )


def recompute(
    warehouse: Warehouse,
    wanted: Wanted,
    rules: MetricRules,
    *,
    stores: Stores | None = None,
    dry_run: bool = False,
    on_progress: OnProgress = lambda _progress: None,
    events_per_range: int = EVENTS_PER_RANGE,
) -> RecomputeReport:
    """Rebuild the wanted metrics; ``rules`` are those the workers use now. May be run again at any time.

    Rows that no event explains are deleted where the user may; ``report.left`` says how many are not. With ``dry_run``
    nothing is written and the report says what would be. While the database is away every call waits for it.

    Raises :class:`MustStop` for what waiting cannot resolve.
    """
    stores = stores or Stores.of(warehouse)
    report = RecomputeReport(dry_run)
    for family in wanted.families():
        ranges = _ranges(warehouse, family, wanted.bounds_us(rules.time_zone), events_per_range)
        for done, keys in enumerate(_keys(warehouse, family, wanted.bounds_us(rules.time_zone), ranges), start=1):
            _rebuild(stores, family, keys, wanted.metrics, rules, report)
            written = report.total("changed") + report.total("missing")
            on_progress(Progress(family.name, done, len(ranges), written))
    return report


def _ranges(
    warehouse: Warehouse, family: Family, bounds_us: tuple[int, int], events_per_range: int
) -> list[tuple[str, str]]:
    sql = _RANGES.format(table=family.table, keys=_KEYS.format(table=family.table))
    parameters = {"from_us": bounds_us[0], "to_us": bounds_us[1], "events_per_range": events_per_range}
    return warehouse.query(f"find the keys of {family.table}", sql, parameters).rows()


def _keys(
    warehouse: Warehouse, family: Family, bounds_us: tuple[int, int], ranges: Sequence[tuple[str, str]]
) -> Iterator[list[str]]:
    """Yield the keys of each range; they are asked for one range at a time, so memory does not grow with their number."""
    sql = _KEYS.format(table=family.table) + " AND key >= {key_from:String} AND key <= {key_to:String}"
    for key_from, key_to in ranges:
        found = warehouse.query(
            f"find the keys of {family.table}",
            sql,
            {"from_us": bounds_us[0], "to_us": bounds_us[1], "key_from": key_from, "key_to": key_to},
        )
        yield found["key"].to_list()


def _rebuild(
    stores: Stores, family: Family, keys: list[str], metrics: Collection[str], rules: MetricRules, report: RecomputeReport
) -> None:
    # The checkpoints come first: below them nothing can change any more, so all that is read later is at least as new.
    revisions = {
        number: point.position for (topic, number), point in stores.checkpoints.load().items() if topic == family.topic
    }
    origins = stores.rows.origins(family, keys).with_columns(
        # Without a checkpoint nothing of the partition is applied yet.
        revision=pl.col("partition").replace_strict(revisions, default=0, return_dtype=pl.UInt64)
    )
    below = dict(origins.select("partition", "revision").unique().iter_rows())
    cached = _cached(stores.events, family, keys, below)
    # A key in two partitions has no order of its own (docs/delivery.md); the further one outranks what both wrote.
    origin = origins.sort("revision").unique("key", keep="last").with_columns(topic=pl.lit(family.topic))
    aged = stores.aged.of(family.topic, keys)
    computed = _wanted(FOLDS[family.name].rows(cached, cached, rules), metrics).join(origin, on="key")
    stored = stores.rows.stored(family, keys, metrics).join(origin.select("key", applied="revision"), on="key")
    found = compared(complete(computed, aged), complete(stored, aged))
    report.keys += len(keys)
    report.events += cached.height
    _count(report, found.counts)
    if not report.dry_run:
        stores.metrics.upsert(found.to_write)
        report.deleted += stores.rows.delete(family, found.unexplained)


def _cached(events: EventStore, family: Family, keys: Sequence[str], below: Mapping[int, int]) -> pl.DataFrame:
    schema = FOLDS[family.name].cached_schema(family)
    stored = events.events_of(family, FOLDS[family.name].cached_columns, keys, dict(below))
    return stored.select(schema.names()).cast(schema).unique(IDENTITY)


def _wanted(rows: pl.DataFrame, metrics: Collection[str]) -> pl.DataFrame:
    named = rows.with_columns(pl.col("key").cast(pl.String))
    return named.filter(pl.col("metric").is_in(list(metrics))) if metrics else named


def _count(report: RecomputeReport, counts: Mapping[tuple[str, str], int]) -> None:
    for (metric, name), rows in counts.items():
        held = report.by_metric.setdefault(metric, Counts())
        setattr(held, name, getattr(held, name) + rows)
