"""Two groups of schools with a week of metrics as the evaluator writes them, and an evaluation to score them by."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from clickhouse_connect.driver.client import Client

from schemas.metrics.catalogue import CATALOGUE_VERSION, METRICS

WEEK = date(2026, 11, 16)
NOW = datetime(2026, 11, 24, 1, tzinfo=UTC)
FAMILIES = {metric.name: metric.family for metric in METRICS}

EVALUATION = """
format: 1
chinese: 试行方案
english: Trial
dimensions:
  - id: governance
    chinese: 精准管
    english: Precise management
    weight: 3
    indicators:
      - {id: attendance, metric: attendance_rate, weight: 3, norm: {kind: linear, zero: 0.5, one: 1}}
      - {id: punctual, metric: delayed_start_seconds, weight: 1, norm: {kind: linear, zero: 300, one: 0}}
  - id: research
    chinese: 高效研
    english: Efficient research
    weight: 1
    kinds: [school, group, district]
    indicators:
      - {id: joined, metric: participation_rate, weight: 1, norm: {kind: share}}
"""


def pane(metric: str, key: str, parts: tuple[float, float, int], **place: Any) -> dict[str, Any]:
    """Make a metric ``numerator / denominator`` with a sample size; ``place`` overrides where it belongs."""
    numerator, denominator, sample_size = parts
    start = datetime.combine(place.get("day", WEEK), datetime.min.time(), UTC)
    return {
        "family": FAMILIES[metric],
        "school_id": "s01",
        "class_id": "",
        "teacher_id": "",
        "course": "",
        "grade": 0,
        "day": WEEK,
        "window": "lesson",
        "key": key,
        "metric": metric,
        "item": "",
        "window_start": start,
        "window_end": start + timedelta(minutes=40),
        "value": numerator / denominator if denominator else None,
        "numerator": numerator,
        "denominator": denominator,
        "sample_size": sample_size,
        "parts": [],
        "catalogue_version": CATALOGUE_VERSION,
        "revision": 1,
        "live": True,
        "recorded_at": NOW - timedelta(hours=2),
        "row_id": hash((metric, key, tuple(sorted(map(str, place.items()))))) % 2**63,
        "replaces": [],
    } | place


def lesson(key: str, school_id: str, attended: float, delay_seconds: float, **place: Any) -> list[dict[str, Any]]:
    """A lesson with 10 students, of whom ``attended`` were there the whole time."""
    place = {"school_id": school_id, "class_id": f"{school_id}-c1", "teacher_id": f"t-{school_id}", **place}
    return [
        pane("attendance_rate", key, (attended * 2400, 24_000, 10), **place),
        pane("delayed_start_seconds", key, (delay_seconds, 1, 1), **place),
    ]


#: s01 and s02 are a group, s03 is one of its own.
WEEK_PANES = [
    *lesson("l1", "s01", 8, 60),
    *lesson("l2", "s02", 10, 0),
    *lesson("l3", "s02", 9, 30),
    *lesson("l4", "s03", 5, 300),
    pane("participation_rate", "a1", (6, 10, 10), window="activity", school_id="s01", teacher_id="t-s01"),
    pane("participation_rate", "a2", (3, 3, 3), window="activity", school_id="s02", teacher_id="t-s02"),
]


def insert_panes(client: Client, rows: Iterable[dict[str, Any]]) -> None:
    """Store metrics as the evaluator does."""
    listed = list(rows)
    client.insert("pane_versions", [list(row.values()) for row in listed], column_names=list(listed[0]))


def of_week(day: date, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the metrics as those of other lessons and activities, on another day."""
    return [row | {"day": day, "key": f"{row['key']}-{day}", "row_id": row["row_id"] ^ day.toordinal()} for row in rows]


def register(
    client: Client, *entries: tuple[str, str, str, str], second: int = 0, stored_at: datetime = NOW - timedelta(hours=3)
) -> None:
    """Register entities as (key, type, school_id, group_id)."""
    time = datetime(2026, 9, 1, 0, 0, second, tzinfo=UTC)
    client.insert(
        "events_registry",
        [
            [key, time, "/registry", f"{key}-{second}", f"registry.{kind}", key, school_id, group_id, stored_at]
            for key, kind, school_id, group_id in entries
        ],
        column_names=["key", "time", "source", "id", "type", "subject", "school_id", "group_id", "stored_at"],
    )


def prepare(client: Client) -> None:
    """Store the registry and the week."""
    register(
        client,
        *((f"s0{number}", "school.registered", "", "g2" if number == 3 else "g1") for number in (1, 2, 3)),
        *((f"s0{number}-c1", "class.registered", f"s0{number}", "") for number in (1, 2, 3)),
        *((f"t-s0{number}", "teacher.registered", f"s0{number}", "") for number in (1, 2, 3)),
    )
    insert_panes(client, WEEK_PANES)
