"""Recompute the portraits in SQL of its own, and compare with what is stored.

In three steps, each from what the step before has proved: the observations from the roll-ups, week by week; levels,
activity and places from the observations, some thousand entities at a time; medians and MADs of the peers from the levels,
week by week. So memory does not grow with the length of the term. Run it while the evaluator rests: what has come since its
last run counts as a difference.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from schemas.evaluation.portraits import (
    ACTIVE_DAYS_LONG,
    ACTIVE_DAYS_SHORT,
    DIMENSIONS,
    HALF_LIFE_DAYS,
    INACTIVE_DAYS,
    KINDS,
    Kind,
)
from sinks.clickhouse.answers import FAR_FUTURE
from sinks.evaluation.portraits import ROWS_AT_ONCE, PortraitStore
from sinks.verify.findings import Difference
from sinks.verify.verify import verify_sql

__all__ = ["PortraitReport", "verify_portraits"]

#: Rows of ``portraits`` that one query recomputes.
ROWS_PER_SLICE: Final = 2_000_000


@dataclass(slots=True)
class PortraitReport:
    """The verdict: ``differences`` holds at most ``limit`` of the ``differences_total``; ``rows`` were looked at."""

    limit: int
    rows: int = 0
    differences_total: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Nothing differs."""
        return self.differences_total == 0

    def add(self, step: str, kind: Kind, found: list[tuple[Any, ...]]) -> None:
        """Add the answer of one query of ``sinks/sql/verify/portraits``."""
        for entity_id, dimension, day, difference, expected, stored, _ in found[: self.limit - len(self.differences)]:
            columns = tuple(name for name in {**expected, **stored} if expected.get(name) != stored.get(name))
            key = {"check": step, "kind": kind, "entity_id": entity_id, "dimension": dimension, "day": day.isoformat()}
            self.differences.append(Difference(difference, key, columns, expected or None, stored or None))
        self.differences_total += found[0][-1] if found else 0


def verify_portraits(client: Client, *, limit: int = 1000) -> PortraitReport:
    """Compare every portrait with the roll-ups, and everything that follows from it; reads only.

    At most ``limit`` differences are listed, all are counted. Raises ``ValueError`` for a limit outside 1 to 1000 and
    clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    if not 1 <= limit <= 1000:
        raise ValueError(f"limit is {limit}; give a number from 1 to 1000")
    report = PortraitReport(limit)
    store = PortraitStore(client)
    run = store.last_run()
    if run is None:
        return report
    weeks = list(_weeks(client))
    for kind in KINDS:
        ((rows,),) = client.query(
            "SELECT count() FROM portraits WHERE kind = {kind:String}", parameters={"kind": kind}
        ).result_rows
        report.rows += rows
        for days in _spans(store, weeks):
            parameters = {"kind": kind, **days} | _dimensions(kind)
            report.add("observations", kind, _ask(client, "observations", parameters, limit))
        slices = rows // ROWS_PER_SLICE + 1
        for number in range(slices):
            parameters = _formulas(run.last_day_over) | {"kind": kind, "slices": slices, "slice": number}
            report.add("levels", kind, _ask(client, "levels", parameters, limit))
        for monday in weeks:
            report.add("peers", kind, _ask(client, "peers", {"kind": kind, **_days(monday, monday)}, limit))
    return report


def _ask(client: Client, name: str, parameters: dict[str, Any], limit: int) -> list[tuple[Any, ...]]:
    sql = verify_sql(f"portraits/{name}")
    return [tuple(row) for row in client.query(sql, parameters=parameters | {"limit": limit}).result_rows]


def _weeks(client: Client) -> Iterator[date]:
    """Return the Mondays of all weeks in which there is anything to observe, or something was said to be."""
    found = client.query(
        "SELECT DISTINCT toDate32(toMonday(day)) AS monday FROM"
        " (SELECT day FROM pane_versions UNION DISTINCT SELECT day FROM portraits) ORDER BY monday"
    ).result_rows
    return (monday for (monday,) in found)


def _spans(store: PortraitStore, weeks: list[date]) -> list[dict[str, date]]:
    """Return the weeks one by one, or as one stretch if there is little in them."""
    if not weeks or store.rows_between(weeks[0], weeks[-1] + timedelta(days=6)) > ROWS_AT_ONCE:
        return [_days(monday, monday) for monday in weeks]
    return [_days(weeks[0], weeks[-1])]


def _days(first_monday: date, last_monday: date) -> dict[str, date]:
    return {"day_from": first_monday, "day_to": last_monday + timedelta(days=6)}


def _dimensions(kind: Kind) -> dict[str, Any]:
    declared = DIMENSIONS[kind]
    return {
        "metrics": [dimension.metric for dimension in declared],
        "items": [dimension.item for dimension in declared],
        "dimensions": [dimension.name for dimension in declared],
        "weekly": [int(dimension.weekly) for dimension in declared],
        "as_of": FAR_FUTURE,
    }


def _formulas(last_day_over: date) -> dict[str, Any]:
    return {
        "last_day_over": last_day_over,
        "half_life": float(HALF_LIFE_DAYS),
        "inactive_days": INACTIVE_DAYS,
        "active_short": ACTIVE_DAYS_SHORT,
        "active_long": ACTIVE_DAYS_LONG,
    }
