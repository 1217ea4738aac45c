"""A lesson as a list of events, and the rows that the core makes of it."""

from typing import Any

import polars as pl

from schemas.events.event_types import CLASSROOM
from schemas.metrics.classroom.students import STUDENT_PARTS
from schemas.metrics.rules import MetricRules
from streams.core.classroom import family as classroom
from streams.core.families import FOLDS

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
#: A whole hour, so that windows begin here.
START_US = 1_794_787_200_000_000
SCHEMA = FOLDS[CLASSROOM.name].cached_schema(CLASSROOM)

Event = dict[str, Any]
Rows = dict[tuple[str, str, str, str, float], dict[str, Any]]


def event(name: str, second: float, **data: Any) -> Event:
    """Return an event so many seconds after the hour."""
    return {"type": f"classroom.{name}", "key": "lesson", "time_us": START_US + round(second * SECOND_US), **data}


def started(second: float = 0, roster: tuple[str, ...] = (), due: tuple[float, float] = (0, 600), **data: Any) -> Event:
    """Return a lesson.started."""
    times = [START_US + round(due_second * SECOND_US) for due_second in due]
    named = {"roster": list(roster), "scheduled_start_us": times[0], "scheduled_end_us": times[1]}
    return event("lesson.started", second, **named, **data)


def frame(events: list[Event]) -> pl.DataFrame:
    """Return the events as they are cached, with an identity each."""
    told = [{"source": "s", "id": f"{number:03}", **event} for number, event in enumerate(events)]
    return pl.DataFrame([{name: one.get(name) for name in SCHEMA} for one in told], schema=SCHEMA)


def fold(*events: Event, fresh: int | None = None, rules: MetricRules | None = None) -> Rows:
    """Return the rows by metric, window, key, item and slot (seconds); the last ``fresh`` events (all) are fresh."""
    cached = frame(list(events))
    rows = classroom.rows(cached, cached if fresh is None else cached.tail(fresh), rules or MetricRules())
    found = {}
    for row in rows.iter_rows(named=True):
        slot = (row["slot_us"] - START_US) / SECOND_US if row["slot_us"] else 0
        place = (row["metric"], row["window"], row["key"], row["item"], slot)
        assert place not in found, f"{place} twice"
        found[place] = row
    return found


def lesson(rows: Rows, metric: str, item: str = "", key: str = "lesson") -> dict[str, Any]:
    """Return the row of the lesson so far."""
    return rows[metric, "lesson", key, item, 0]


def fraction(row: dict[str, Any]) -> tuple[float, float, int]:
    """Return numerator, denominator and sample size."""
    return row["numerator"], row["denominator"], row["sample_size"]


def student(rows: Rows, name: str, key: str = "lesson") -> dict[str, float]:
    """Return the parts of a student's row by name."""
    return dict(zip(STUDENT_PARTS, rows["student_lesson", "student", key, name, 0]["parts"], strict=True))


def seconds(row: dict[str, Any]) -> tuple[float, float]:
    """Return the bounds of the row's window in seconds after the hour."""
    return (row["window_start_us"] - START_US) / SECOND_US, (row["window_end_us"] - START_US) / SECOND_US
