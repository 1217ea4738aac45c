# ruff: noqa: S608 - every name in a statement is declared here; what a caller gives is bound by the server
"""What there is to read: which entities are scored in which weeks, and which windows are still open."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from clickhouse_connect.driver.client import Client

from schemas.evaluation.tree import KINDS
from sinks.clickhouse.answers import answered, instant
from sinks.evaluation.closed_metrics_sql import NEVER
from sinks.evaluation.scores import SCORES_AS_OF

__all__ = ["Open", "Scored", "open_windows", "scored"]

_SCORED: Final = (
    "SELECT kind, week, groupUniqArrayIf(entity_id, value IS NOT NULL) AS entities, count() AS asked FROM ("
    + SCORES_AS_OF.replace("{condition}", "node = ''")
    + ") GROUP BY kind, week ORDER BY week"
)
_OPEN: Final = f"""SELECT topic, count() AS keys, min(next_close) AS first, max(next_close) AS last
FROM pane_keys FINAL
WHERE next_close < {NEVER} GROUP BY topic ORDER BY topic"""


@dataclass(frozen=True, slots=True)
class Scored:
    """The entities of a kind with a score in a week, a Monday; ``without`` have too little coverage for one."""

    kind: str
    week: date
    entities: tuple[str, ...]
    without: int


@dataclass(frozen=True, slots=True)
class Open:
    """Lessons, teachers or activities of a topic with a window that is still open: the first and the last to close."""

    topic: str
    keys: int
    first: datetime
    last: datetime


def scored(client: Client, as_of: datetime) -> list[Scored]:
    """Return what was scored as it stood at ``as_of``, in the order of weeks and, within them, of ``KINDS``.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    found = [
        Scored(row["kind"], row["week"], tuple(sorted(row["entities"])), row["asked"] - len(row["entities"]))
        for row in answered(client, _SCORED, {"as_of": as_of}).iter_rows(named=True)
    ]
    return sorted(found, key=lambda one: (one.week, -KINDS.index(one.kind)))


def open_windows(client: Client) -> list[Open]:
    """Return what the evaluator's last look found open, by topic; it needs the evaluator's rights.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    return [
        Open(row["topic"], row["keys"], instant(row["first"]), instant(row["last"]))
        for row in answered(client, _OPEN, {}).iter_rows(named=True)
    ]
