# ruff: noqa: S608 - every name in a statement is declared here; values are parameters
"""The tables of the portraits: what has been observed, what the portraits have said so far, and what they say now.

Rows are only ever added: of each place (school, kind, entity, dimension, day) the latest ``recorded_at`` counts, and
``live = 0`` takes a place back. ``streams/evaluation/portraits.py`` decides what is added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl
from clickhouse_connect.driver.client import Client

from schemas.evaluation.portraits import ACTIVE_DAYS_LONG, DIMENSIONS, INACTIVE_DAYS, PORTRAIT_VERSION, Kind
from sinks.clickhouse.answers import FAR_FUTURE, Value, answered, in_parts, instant
from sinks.clickhouse.client import WRITE_SETTINGS

__all__ = ["FOLDS", "PEER_METRICS", "ROWS_AT_ONCE", "Pending", "PortraitStore", "Run"]

#: Columns of ``portraits`` that carry what it says, besides those that name the place.
FOLDS: Final = ("observed", "sample_size", "level", "weight", "active_days_7", "active_days_28", "inactive", "peer_group")
PEER_METRICS: Final = ("peers", "median", "mad")
#: A merge costs some time however little it merges; up to so many rows, all that is needed is merged at once.
ROWS_AT_ONCE: Final = 200_000
#: Named one by one in a query; of more than these, everything of the kind is read.
MOST_NAMED_ENTITIES: Final = 2_000
#: How far back the last observations are looked for, step by step: the weeks of a half-term, a holiday more, and all.
LOOK_BACK_DAYS: Final = (63, 200, None)
#: What a column Date32 holds.
EVERY_DAY: Final = (date(1900, 1, 1), date(2299, 12, 31))
#: What is being inserted may become visible later than what was inserted after it; so long it is looked for again.
OVERLAP: Final = timedelta(minutes=2)
#: The bits of a mask of days that a 64-bit number has room for; more than the longest span that counts.
_MASK_DAYS: Final = 60

_LATEST: Final = f"""
    SELECT school_id, entity_id, dimension, day,
        {", ".join(f"tupleElement(latest, {number}) AS {name}" for number, name in enumerate((*FOLDS, "live"), start=1))}
    FROM
    (
        SELECT school_id, entity_id, dimension, day, argMax(tuple({", ".join(FOLDS)}, live), recorded_at) AS latest
        FROM portraits
        WHERE kind = {{kind:String}} AND {{condition}}
        GROUP BY school_id, entity_id, dimension, day
    )
    WHERE live = 1"""
#: With the order of the key a place is done once it is read, so memory does not grow with the table.
_IN_ORDER: Final = "SETTINGS optimize_aggregation_in_order = 1"

_REGISTRATIONS: Final = """
SELECT type, key, number, week, school_id, peer_group, students FROM
(
    SELECT
        type, key, students,
        row_number() OVER (ORDER BY time, source, id) AS number,
        toDate32(toMonday(toDate32(toTimeZone(time, {time_zone:String})))) AS week,
        if(type = 'registry.school.registered', key, school_id) AS school_id,
        multiIf(
            type = 'registry.teacher.registered', concat(career_stage, '/', course),
            type = 'registry.class.registered', concat('grade ', toString(ifNull(grade, 0))),
            type = 'registry.school.registered', toString(stage), ''
        ) AS peer_group,
        cityHash64(school_id, peer_group, students) AS said,
        lagInFrame(said, 1, 0) OVER (
            PARTITION BY type, key, times_retired ORDER BY time, source, id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS said_before
    FROM
    (
        SELECT type, key, time, source, id, school_id, career_stage, course, grade, stage, students,
            countIf(type = 'registry.entry.retired') OVER (
                PARTITION BY key ORDER BY time, source, id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS times_retired
        FROM events_registry
        WHERE type IN ('registry.teacher.registered', 'registry.class.registered', 'registry.school.registered',
                       'registry.roster.registered', 'registry.entry.retired')
    )
)
WHERE said != said_before
ORDER BY number"""


@dataclass(frozen=True, slots=True)
class Run:
    """How far the portraits are: a row of ``portrait_runs``."""

    recorded_at: datetime
    panes_until: datetime
    registry_until: datetime
    last_day_over: date
    portrait_version: int = PORTRAIT_VERSION


@dataclass(frozen=True, slots=True)
class Pending:
    """What has come since a run: ``days`` are those whose observations may differ now, ascending."""

    panes_until: datetime
    registry_until: datetime
    days: tuple[date, ...]
    registry_changed: bool


class PortraitStore:
    """Reads and adds versions of the portraits. Not thread-safe: one thread uses ``client``.

    All methods raise clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def last_run(self) -> Run | None:
        """Return the latest run, None before the first."""
        found = self._client.query(
            "SELECT recorded_at, panes_until, registry_until, last_day_over, portrait_version"
            " FROM portrait_runs ORDER BY recorded_at DESC LIMIT 1"
        ).result_rows
        if not found:
            return None
        recorded_at, panes_until, registry_until, last_day_over, version = found[0]
        return Run(instant(recorded_at), instant(panes_until), instant(registry_until), last_day_over, version)

    def pending(self, since: Run | None, now: datetime) -> Pending:
        """Return what has come since the run, everything if there was none.

        A metric of a whole week is an observation of its Sunday, so a changed week changes that day.
        """
        (panes_until,) = self._client.query("SELECT max(recorded_at) FROM pane_versions").result_rows[0]
        (registry_until,) = self._client.query("SELECT max(stored_at) FROM events_registry").result_rows[0]
        days = self.observable_days(None if since is None else since.panes_until)
        panes_until, registry_until = instant(panes_until), instant(registry_until)
        return Pending(
            min(panes_until, now - OVERLAP),
            min(registry_until, now - OVERLAP),
            tuple(days),
            since is None or registry_until > since.registry_until,
        )

    def observable_days(self, recorded_after: datetime | None = None) -> list[date]:
        """Return the days with metrics, or only with metrics that were recorded after that, ascending."""
        after = "" if recorded_after is None else " WHERE recorded_at > {after:DateTime64(3, 'UTC')}"
        return answered(
            self._client,
            f"SELECT DISTINCT toDate32(day) + if(window = 'iso_week', 6, 0) AS day FROM pane_versions{after} ORDER BY day",
            {} if recorded_after is None else {"after": recorded_after},
        )["day"].to_list()

    def said_days(self, kind: Kind, span: tuple[date, date] = EVERY_DAY, entities: pl.Series | None = None) -> list[date]:
        """Return the days of the span, both included, of which anything was ever said of the entities (None: of any)."""
        condition, parameters = _condition("day >= {first:Date32} AND day <= {last:Date32}", entities)
        return answered(
            self._client,
            f"SELECT DISTINCT day FROM portraits WHERE kind = {{kind:String}} AND {condition}",
            {"kind": kind, "first": span[0], "last": span[1], **parameters},
        )["day"].to_list()

    def rows_between(self, first: date, last: date) -> int:
        """Return how many rows the roll-ups of these days are made of."""
        sql = "SELECT count() FROM pane_versions WHERE day BETWEEN {first:Date32} AND {last:Date32}"
        return int(answered(self._client, sql, {"first": first, "last": last}).item())

    def observed(self, kind: Kind, days: Sequence[date]) -> pl.DataFrame:
        """Return ``entity_id, dimension, day, observed, sample_size``: the merged metrics of the ``days``, at least one.

        The metrics of a whole week are those of its Sunday; the roll-ups have them on the Monday.
        """
        named = pl.DataFrame(
            [(dimension.metric, dimension.item, dimension.name, dimension.weekly) for dimension in DIMENSIONS[kind]],
            schema={"metric": pl.String, "item": pl.String, "dimension": pl.String, "weekly": pl.Boolean},
            orient="row",
        )
        found = answered(
            self._client,
            "SELECT entity_id, toDate32(day) AS day, metric, item, value AS observed, toUInt64(sample_size) AS sample_size"
            " FROM v1_rollup_days("
            "level = {kind:String}, school = '', as_of = {as_of:DateTime64(3, 'UTC')},"
            " day_from = {day_from:Date}, day_to = {day_to:Date})"
            " WHERE metric IN {metrics:Array(String)} AND value IS NOT NULL AND entity_id != ''",
            {
                "kind": kind,
                "as_of": FAR_FUTURE,
                "day_from": min(day - timedelta(days=6 * (day.isoweekday() == 7)) for day in days),
                "day_to": max(days),
                "metrics": [*named["metric"], ""],
            },
        )
        day = pl.when("weekly").then(pl.col("day").dt.offset_by("6d")).otherwise("day")
        observed = found.join(named, on=["metric", "item"]).select(
            "entity_id", "dimension", "observed", "sample_size", day=day
        )
        return observed.filter(pl.col("day").is_in(days))

    def said(self, kind: Kind, day: date, entities: pl.Series | None = None) -> pl.DataFrame:
        """Return what the portraits say on ``day``: ``school_id, entity_id, dimension, day`` and ``FOLDS``."""
        condition, parameters = _condition("day = {day:Date32}", entities)
        return answered(
            self._client,
            f"SELECT * EXCEPT (live) FROM ({_latest(condition)})",
            {"kind": kind, "day": day, **parameters},
        )

    def before(self, kind: Kind, day: date, entities: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return *levels* and *activity* of the entities at the beginning of ``day``.

        ``streams/core/evaluation/portraits.py`` says what they are. They are looked for in the last weeks first:
        whoever has an observation there in every dimension that they were ever observed in needs no older one.
        """
        known = answered(
            self._client,
            "SELECT entity_id, dimension FROM portrait_dimensions WHERE kind = {kind:String}"
            " GROUP BY entity_id, dimension HAVING min(first_day) < {day:Date32}",
            {"kind": kind, "day": day},
        )
        left, found = entities.unique().alias("entity_id").to_frame(), []
        for days in LOOK_BACK_DAYS:
            first = EVERY_DAY[0] if days is None else day - timedelta(days=days)
            levels, activity = self._between(kind, first, day, left["entity_id"])
            missing = known.join(left, on="entity_id", how="semi").join(levels, on=["entity_id", "dimension"], how="anti")
            if days is None:
                missing = missing.clear()
            done = left.join(missing, on="entity_id", how="anti")
            found.append(tuple(frame.join(done, on="entity_id", how="semi") for frame in (levels, activity)))
            left = left.join(missing, on="entity_id", how="semi")
            if left.is_empty():
                break
        levels, activity = (pl.concat(frames) for frames in zip(*found, strict=True))
        return levels, activity

    def _between(self, kind: Kind, first: date, day: date, entities: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return *levels* and *activity* of the entities at the beginning of ``day``, by what was said since ``first``."""
        condition, parameters = _condition("day >= {first:Date32} AND day < {day:Date32}", entities)
        parameters |= {"first": first}
        latest = _latest(condition)
        parameters |= {"kind": kind, "day": day, "mask_days": _MASK_DAYS}
        levels = answered(
            self._client,
            "SELECT entity_id, dimension, argMax(level, day) AS level, argMax(weight, day) AS weight,"
            " max(day) AS observed_on"
            f" FROM ({latest}) WHERE observed IS NOT NULL GROUP BY entity_id, dimension {_IN_ORDER}",
            parameters,
        )
        activity = answered(
            self._client,
            "SELECT entity_id, last_active, toInt64(bitAnd(if(gap <= {mask_days:UInt8}, bitShiftRight(days, gap), 0),"
            f" {(1 << ACTIVE_DAYS_LONG) - 1})) AS active_mask FROM (SELECT entity_id, max(day) AS last_active,"
            " dateDiff('day', last_active, {day:Date32}) AS gap,"
            " groupBitOr(if(ago <= {mask_days:UInt8}, bitShiftLeft(toUInt64(1), ago), 0)) AS days FROM"
            f" (SELECT entity_id, day, dateDiff('day', day, {{day:Date32}}) AS ago FROM ({latest})"
            f" WHERE observed IS NOT NULL) GROUP BY entity_id) {_IN_ORDER}",
            parameters,
        )
        named = entities.implode()
        return (
            levels.filter(pl.col("entity_id").is_in(named)),
            activity.filter(pl.col("entity_id").is_in(named)),
        )

    def falling_silent(self, kind: Kind, day: date) -> pl.Series:
        """Return the entities whose latest observation before ``day`` is as old as makes them inactive on it."""
        latest = _latest("day >= {first:Date32} AND day < {day:Date32}")
        found = answered(
            self._client,
            f"SELECT entity_id FROM ({latest}) WHERE observed IS NOT NULL"
            " GROUP BY entity_id HAVING max(day) = {first:Date32}",
            {"kind": kind, "day": day, "first": day - timedelta(days=INACTIVE_DAYS)},
        )
        return found["entity_id"]

    def first_and_last_day(self) -> tuple[date, date] | None:
        """Return the first and the last day of which anything was ever said of anyone; None if there is none."""
        ((rows, first, last),) = self._client.query("SELECT count(), min(day), max(day) FROM portraits").result_rows
        return (first, last) if rows else None

    def latest_version(self) -> datetime | None:
        """Return the latest ``recorded_at`` of the portraits; None if there is none."""
        ((rows, latest),) = self._client.query("SELECT count(), max(recorded_at) FROM portraits").result_rows
        return instant(latest) if rows else None

    def recorded_after(self, kind: Kind, after: datetime) -> pl.DataFrame:
        """Return ``entity_id, from_day``: the first day of which something was said of the entity after that."""
        return answered(
            self._client,
            "SELECT entity_id, min(day) AS from_day FROM portraits"
            " WHERE kind = {kind:String} AND recorded_at > {instant:DateTime64(3, 'UTC')} GROUP BY entity_id",
            {"kind": kind, "instant": after},
        )

    def last_levels(self, kind: Kind, week: date) -> pl.DataFrame:
        """Return ``entity_id, peer_group, dimension, level``: the last level of the ISO week of each observed in it."""
        latest = _latest("day >= {monday:Date32} AND day <= {sunday:Date32}")
        return answered(
            self._client,
            "SELECT entity_id, argMax(peer_group, day) AS peer_group, dimension, argMax(level, day) AS level"
            f" FROM ({latest}) WHERE observed IS NOT NULL GROUP BY entity_id, dimension",
            {"kind": kind, "monday": week, "sunday": week + timedelta(days=6)},
        )

    def peers(self, kind: Kind, week: date) -> pl.DataFrame:
        """Return ``peer_group, dimension`` and ``PEER_METRICS`` of the week, as stored."""
        return answered(
            self._client,
            "SELECT peer_group, dimension, tupleElement(latest, 1) AS peers, tupleElement(latest, 2) AS median,"
            " tupleElement(latest, 3) AS mad FROM"
            f" (SELECT peer_group, dimension, argMax(tuple({', '.join(PEER_METRICS)}), recorded_at) AS latest"
            " FROM portrait_peers WHERE kind = {kind:String} AND week = {week:Date32} GROUP BY peer_group, dimension)"
            " WHERE tupleElement(latest, 1) > 0",
            {"kind": kind, "week": week},
        )

    def registrations(self, time_zone: str) -> pl.DataFrame:
        """Return what the registry says, where it changes: frame ``REGISTRATIONS_SCHEMA`` of the places."""
        return answered(self._client, _REGISTRATIONS, {"time_zone": time_zone})

    def places(self) -> pl.DataFrame:
        """Return ``kind, entity_id, from_week, school_id, peer_group`` as stored."""
        return answered(
            self._client,
            "SELECT kind, entity_id, from_week, tupleElement(latest, 1) AS school_id, tupleElement(latest, 2) AS peer_group"
            " FROM (SELECT kind, entity_id, from_week, argMax(tuple(school_id, peer_group, live), recorded_at) AS latest"
            " FROM portrait_places GROUP BY kind, entity_id, from_week) WHERE tupleElement(latest, 3) = 1",
            {},
        )

    def append(self, table: str, rows: pl.DataFrame, recorded_at: datetime) -> int:
        """Add the rows, recorded at that instant; returns how many."""
        if rows.is_empty():
            return 0
        stamped = rows.with_columns(recorded_at=pl.lit(recorded_at).cast(pl.Datetime("ms", "UTC")))
        if table != "portrait_places":
            stamped = stamped.with_columns(portrait_version=pl.lit(PORTRAIT_VERSION, pl.UInt16))
        arrow = stamped.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._client.insert_arrow(table, arrow, settings=WRITE_SETTINGS)
        return rows.height

    def finish(self, run: Run, rows_written: int) -> None:
        """Note that the run is done."""
        self._client.insert(
            "portrait_runs",
            [[run.recorded_at, run.panes_until, run.registry_until, run.last_day_over, run.portrait_version, rows_written]],
            column_names=[
                "recorded_at",
                "panes_until",
                "registry_until",
                "last_day_over",
                "portrait_version",
                "rows_written",
            ],
        )


def _latest(condition: str) -> str:
    return _LATEST.replace("{condition}", condition)


def _condition(condition: str, entities: pl.Series | None) -> tuple[str, dict[str, Value]]:
    """Return the condition, narrowed to the entities if they are few enough to be named, and its parameters."""
    if entities is None or len(parts := list(in_parts(entities.to_list(), MOST_NAMED_ENTITIES))) > 1:
        return condition, {}
    return f"{condition} AND entity_id IN {{entities:Array(String)}}", {"entities": parts[0] if parts else []}
