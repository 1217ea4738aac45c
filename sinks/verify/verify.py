"""Recompute every metric from the stored events, in SQL of its own, and compare with what the stream stored.

The convergence invariant: the metrics equal what SQL computes from the unique stored events. The accounting invariant: per
partition, consumed = stored + duplicates + dead letters, and each of them is really there. The SQL is in
``sinks/sql/verify``.

Keys are compared range by range, so memory does not grow with the number of lessons. Workers may run meanwhile: a
difference counts only when two looks, one after the other, see the very same one.

Only what cannot have expired is looked at (``sinks/stores/retention.py``): a metric of which an event may be gone, or that
may be gone itself, takes part on neither side, whether the server has already deleted or not.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from schemas.events.event_types import CLASSROOM, FAMILIES, Family
from schemas.metrics.catalogue import CATALOGUE_VERSION, METRICS, ROW_KEY, ROW_METRIC, modules_of
from schemas.metrics.classroom.lessons import OF_CLASS
from schemas.metrics.rules import MetricRules
from sinks.stores.retention import REACH_US, RETENTION_SQL, Retention
from sinks.verify.findings import Difference, OnProgress, Progress, Scalar, VerifyReport
from sinks.verify.invariants import DEAD_LETTERS, Checkpoint, Tally, add_invariants, bases_of, checkpoints_of

__all__ = ["VerifyReport", "metrics_sql", "rule_parameters", "verify", "verify_sql"]

#: Events and metrics a range: some hundred lessons, below 1 GB in the database.
ROWS_PER_RANGE: Final = 400_000
#: A key that takes part in a flush at every single look is reported as it was seen last.
MOST_LOOKS: Final = 6
#: Long enough for a flush that was under way to end.
PAUSE_SECONDS: Final = 0.2
#: More keys than this are not named one by one (they travel in the URL); the whole range is looked at again.
MOST_NAMED_KEYS: Final = 200

#: Instead of a reach: metrics depend on every event of their key.
WHOLE_KEY: Final = -1

METRIC_ROWS: Final = "metric_rows"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Largest value possible of each metric; where its declaration knows none, the largest there is.
HIGHEST: Final = {metric.name: sys.float_info.max if metric.highest is None else metric.highest for metric in METRICS}
_EXPECTED_COLUMNS: Final = (*ROW_METRIC, "catalogue_version")
_STORED_COLUMNS: Final = (*_EXPECTED_COLUMNS, "partition", "revision")
_TIME_COLUMNS: Final = ("window_start", "window_end")


@dataclass(frozen=True, slots=True)
class Range:
    """Keys of one family from ``key_from`` to ``key_to``; only ``keys`` of them, unless that is empty.

    What was stored until ``last_aged_day`` may be gone. ``places``: some of them are lessons in several places.
    """

    family: Family
    rules: MetricRules
    last_aged_day: date
    key_from: str
    key_to: str
    keys: tuple[str, ...] = ()
    places: bool = False

    def narrowed(self, keys: Sequence[str]) -> "Range":
        """Return the part of the range that holds ``keys``, named one by one if they are few."""
        named = tuple(sorted(keys)) if len(keys) <= MOST_NAMED_KEYS else ()
        return replace(self, key_from=min(keys), key_to=max(keys), keys=named)


@dataclass(frozen=True, slots=True)
class Look:
    """What one comparison of a range saw; equal signatures mean the same differences."""

    rows_expected: int
    rows_stored: int
    differing_rows: int
    signature: int
    differing_keys: tuple[str, ...]
    differences: list[Difference]


def verify(
    client: Client,
    *,
    rules: MetricRules,
    on_progress: OnProgress | None = None,
    limit: int = 1000,
    rows_per_range: int = ROWS_PER_RANGE,
    since: date | None = None,
) -> VerifyReport:
    """Compare every stored metric with the events, and the counters of every partition with what is stored.

    ``rules`` are those the workers use. At most ``limit`` differences are
    listed, all are counted. What was stored before ``since`` (a day in UTC) is left out, as is what may have expired.
    Reads only.

    Raises ``ValueError`` for a limit outside 1 to 1000, :class:`MustStop` for a TTL that cannot be
    understood, and clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    if not 1 <= limit <= 1000:
        raise ValueError(f"limit is {limit}; give a number from 1 to 1000")
    report = VerifyReport(limit)
    # The positions are fixed first: below them nothing may change any more.
    checkpoints = checkpoints_of(client)
    retention = Retention.read(client.query(RETENTION_SQL).result_rows).since(since)
    _verify_unknown_metrics(client, report)
    for family in FAMILIES:
        last_aged_day = retention.last_aged_day(family.table, *([METRIC_ROWS] if _metrics(family) else []))
        tally = _tally(client, family, checkpoints, retention)
        report.note_since(family.name, last_aged_day, everything=tally.counts_every_event)
        report.note_since(DEAD_LETTERS, retention.last_aged_day(DEAD_LETTERS), everything=tally.counts_every_dead_letter)
        ranges = _ranges(client, Range(family, rules, last_aged_day, "", ""), rows_per_range)
        for done, span in enumerate(ranges, start=1):
            where = replace(span, places=_has_places(client, span))
            tally.add(client, verify_sql("counts"), where.key_from, where.key_to)
            for module, metrics in modules_of(family.name).items():
                _verify_range(client, where, module, metrics, report)
            if on_progress is not None:
                on_progress(Progress(family.name, done, len(ranges), report.rows_expected, report.differences_total))
        add_invariants(client, tally, report)
    return report


@cache
def verify_sql(name: str) -> str:
    """Return the text of ``sinks/sql/verify/<name>.sql`` without its lines of comment."""
    text = files("sinks").joinpath("sql", "verify", f"{name}.sql").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))


@cache
def metrics_sql(family: str, module: str, *, places: bool = False) -> str:
    """Return the query that recomputes the metrics of one module, with what the family's queries share put in.

    ``places``: with the rows of the classes of lessons in several places, which are computed like lessons of their own.
    """
    whole = _whole(family, module, verify_sql(f"{family}/events"))
    if not (places and family == CLASSROOM.name and set(modules_of(family)[module]) & set(OF_CLASS)):
        return whole
    shared = (
        verify_sql(f"{family}/events")
        .replace("events AS", "told_events AS", 1)
        .replace("/* places */", verify_sql(f"{family}/places"))
        .replace("true AS open_without_roster", "false AS open_without_roster")
    )
    of_places = verify_sql("of_places").replace("/* recomputed rows */", _whole(family, module, shared))
    return f"SELECT * FROM ({whole}) UNION ALL SELECT * FROM ({of_places.replace('/* of classes */', str(OF_CLASS))})"  # noqa: S608


def _whole(family: str, module: str, shared: str) -> str:
    """Return the module's query on the events that ``shared`` says."""
    applied = verify_sql("applied")
    return verify_sql(f"{family}/{module}").replace("/* events */", shared).replace("/* applied */", applied)


def rule_parameters(rules: MetricRules) -> dict[str, str | float | list[float]]:
    """Return the parameters of ``metrics_sql`` that a deployment decides."""
    return {
        "time_zone": rules.time_zone,
        "weights": list(rules.engagement_weights),
        "full_rate": rules.engagement_full_rate,
    }


def _metrics(family: Family) -> list[str]:
    return [metric.name for metric in METRICS if metric.family == family.name]


def _tally(client: Client, family: Family, checkpoints: Sequence[Checkpoint], retention: Retention) -> Tally:
    event_bases, letter_bases = (
        bases_of(client, verify_sql("bases"), family, retention.last_aged_day(table))
        for table in (family.table, DEAD_LETTERS)
    )
    return Tally(family, checkpoints, event_bases, letter_bases)


def _ranges(client: Client, every: Range, rows_per_range: int) -> list[Range]:
    parameters = {
        "events_table": every.family.table,
        "metrics": _metrics(every.family),
        "rows_per_range": rows_per_range,
        "last_aged_day": every.last_aged_day,
    }
    bounds = client.query(verify_sql("ranges"), parameters=parameters).result_rows
    return [replace(every, key_from=key_from, key_to=key_to) for key_from, key_to in bounds]


def _has_places(client: Client, where: Range) -> bool:
    if where.family is not CLASSROOM:
        return False
    parameters = {"key_from": where.key_from, "key_to": where.key_to}
    return bool(client.query(verify_sql("classroom/has_places"), parameters=parameters).result_rows[0][0])


def _verify_range(client: Client, where: Range, module: str, metrics: list[str], report: VerifyReport) -> None:
    look = _look(client, where, module, metrics, report.room)
    report.rows_expected += look.rows_expected
    report.rows_stored += look.rows_stored
    looks = 1
    while look.differing_rows and looks < MOST_LOOKS:
        time.sleep(PAUSE_SECONDS)
        where = where.narrowed(look.differing_keys)
        previous, look = look, _look(client, where, module, metrics, report.room)
        looks += 1
        if look.signature == previous.signature and look.differing_rows == previous.differing_rows:
            break
    report.add(look.differences, look.differing_rows)


def _look(client: Client, where: Range, module: str, metrics: list[str], limit: int) -> Look:
    parameters = {
        "key_from": where.key_from,
        "key_to": where.key_to,
        "keys": list(where.keys),
        **rule_parameters(where.rules),
        "metrics": metrics,
        "highest": [HIGHEST[metric] for metric in metrics],
        "catalogue_version": CATALOGUE_VERSION,
        "limit": limit,
        "topic": where.family.topic,
        "last_aged_day": where.last_aged_day,
        "reach_us": REACH_US.get(where.family.name, WHOLE_KEY),
    }
    query = verify_sql("compare").replace(
        "/* recomputed rows */", metrics_sql(where.family.name, module, places=where.places)
    )
    rows_expected, rows_stored, differing_rows, signature, keys, listed = client.query(
        query, parameters=parameters
    ).result_rows[0]
    differences = [_difference(row[:5], *row[5:]) for row in listed]
    return Look(rows_expected, rows_stored, differing_rows, signature, tuple(keys), differences)


def _difference(
    row: Sequence[Any], kind: Any, columns: Sequence[str], expected: Sequence[Any], stored: Sequence[Any]
) -> Difference:
    """Name the difference of one row, given as key, metric, window, item, and slot in microseconds."""
    key, metric, window, item, slot_us = row
    row_key: dict[str, Scalar] = dict(zip(ROW_KEY, (metric, window, key, item, _rfc3339(slot_us)), strict=True))
    return Difference(
        kind,
        row_key,
        tuple(columns),
        None if kind == "unexpected" else _named(_EXPECTED_COLUMNS, expected),
        None if kind == "missing" else _named(_STORED_COLUMNS, stored),
    )


def _named(columns: Sequence[str], values: Sequence[Any]) -> dict[str, Scalar]:
    named = dict(zip(columns, values, strict=True))
    times = {name: _rfc3339(named[name]) for name in _TIME_COLUMNS}
    return named | times | {"parts": " ".join(map(str, named["parts"]))}


def _rfc3339(time_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def _verify_unknown_metrics(client: Client, report: VerifyReport) -> None:
    """A stored metric that the catalogue does not know belongs to no family, so no range would meet it."""
    parameters = {"metrics": [metric.name for metric in METRICS], "limit": report.room}
    total = client.query(
        "SELECT count() FROM metric_rows FINAL WHERE metric NOT IN {metrics:Array(String)}", parameters=parameters
    ).result_rows[0][0]
    if not total:
        return
    rows = client.query(
        "SELECT key, metric, window, item, toUnixTimestamp64Micro(slot), toUnixTimestamp64Micro(window_start),"
        " toUnixTimestamp64Micro(window_end), value, numerator, denominator, sample_size, parts, catalogue_version,"
        " partition, revision FROM metric_rows FINAL WHERE metric NOT IN {metrics:Array(String)}"
        " ORDER BY key, metric, window, item, slot LIMIT {limit:UInt32}",
        parameters=parameters,
    ).result_rows
    report.rows_stored += total
    report.add([_difference(row[:5], "unexpected", (), (), row[5:]) for row in rows], total)
