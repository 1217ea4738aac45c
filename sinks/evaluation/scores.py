# ruff: noqa: S608 - every name in a statement is declared here; what a caller gives is bound by the server
"""The table ``scores``: every version of every score, and what they are made from. Rows are only ever added.

``streams/evaluation/scoring.py`` decides what is added. A score is a row for each node of the tree; of each node of an
entity and week the latest ``recorded_at`` counts, and ``live = false`` takes a node back.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import polars as pl
from clickhouse_connect.driver.client import Client

from schemas.evaluation.tree import Kind
from sinks.clickhouse.answers import FAR_FUTURE, answered, bound, instant
from sinks.clickhouse.client import WRITE_SETTINGS

__all__ = ["PLACE_COLUMNS", "SCORES_AS_OF", "SCORE_COLUMNS", "ScoreStore"]

#: Columns of ``scores`` that name a node, and those that say something of it.
PLACE_COLUMNS: Final = ("kind", "school_id", "entity_id", "week", "node")
SCORE_COLUMNS: Final = ("value", "coverage", "weight", "figure", "sample_size", "config_version")
#: A registration may become visible a moment after one that was stored later.
OVERLAP: Final = timedelta(minutes=2)

_SAID: Final = (*SCORE_COLUMNS, "as_of", "live")
#: The scores as they stood at ``as_of``. Grouped by what the table is ordered by, so that a condition on it reads little.
SCORES_AS_OF: Final = f"""SELECT {", ".join(PLACE_COLUMNS)},
    argMax(tuple({", ".join(f"scores.{name}" for name in _SAID)}), scores.recorded_at) AS latest,
    {", ".join(f"latest.{number} AS {name}" for number, name in enumerate(SCORE_COLUMNS, start=1))},
    latest.{len(SCORE_COLUMNS) + 1} AS as_of,
    max(scores.recorded_at) AS recorded_at
FROM scores
WHERE scores.recorded_at <= {{as_of:DateTime64(3, 'UTC')}} AND {{condition}}
GROUP BY {", ".join(PLACE_COLUMNS)}
HAVING latest.{len(SCORE_COLUMNS) + 2}"""

#: Where a teacher or a class belongs: by the registry unless it was retired, otherwise by the lessons of the week.
_SCHOOLS: Final = """SELECT entity, argMax(school, rank) FROM
(
    SELECT key AS entity, argMax(if(type = {registration:String}, school_id, ''), (time, source, id)) AS school, 2 AS rank
    FROM events_registry WHERE type IN ({registration:String}, 'registry.entry.retired') GROUP BY entity
    UNION ALL
    SELECT if({kind:String} = 'class', class_id, teacher_id) AS entity, argMax(school_id, recorded_at) AS school, 1 AS rank
    FROM pane_versions
    WHERE day >= {week:Date} AND day < {week:Date} + 7 AND live AND entity != '' AND school_id != ''
    GROUP BY entity
)
WHERE school != '' GROUP BY entity"""


class ScoreStore:
    """Reads the roll-ups and adds versions of the scores. Not thread-safe: one thread uses ``client``.

    All methods raise clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def last_as_of(self) -> datetime | None:
        """Return the instant as of which metrics were last scored, None before the first time."""
        ((runs, latest),) = self._client.query("SELECT count(), max(as_of) FROM score_runs").result_rows
        return instant(latest) if runs else None

    def touched_weeks(self, since: datetime | None) -> list[date]:
        """Return the Mondays of the weeks with metrics recorded since then (all if None), ascending."""
        after = "1" if since is None else "recorded_at > {after:DateTime64(3, 'UTC')}"
        return self._dates(
            f"SELECT DISTINCT toMonday(day) AS week FROM pane_versions WHERE {after} ORDER BY week",
            {} if since is None else {"after": since},
        )

    def scored_weeks(self, first: date) -> list[date]:
        """Return the Mondays from ``first`` on that have scores, ascending."""
        return self._dates("SELECT DISTINCT week FROM scores WHERE week >= {first:Date} ORDER BY week", {"first": first})

    def scored_from(self, first: date) -> tuple[int, int]:
        """Return how many scores there are of the weeks from ``first`` on, and of how many weeks."""
        scores, weeks = answered(
            self._client,
            "SELECT uniqExact(kind, entity_id, week), uniqExact(week) FROM scores WHERE week >= {first:Date} AND node = ''",
            {"first": first},
        ).row(0)
        return scores, weeks

    def registry_changed(self, since: datetime) -> bool:
        """Return whether registrations were stored since then: entities may belong elsewhere now."""
        ((latest,),) = self._client.query("SELECT max(stored_at) FROM events_registry").result_rows
        return instant(latest) > since - OVERLAP

    def metric_values(self, kind: Kind, week: date, as_of: datetime, metrics: Sequence[str]) -> pl.DataFrame:
        """Return ``entity_id, metric, item, value, sample_size`` of the week, merged, as they stood at ``as_of``."""
        return answered(
            self._client,
            "SELECT entity_id, metric, item, value, sample_size FROM v1_rollups(level = {level:String}, school = '',"
            " as_of = {as_of:DateTime64(3, 'UTC')}, day_from = {first:Date}, day_to = {last:Date})"
            " WHERE metric IN {metrics:Array(String)}" + ("" if kind == "district" else " AND entity_id != ''"),
            {"level": kind, "as_of": as_of, "first": week, "last": week + timedelta(days=6), "metrics": list(metrics)},
        )

    def schools(self, kind: Kind, week: date) -> dict[str, str]:
        """Return the school of each teacher or class."""
        found = self._client.query(
            _SCHOOLS, parameters=bound({"registration": f"registry.{kind}.registered", "kind": kind, "week": week})
        )
        return {str(entity): str(school) for entity, school in found.result_rows}

    def latest(self, kind: Kind, week: date) -> pl.DataFrame:
        """Return what counts now, as ``PLACE_COLUMNS`` and ``SCORE_COLUMNS``."""
        columns = ", ".join((*PLACE_COLUMNS, *SCORE_COLUMNS))
        return answered(
            self._client,
            f"SELECT {columns} FROM ({_where('kind = {kind:String} AND week = {week:Date}')})",
            {"kind": kind, "week": week, "as_of": FAR_FUTURE},
        )

    def weeks_of(self, kind: Kind, entity_id: str, as_of: datetime) -> list[date]:
        """Return the Mondays of the weeks for which an entity had a score at ``as_of``, ascending."""
        condition = "kind = {kind:String} AND entity_id = {entity:String} AND node = ''"
        return self._dates(
            f"SELECT DISTINCT week FROM ({_where(condition)}) ORDER BY week",
            {"kind": kind, "entity": entity_id, "as_of": as_of},
        )

    def append(self, rows: pl.DataFrame, as_of: datetime) -> int:
        """Add rows of ``PLACE_COLUMNS``, ``SCORE_COLUMNS`` and ``live``, recorded at ``as_of``; returns how many."""
        if rows.is_empty():
            return 0
        recorded = pl.lit(as_of).cast(pl.Datetime("ms", "UTC"))
        arrow = rows.with_columns(as_of=recorded, recorded_at=recorded).to_arrow(compat_level=pl.CompatLevel.oldest())
        self._client.insert_arrow("scores", arrow, settings=WRITE_SETTINGS)
        return rows.height

    def finish(self, as_of: datetime, weeks: Sequence[date], rows_written: int) -> None:
        """Note that these weeks are scored as of that instant."""
        self._client.insert(
            "score_runs", [[as_of, list(weeks), rows_written]], column_names=["as_of", "weeks", "rows_written"]
        )

    def _dates(self, sql: str, parameters: Mapping[str, Any]) -> list[date]:
        return [found for (found,) in self._client.query(sql, parameters=bound(parameters)).result_rows]


def _where(condition: str) -> str:
    return SCORES_AS_OF.replace("{condition}", condition)
