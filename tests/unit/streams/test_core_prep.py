"""Preparation metrics by examples small enough to be worked out by hand."""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from schemas.events.event_types import PREP
from schemas.metrics.rules import MetricRules
from streams.core.families import FOLDS

SHANGHAI = "Asia/Shanghai"
MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US
Event = dict[str, Any]


def at(local: str, time_zone: str = SHANGHAI) -> int:
    """Return microseconds since the epoch of a local time such as 2026-11-16T08:00."""
    return round(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(time_zone)).timestamp() * 1e6)


def event(name: str, time_us: int, **data: Any) -> Event:
    """Return an event of the plan 教案一, unless told otherwise."""
    return {"type": f"prep.{name}", "time_us": time_us, "subject": "教案一", **data}


def frame(events: Sequence[Event]) -> pl.DataFrame:
    """Return the events, as they are cached, of the teacher 王老师, each with an identity."""
    schema = FOLDS[PREP.name].cached_schema(PREP)
    named = [{"key": "王老师", "source": "/d", "id": f"{number:03}", **one} for number, one in enumerate(events)]
    return pl.DataFrame([{name: one.get(name) for name in schema} for one in named], schema=schema)


def rows(events: Sequence[Event], fresh: Sequence[int] | None = None, time_zone: str = SHANGHAI) -> pl.DataFrame:
    """Return the rows that the ``fresh`` events (by number; all of them unless told) can have changed."""
    cached = frame(events)
    new = cached if fresh is None else cached[list(fresh)]
    return FOLDS[PREP.name].rows(cached, new, MetricRules(time_zone))


def week(found: pl.DataFrame, metric: str, item: str = "", start_us: int | None = None) -> dict[str, Any]:
    """Return the figure's only row of an ISO week, or that of the week that starts then."""
    chosen = found.filter((pl.col("metric") == metric) & (pl.col("window") == "iso_week") & (pl.col("item") == item))
    if start_us is not None:
        chosen = chosen.filter(pl.col("window_start_us") == start_us)
    return chosen.row(0, named=True) if chosen.height == 1 else pytest.fail(f"{chosen.height} rows of {metric}")


def starts(found: pl.DataFrame, metric: str, window: str) -> list[int]:
    """Return the starts of the metric's windows."""
    return sorted(found.filter((pl.col("metric") == metric) & (pl.col("window") == window))["window_start_us"])


def test_a_stretch_over_midnight_belongs_to_both_weekdays() -> None:
    """Four minutes over midnight from Monday to Tuesday are two of each, as even as two days can be."""
    found = rows([event("plan.opened", at("2026-11-16T23:58")), event("plan.shared", at("2026-11-17T00:02"))])
    row = week(found, "prep_regularity")
    assert row["parts"] == [2, 2, 0, 0, 0, 0, 0]
    assert (row["numerator"], row["denominator"]) == pytest.approx((math.log(2), math.log(5)))
    assert week(found, "active_prep_minutes")["value"] == 4


def test_monday_to_friday_evenly_is_regular() -> None:
    """Nobody has to prepare on the weekend: five equal working days are 1, and a weekend alone is 0."""
    days = [event("plan.opened", at(f"2026-11-{day}T08:00")) for day in range(16, 21)]
    days += [event("plan.shared", at(f"2026-11-{day}T08:04")) for day in range(16, 21)]
    assert week(rows(days), "prep_regularity")["value"] == pytest.approx(1)
    sunday = [event("plan.opened", at("2026-11-22T08:00")), event("plan.shared", at("2026-11-22T08:04"))]
    assert week(rows(sunday), "prep_regularity")["value"] == 0


def test_a_stretch_over_the_week_is_cut_at_its_edge() -> None:
    """Of four minutes over midnight from Sunday to Monday each week has two."""
    found = rows([event("plan.opened", at("2026-11-15T23:58")), event("plan.shared", at("2026-11-16T00:02"))])
    for monday in ("2026-11-09", "2026-11-16"):
        assert week(found, "active_prep_minutes", start_us=at(f"{monday}T00:00"))["value"] == 2


def test_one_activity_is_no_time() -> None:
    """A single activity gives zero minutes, and no regularity."""
    found = rows([event("heartbeat.recorded", at("2026-11-16T08:00"))])
    assert week(found, "active_prep_minutes")["value"] == 0
    row = week(found, "prep_regularity")
    assert (row["value"], row["numerator"], row["denominator"], row["parts"]) == (None, 0, 0, [0.0] * 7)


@pytest.mark.parametrize(
    ("time_zone", "day", "hours"),
    [
        (SHANGHAI, "2026-11-16", 168),
        ("Europe/Berlin", "2026-03-29", 167),
        ("Europe/Berlin", "2026-10-25", 169),
        ("Africa/Cairo", "2026-04-24", 167),
    ],
)
def test_a_week_is_bounded_by_local_midnights(time_zone: str, day: str, hours: int) -> None:
    """Seven local days are an hour shorter or longer where the clocks change, even if they skip midnight itself."""
    found = rows([event("plan.opened", at(f"{day}T12:00", time_zone))], time_zone=time_zone)
    newest = found.filter(pl.col("window") == "7d/1d").sort("window_start_us").row(-1, named=True)
    assert newest["window_start_us"] == at(f"{day}T00:00", time_zone)
    assert newest["window_end_us"] - newest["window_start_us"] == hours * 60 * MINUTE_US


def work(time_us: int, characters: int = 100, **data: Any) -> Event:
    """Return a substantive edit."""
    return event("plan.edited", time_us, **{"substantive": True, "characters_changed": characters, **data})


def test_the_lead_time_counts_from_when_most_of_the_plan_was_there() -> None:
    """Four characters of five are enough: the last comma on the morning of the lesson costs nothing."""
    lesson_us = at("2026-11-18T08:00")
    events = [
        work(lesson_us - 3 * DAY_US, 79),
        event("plan.coedited", lesson_us - 2 * DAY_US, editor_id="李", characters_changed=1),
        event("plan.completed", lesson_us - 10 * DAY_US),
        work(lesson_us - MINUTE_US, 20),
        event("plan.taught", lesson_us, lesson_start_us=lesson_us),
    ]
    assert week(rows(events), "lead_time_seconds")["value"] == 2 * 86_400
    assert week(rows([*events, work(lesson_us, 1)]), "lead_time_seconds")["value"] == 60


def test_a_plan_that_nobody_changed_is_ready_since_its_completion() -> None:
    """Of several completions within 28 days the earliest counts; to press the button again changes nothing."""
    lesson_us = at("2026-11-18T08:00")
    completed = [event("plan.completed", lesson_us - days * DAY_US) for days in (1, 5, 29)]
    row = week(rows([*completed, event("plan.taught", lesson_us, lesson_start_us=lesson_us)]), "lead_time_seconds")
    assert row["parts"] == [5 * 86_400.0]


def test_only_work_of_the_lesson_counts_for_its_lead_time() -> None:
    """Spelling, an edit after the lesson began, and one a microsecond beyond 28 days do not count."""
    lesson_us = at("2026-11-18T08:00")
    events = [
        work(lesson_us - 28 * DAY_US),
        work(lesson_us - MINUTE_US, substantive=False),
        work(lesson_us + 1, 500),
        event("plan.taught", lesson_us, lesson_start_us=lesson_us),
        event("plan.taught", lesson_us, lesson_start_us=lesson_us + 1),
        work(lesson_us - 28 * DAY_US, subject="教案二"),
        event("plan.taught", lesson_us, lesson_start_us=lesson_us + 1, subject="教案二"),
    ]
    row = week(rows(events), "lead_time_seconds")
    assert (row["numerator"], row["sample_size"], row["parts"]) == (14 * 86_400.0, 2, [0.0, 28 * 86_400.0])
    lonely = week(rows(events[5:]), "lead_time_seconds")
    assert (lonely["value"], lonely["denominator"], lonely["sample_size"], lonely["parts"]) == (None, 0, 0, [])


def test_a_late_edit_rewrites_the_lessons_it_reaches() -> None:
    """An edit stored last changes the windows of later lessons of its plan, up to 28 days, and no others."""
    monday_us = at("2026-11-02T08:00")
    events = [
        work(monday_us),
        event("plan.taught", monday_us + 21 * DAY_US, lesson_start_us=monday_us + 21 * DAY_US),
        event("plan.taught", monday_us + 35 * DAY_US, lesson_start_us=monday_us + 35 * DAY_US),
        event("plan.taught", monday_us + 7 * DAY_US, lesson_start_us=monday_us + 7 * DAY_US, subject="another"),
    ]
    found = rows(events, fresh=[0])
    assert starts(found, "lead_time_seconds", "iso_week") == [at("2026-11-23T00:00")]
    assert week(found, "lead_time_seconds")["value"] == 21 * 86_400


def test_co_preparation_needs_two_persons() -> None:
    """The teacher and a colleague, or two colleagues; the same one twice, or the teacher named as editor, is one."""
    now_us = at("2026-11-16T08:00")
    events = [
        event("plan.edited", now_us, subject="both"),
        event("plan.coedited", now_us, subject="both", editor_id="李"),
        event("plan.coedited", now_us, subject="colleagues", editor_id="李"),
        event("plan.coedited", now_us, subject="colleagues", editor_id="陈"),
        event("plan.coedited", now_us, subject="one", editor_id="李"),
        event("plan.coedited", now_us + 1, subject="one", editor_id="李"),
        event("plan.edited", now_us, subject="self"),
        event("plan.coedited", now_us, subject="self", editor_id="王老师"),
    ]
    row = week(rows(events), "co_prep_rate")
    assert (row["numerator"], row["denominator"], row["sample_size"]) == (2, 4, 4)


def test_the_editor_of_anothers_plan_gets_the_time_and_the_company() -> None:
    """What the editor's own tool reports is the editor's preparation, and a plan of two; what others do is neither."""
    now_us = at("2026-11-16T08:00")
    own = {"editor_id": "王老师", "owner_id": "李"}
    found = rows([event("plan.coedited", now_us, **own), event("plan.coedited", now_us + 2 * MINUTE_US, **own)])
    assert week(found, "active_prep_minutes")["value"] == 2
    assert week(found, "co_prep_rate")["value"] == 1
    of_others = rows([event("plan.coedited", now_us + n * MINUTE_US, editor_id="李") for n in range(3)])
    assert set(of_others["metric"]) == {"co_prep_rate"}


def test_an_open_plan_is_no_work() -> None:
    """Heartbeats without input do not count; those of tools that cannot tell do."""
    now_us = at("2026-11-16T08:00")
    for had_input, minutes in ((None, 2), (True, 2), (False, None)):
        beats = [event("heartbeat.recorded", now_us + n * MINUTE_US, had_input=had_input) for n in range(3)]
        found = rows(beats)
        assert minutes is None if found.is_empty() else week(found, "active_prep_minutes")["value"] == minutes


def test_no_day_has_more_than_twelve_hours() -> None:
    """A device that sends heartbeats day and night makes twelve hours a day of them."""
    midnight_us = at("2026-11-16T00:00")
    found = rows([event("heartbeat.recorded", midnight_us + n * 5 * MINUTE_US) for n in range(2 * 288 + 1)])
    row = week(found, "active_prep_minutes")
    assert (row["value"], week(found, "prep_regularity")["parts"]) == (2 * 720, [720.0, 720.0, *[0.0] * 5])


def test_resources_are_counted_by_platform() -> None:
    """A platform has a row where something of it was attached; the row without one counts everything."""
    now_us = at("2026-11-16T08:00")
    events = [
        event("resource.attached", now_us, origin="reused", platform="national"),
        event("resource.attached", now_us, origin="created", platform="school"),
        event("resource.attached", now_us - 20 * DAY_US, origin="reused", platform="school"),
    ]
    found = rows(events)
    assert week(found, "reuse_rate", "school", at("2026-11-16T00:00"))["value"] == 0
    assert week(found, "reuse_rate", "", at("2026-11-16T00:00"))["value"] == 0.5
    month = found.filter((pl.col("window") == "28d/1d") & (pl.col("window_start_us") == at("2026-10-27T00:00")))
    told = month.filter(metric="reuse_rate").select("item", "numerator", "denominator").rows()
    assert sorted(told) == [("", 2, 3), ("national", 1, 1), ("school", 1, 2)]
    again = rows(events, fresh=[0]).filter(metric="reuse_rate")
    assert set(again["item"]) == {"", "national"}


@pytest.mark.parametrize(("after_us", "used"), [(-1, 0), (0, 1), (14 * DAY_US, 1), (14 * DAY_US + 1, 0)])
def test_a_plan_reaches_class_within_14_days(after_us: int, used: int) -> None:
    """A lesson at the completion counts, and one exactly 14 days later; a microsecond beside does not."""
    done_us = at("2026-11-16T08:00")
    taught = event("plan.taught", done_us + 20 * DAY_US, lesson_start_us=done_us + after_us)
    found = rows([event("plan.completed", done_us), taught], fresh=[1])
    row = week(found, "plan_to_class_rate")
    assert (row["window_start_us"], row["numerator"], row["denominator"]) == (at("2026-11-16T00:00"), used, 1)


def test_an_earlier_completion_takes_the_plan_along() -> None:
    """When a plan turns out to have been completed before, the later window keeps a row without it."""
    events = [event("plan.completed", at("2026-11-16T08:00")), event("plan.completed", at("2026-11-04T08:00"))]
    found = rows(events, fresh=[1])
    later = week(found, "plan_to_class_rate", start_us=at("2026-11-16T00:00"))
    earlier = week(found, "plan_to_class_rate", start_us=at("2026-11-02T00:00"))
    assert (later["value"], later["denominator"], earlier["value"], earlier["denominator"]) == (None, 0, 0, 1)


def test_a_heartbeat_rewrites_its_week_alone() -> None:
    """A heartbeat changes metrics 16 and 17 of the seven windows and the week around it, whatever else is stored."""
    now_us = at("2026-11-18T08:00")
    events = [
        work(now_us),
        event("plan.completed", now_us),
        event("resource.attached", now_us, origin="reused", platform="school"),
        event("plan.taught", now_us, lesson_start_us=now_us),
        event("heartbeat.recorded", now_us + MINUTE_US),
    ]
    found = rows(events, fresh=[4])
    days = [at(f"{date(2026, 11, 12) + timedelta(days=number)}T00:00") for number in range(7)]
    for metric in ("active_prep_minutes", "prep_regularity"):
        assert starts(found, metric, "7d/1d") == days
        assert starts(found, metric, "iso_week") == [at("2026-11-16T00:00")]
    assert found.height == 16


def test_an_event_of_no_metric_writes_nothing() -> None:
    """A review is no activity of the teacher, and no metric reads it."""
    assert rows([event("plan.reviewed", at("2026-11-16T08:00"))]).is_empty()
