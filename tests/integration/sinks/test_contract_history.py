"""The views of closed metrics: as of an instant, the latest of a class, and what was revised since."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sinks.clickhouse.client import Target, connect

READ_AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
BEFORE, AFTER, LATER = (READ_AT + timedelta(hours=hours) for hours in (-1, 1, 2))
DAY = date(2026, 11, 18)
COLUMNS = (
    "family",
    "school_id",
    "class_id",
    "day",
    "window",
    "key",
    "metric",
    "item",
    "window_end",
    "value",
    "numerator",
    "denominator",
    "sample_size",
    "parts",
    "live",
    "recorded_at",
    "row_id",
    "replaces",
)


def pane(
    row_id: int, key: str, value: float | None, recorded_at: datetime, replaces: tuple[int, ...] = (), **other: Any
) -> list[Any]:
    """One row of pane_versions, of class c1 of school s1 if nothing else is said."""
    row = {
        "family": "classroom",
        "school_id": "s1",
        "class_id": "c1",
        "day": DAY,
        "window": "lesson",
        "key": key,
        "metric": "response_rate",
        "item": "",
        "window_end": datetime(2026, 11, 18, 2, tzinfo=UTC),
        "value": value,
        "numerator": (value or 0) * 10,
        "denominator": 0.0 if value is None else 10.0,
        "sample_size": 10,
        "parts": [1.0, None],
        "live": True,
        "recorded_at": recorded_at,
        "row_id": row_id,
        "replaces": list(replaces),
    } | other
    return [row[name] for name in COLUMNS]


@pytest.fixture(scope="module")
def panes(module_database: Target) -> Any:
    """A connection to a database with one lesson of each outcome."""
    client = connect(module_database)
    rows = [
        pane(1, "untouched", 0.1, BEFORE),
        pane(2, "revised", 0.2, BEFORE),
        pane(3, "revised", 0.3, AFTER, (2,)),
        pane(4, "revised", 0.4, LATER, (3,)),
        pane(5, "withdrawn", 0.5, BEFORE),
        pane(6, "withdrawn", 0.5, AFTER, (5,), live=False),
        pane(7, "moved", 0.7, BEFORE),
        pane(8, "moved", 0.7, AFTER, (7,), class_id="c2"),
        pane(9, "same", 0.9, BEFORE),
        pane(10, "same", 0.9, AFTER, (9,)),
        pane(11, "new", 0.6, AFTER),
        pane(12, "new", 0.8, LATER, (11,)),
        pane(13, "unknown", 0.0, BEFORE),
        pane(14, "unknown", None, AFTER, (13,)),
        pane(15, "old", 0.2, BEFORE, metric="correct_rate", day=DAY - timedelta(days=28)),
        pane(16, "recent", 0.3, BEFORE, metric="wait_time_seconds", day=DAY - timedelta(days=27)),
    ]
    client.insert("pane_versions", rows, column_names=COLUMNS)
    yield client
    client.close()


def test_what_was_revised_since_it_was_read(panes: Any) -> None:
    """Told once, from what was read to what is known now; what was new then, or says the same, is not told."""
    rows = panes.query(
        "SELECT key, class_id, old_value, new_value, withdrawn, revised_at FROM v1_revised_since("
        "since = {at:DateTime64(3, 'UTC')}) ORDER BY key",
        parameters={"at": READ_AT.strftime("%Y-%m-%d %H:%M:%S")},
    ).result_rows
    assert [(*row[:5], row[5].replace(tzinfo=UTC)) for row in rows] == [
        ("moved", "c1", 0.7, None, True, AFTER),
        ("revised", "c1", 0.2, 0.4, False, LATER),
        ("unknown", "c1", 0.0, None, False, AFTER),
        ("withdrawn", "c1", 0.5, None, True, AFTER),
    ]


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (BEFORE - timedelta(hours=1), {}),
        (READ_AT, {"revised": 0.2, "withdrawn": 0.5, "moved": 0.7, "unknown": 0.0}),
        (AFTER, {"revised": 0.3, "moved": 0.7, "new": 0.6, "unknown": None}),
        (LATER, {"revised": 0.4, "moved": 0.7, "new": 0.8, "unknown": None}),
    ],
)
def test_metrics_as_of_an_instant(panes: Any, instant: datetime, expected: dict[str, float | None]) -> None:
    """Each version counts from its instant on until another takes its place."""
    rows = panes.query(
        "SELECT lesson_id, value FROM v1_lesson_figures_as_of(school = 's1', lesson = '',"
        " as_of = {at:DateTime64(3, 'UTC')}) WHERE lesson_id IN ('revised', 'withdrawn', 'moved', 'new', 'unknown')",
        parameters={"at": instant.strftime("%Y-%m-%d %H:%M:%S")},
    ).result_rows
    assert dict(rows) == expected
    assert len(rows) == len(expected)


def test_the_latest_metrics_of_a_class(panes: Any) -> None:
    """One row a metric, of the latest lesson; nothing older than 28 days before the class's latest lesson."""
    rows = panes.query(
        "SELECT metric, lesson_id, value FROM v1_class_latest(school = 's1', class = 'c1') ORDER BY metric"
    ).result_rows
    assert rows == [("response_rate", "untouched", 0.1), ("wait_time_seconds", "recent", 0.3)]
    assert panes.query("SELECT * FROM v1_class_latest(school = 's1', class = 'none')").result_rows == []
