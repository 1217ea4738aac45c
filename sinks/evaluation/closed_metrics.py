"""Takes closed metrics over into ``pane_versions``, each to the places it belongs to, and revised ones again.

A key (lesson, teacher, activity) is looked at when its metrics were written since the last look, when one of its windows
has closed since, and, for teachers, when the registry says something new. A look compares the metrics with the latest
versions and writes what differs, so that it can be repeated, or broken off anywhere, without a second effect. The key is
marked as handled after its versions are written.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from schemas.events.event_types import CLASSROOM, PREP, RESEARCH, Family
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.answers import in_parts
from sinks.clickhouse.client import WRITE_SETTINGS
from sinks.evaluation import closed_metrics_sql as panes_sql

__all__ = ["PANE_FAMILIES", "TABLE", "step"]

TABLE: Final = "pane_versions"
PANE_FAMILIES: Final = (CLASSROOM, PREP, RESEARCH)
#: Lessons a statement: some ten thousand metrics.
KEYS_PER_STATEMENT: Final = 300
#: Longer than an insert of metrics may take from its time to being seen.
OVERLAP_SECONDS: Final = 60

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def step(client: Client, rules: MetricRules, now: datetime) -> int:
    """Bring ``pane_versions`` up to date; returns the number of rows written, which bear ``now`` as ``recorded_at``.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    # By the server's clock, as the times that it is compared with.
    handled_at_ms = int(client.query("SELECT toUnixTimestamp64Milli(now64(3))").result_rows[0][0])
    moved = _moved_teachers(client)
    rows = 0
    for family in PANE_FAMILIES:
        parameters = _parameters(client, family, rules, now) | {"handled_at_ms": handled_at_ms}
        found = client.query(panes_sql.CANDIDATES, parameters=parameters | {"overlap_seconds": OVERLAP_SECONDS})
        keys = {str(row[0]) for row in found.result_rows} | _concerned(client, family, moved)
        for some in in_parts(sorted(keys), KEYS_PER_STATEMENT):
            rows += _take_over(client, family, parameters | {"keys": some})
    for some in in_parts(moved, KEYS_PER_STATEMENT):
        _command(client, panes_sql.MARK_REGISTRY, {"keys": some, "handled_at_ms": handled_at_ms})
    return rows


def _moved_teachers(client: Client) -> list[str]:
    found = client.query(panes_sql.MOVED_TEACHERS, parameters={"overlap_seconds": OVERLAP_SECONDS})
    return [str(row[0]) for row in found.result_rows]


def _concerned(client: Client, family: Family, teachers: Sequence[str]) -> set[str]:
    """Return the keys of the family whose places the school of these teachers decides."""
    if family is PREP:
        known = "SELECT key FROM figure_keys WHERE topic = 'classpulse.prep' AND key IN {keys:Array(String)}"
        return _keys(client, known, teachers)
    return _keys(client, panes_sql.PARTICIPATIONS, teachers) if family is RESEARCH else set()


def _keys(client: Client, query: str, keys: Sequence[str]) -> set[str]:
    return {
        str(key)
        for some in in_parts(keys, KEYS_PER_STATEMENT)
        for (key,) in client.query(query, parameters={"keys": some}).result_rows
    }


def _parameters(client: Client, family: Family, rules: MetricRules, now: datetime) -> dict[str, Any]:
    # Fixed for the whole step: what is found open must be marked as open.
    watermarks = client.query(
        "SELECT toInt64(partition), toUnixTimestamp64Micro(watermark) FROM checkpoints FINAL WHERE topic = {topic:String}",
        parameters={"topic": family.topic},
    ).result_rows
    return {
        "family": family.name,
        "topic": family.topic,
        "time_zone": rules.time_zone,
        "full_rate": rules.engagement_full_rate,
        "recorded_at_ms": (now - _EPOCH) // timedelta(milliseconds=1),
        "partitions": [row[0] for row in watermarks],
        "watermarks_us": [row[1] for row in watermarks],
    }


def _take_over(client: Client, family: Family, parameters: dict[str, Any]) -> int:
    metrics = panes_sql.metrics(family.name)
    rows = _command(client, panes_sql.INSERT.replace("/* metrics */", metrics), parameters)
    _command(client, panes_sql.MARK.replace("/* metrics */", metrics), parameters)
    return rows


def _command(client: Client, statement: str, parameters: dict[str, Any]) -> int:
    # The summary counts all rows only once the statement has ended.
    # A teacher's weeks may lie in many years; what is written is bounded by the keys of the statement.
    settings = WRITE_SETTINGS | {"wait_end_of_query": 1, "max_partitions_per_insert_block": 0}
    return int(client.query(statement, parameters=parameters, settings=settings).summary.get("written_rows", 0))
