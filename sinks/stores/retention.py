"""How long the tables keep what, and which keys may have lost events by it.

The tables' own TTLs are the one truth about how long: they are read back from the server. What is past its time may be
deleted or not yet, so a day counts as aged as soon as anything stored on it may be gone. A key with events of an aged day
is known in part only; the table ``event_days`` tells which those are. ``docs/retention.md`` says what follows.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final

import polars as pl

from schemas.errors import MustStop
from schemas.events.event_types import FAMILIES
from schemas.metrics.prep.plans import PREP_REACH_US
from sinks.clickhouse.answers import in_parts
from sinks.clickhouse.client import Warehouse

__all__ = ["FOREVER_US", "NEVER_AGED", "REACH_US", "RETENTION_SQL", "AgedKeys", "Retention", "complete", "kept_for"]

#: Gives rows of ``name, create_table_query, today`` (UTC).
RETENTION_SQL: Final = (
    "SELECT name, create_table_query, toDate(now('UTC')) AS today FROM system.tables"
    " WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
)
#: Metrics of these families depend on the events of their window and on those so far outside it. Metrics of all other
#: families depend on every event of their key: who is present, for example, is told by all joins before.
REACH_US: Final[Mapping[str, int]] = {"prep": PREP_REACH_US}
#: Stands for "no window of the key is complete".
FOREVER_US: Final = 2**63 - 1
#: A verification, or a worker that looks once an hour, may go on for so long with the day it began with.
MARGIN: Final = timedelta(days=1)
SECONDS_BETWEEN_LOOKS: Final = 3_600.0
KEYS_PER_QUERY: Final = 2_000

#: Before every day on which anything was stored.
NEVER_AGED: Final = date(1970, 1, 1)
#: The shortest that each can be, in days.
_UNIT_DAYS: Final = {
    "Second": 1 / 86_400,
    "Minute": 1 / 1_440,
    "Hour": 1 / 24,
    "Day": 1,
    "Week": 7,
    "Month": 28,
    "Quarter": 90,
    "Year": 365,
}
_TEXTS: Final = re.compile(r"'(?:[^'\\]|\\.|'')*'")
_INTERVAL: Final = re.compile(r"\btoInterval(\w+)\((\d+)\)")


def kept_for(create_table_query: str) -> timedelta | None:
    """Return how long the table keeps a row whole, by the shortest of its TTLs; None: for ever.

    Raises ``ValueError`` if there is a TTL without an interval of seconds to years.
    """
    without_texts = _TEXTS.sub("''", create_table_query)
    _, *clauses = re.split(r"\bTTL\b", without_texts)
    if not clauses:
        return None
    found = [(int(number), unit) for clause in clauses for unit, number in _INTERVAL.findall(clause)]
    if not found or any(unit not in _UNIT_DAYS for _, unit in found):
        raise ValueError("write the TTL as toDateTime(column) + INTERVAL n DAY")
    return min(timedelta(days=number * _UNIT_DAYS[unit]) for number, unit in found)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each table keeps its rows (absent: for ever), and the server's day in UTC."""

    today: date
    kept: Mapping[str, timedelta]
    not_before: date | None = None

    @classmethod
    def read(cls, rows: Iterable[Sequence[Any]]) -> "Retention":
        """Read the answer to ``RETENTION_SQL``.

        Raises :class:`MustStop` if there is no table, or one whose TTL cannot be understood.
        """
        today: date | None = None
        kept: dict[str, timedelta] = {}
        for name, create_table_query, day in rows:
            today = day
            try:
                age = kept_for(create_table_query)
            except ValueError as error:
                raise MustStop(f"How long {name} keeps its rows cannot be read from its TTL", str(error)) from error
            if age is not None:
                kept[name] = age
        if today is None:
            raise MustStop("The tables are missing", "Run `classpulse migrate`")
        return cls(today, kept)

    def since(self, day: date | None) -> "Retention":
        """Treat what was stored before ``day`` as if it may be gone."""
        return replace(self, not_before=day)

    def last_aged_day(self, *tables: str) -> date:
        """Return the last day (UTC) of which one of ``tables`` may have lost rows; 1970-01-01 if there is none."""
        days = [NEVER_AGED]
        for table in tables:
            age = self.kept.get(table)
            if age is not None and age < self.today + MARGIN - NEVER_AGED:
                # A part of a day is a whole day: the day before the age is over is aged in part.
                days.append(self.today + MARGIN - timedelta(days=age.days))
        if self.not_before is not None:
            days.append(self.not_before - timedelta(days=1))
        return max(days)


def complete(rows: pl.DataFrame, aged: pl.DataFrame) -> pl.DataFrame:
    """Return the metric rows that do not depend on events that may be gone.

    ``rows`` has ``key, window_start_us``; ``aged`` has ``key, until_us``: windows up to there are not complete.
    """
    if aged.is_empty():
        return rows
    kept = rows.join(aged, on="key", how="left", maintain_order="left").filter(
        pl.col("until_us").is_null() | (pl.col("window_start_us") > pl.col("until_us"))
    )
    return kept.select(rows.columns)


class AgedKeys:
    """Which keys may have lost events, as the worker asks before it writes metrics. Used by one thread."""

    def __init__(self, warehouse: Warehouse, clock_seconds: Callable[[], float] = time.monotonic) -> None:
        self._warehouse = warehouse
        self._clock_seconds = clock_seconds
        self._look_again_at = float("-inf")
        self._last_aged_day: dict[str, date] = {}

    def may_be_of(self, topic: str) -> bool:
        """Whether any key of ``topic`` may have lost events."""
        if self._clock_seconds() >= self._look_again_at:
            self._look()
            self._look_again_at = self._clock_seconds() + SECONDS_BETWEEN_LOOKS
        return topic in self._last_aged_day

    def of(self, topic: str, keys: list[str]) -> pl.DataFrame:
        """Return ``key, until_us`` of those of ``keys`` that may have lost events; ``complete`` takes it.

        A database younger than its retention is asked once an hour, not for every write.
        """
        found = [pl.DataFrame(schema={"key": pl.String, "until_us": pl.Int64})]
        if self.may_be_of(topic):
            reach_us = {family.topic: REACH_US.get(family.name) for family in FAMILIES}[topic]
            until = pl.lit(FOREVER_US) if reach_us is None else pl.col("last_us") + reach_us
            for some in in_parts(keys, KEYS_PER_QUERY):
                answer = self._warehouse.query(
                    "read which keys may have lost events",
                    "SELECT key, toUnixTimestamp64Micro(max(last_time)) AS last_us FROM event_days"
                    " WHERE topic = {topic:String} AND key IN {keys:Array(String)} AND day <= {day:Date} GROUP BY key",
                    {"topic": topic, "keys": some, "day": self._last_aged_day[topic]},
                )
                found.append(answer.select("key", until.cast(pl.Int64).alias("until_us")))
        return pl.concat(found)

    def _look(self) -> None:
        tables = self._warehouse.query("read how long the tables keep their rows", RETENTION_SQL)
        retention = Retention.read(tables.iter_rows())
        firsts = self._warehouse.query(
            "read since when there are events", "SELECT topic, min(day) AS first FROM event_days GROUP BY topic"
        )
        first_days: dict[str, date] = dict(firsts.iter_rows())
        aged_days = {family.topic: retention.last_aged_day(family.table, "metric_rows") for family in FAMILIES}
        self._last_aged_day = {
            topic: day for topic, day in aged_days.items() if topic in first_days and first_days[topic] <= day
        }
