"""Research metrics by examples small enough to be worked out by hand."""

import math
from typing import Any

import polars as pl
import pytest

from schemas.events.event_types import RESEARCH
from schemas.metrics.rules import MetricRules
from streams.core.families import FOLDS

MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US
Event = dict[str, Any]


def event(name: str, minute: float, teacher_id: str | None = None, **data: Any) -> Event:
    """Return an event so many minutes after the epoch."""
    return {"type": f"research.{name}", "time_us": round(minute * MINUTE_US), "teacher_id": teacher_id, **data}


def published(*invited: str, minute: float = 0, start: int = 0, end: int = 100) -> Event:
    """Return an announcement; its times are minutes after the epoch."""
    times: dict[str, Any] = {"scheduled_start_us": start * MINUTE_US, "scheduled_end_us": end * MINUTE_US}
    return event("activity.published", minute, invited=list(invited), **times)


def rows(*events: Event) -> pl.DataFrame:
    """Return the rows of the activity 教研活动."""
    schema = FOLDS[RESEARCH.name].cached_schema(RESEARCH)
    named = [{"key": "教研活动", "source": "/d", "id": f"{number:03}", **one} for number, one in enumerate(events)]
    cached = pl.DataFrame([{name: one.get(name) for name in schema} for one in named], schema=schema)
    return FOLDS[RESEARCH.name].rows(cached, cached, MetricRules())


def told(found: pl.DataFrame, metric: str) -> tuple[float, float, int]:
    """Return the figure's numerator, denominator and sample size."""
    row = found.filter(metric=metric).row(0, named=True)
    return row["numerator"], row["denominator"], row["sample_size"]


def persons(found: pl.DataFrame) -> dict[str, list[float]]:
    """Return the parts of each participant."""
    chosen = found.filter(metric="participant_activity")
    return dict(zip(chosen["item"].to_list(), chosen["parts"].to_list(), strict=True))


def test_nobody_came() -> None:
    """Invited and absent: nobody took part, and what is measured by presence or by contributions is unknown."""
    found = rows(published("甲", "乙"))
    assert told(found, "participation_rate") == (0, 2, 2)
    assert told(found, "effective_participation_rate") == (0, 2, 2)
    unknown = found.filter(pl.col("value").is_null(), window="activity")["metric"]
    assert set(unknown) == {"contributions_per_minute", "contribution_gini", "cross_school_mix", "improvements_per_report"}
    assert persons(found) == {"甲": [1, 0, 0, 0, 0, 0, 0, 0], "乙": [1, 0, 0, 0, 0, 0, 0, 0]}


def test_nobody_was_invited() -> None:
    """Without anyone invited the rates are unknown, whoever came."""
    found = rows(published(), event("participant.joined", 0, "甲"))
    assert told(found, "participation_rate") == (0, 0, 0)
    assert persons(found) == {"甲": [0, 1, 0, 6000, 0, 0, 0, 0]}


def test_an_activity_of_no_length_has_no_minutes() -> None:
    """A schedule of no length, or one whose end was typed ten years later, counts as none: who joined took part."""
    for end in (5, 10 * 365 * 24 * 60):
        found = rows(
            published("甲", start=5, end=end), event("participant.joined", 0, "甲"), event("contribution.posted", 5, "甲")
        )
        assert told(found, "participation_rate") == (1, 1, 1)
        assert told(found, "effective_participation_rate") == (0, 0, 0)
        assert told(found, "contributions_per_minute") == (1, 0, 0)
        assert set(found["window_end_us"]) == {5 * MINUTE_US}


def test_contributions_are_over_all_minutes_within_the_schedule() -> None:
    """Half an hour before and after the scheduled time counts; who never left stayed until its end; who returns adds up."""
    found = rows(
        published("甲"),
        event("participant.joined", -40, "甲"),
        event("participant.left", 140, "甲"),
        event("participant.joined", 10, "乙"),
        event("participant.left", 20, "乙"),
        event("participant.joined", 90, "乙"),
        event("contribution.posted", 200, "丙"),
    )
    assert told(found, "contributions_per_minute") == (1, 180, 180)
    assert persons(found)["乙"] == [0, 1, 0, 1200, 0, 0, 0, 0]


def test_an_activity_that_began_late_costs_nobody() -> None:
    """Present from twenty minutes after the scheduled start to twenty after the end: all of it; who came after it: none."""
    found = rows(
        published("甲", "乙", "丙"),
        event("participant.joined", 20, "甲"),
        event("participant.left", 120, "甲"),
        event("participant.joined", 131, "乙", schoolid="一小"),
        event("participant.joined", 101, "丙"),
    )
    assert told(found, "participation_rate") == (1, 3, 3)
    assert told(found, "effective_participation_rate") == (1, 3, 3)
    assert told(found, "cross_school_mix") == (0, 0, 0)


def test_the_gini_of_contributions_counts_the_silent() -> None:
    """Of three who joined one made all three contributions: two thirds; four equal ones: zero."""
    joined = [event("participant.joined", 1, who) for who in "甲乙丙"]
    uneven = rows(published(), *joined, *[event("contribution.posted", 2, "甲") for _ in range(3)])
    assert told(uneven, "contribution_gini") == (12, 18, 3)
    assert uneven.filter(metric="contribution_gini")["parts"].to_list() == [[1.0]]
    even = rows(published(), *[event("contribution.posted", 2, who) for who in "甲乙丙丁"])
    assert told(even, "contribution_gini") == (0, 32, 4)


@pytest.mark.parametrize("nowhere", [None, ""])
def test_schools_mix_by_the_first_school_named(nowhere: str | None) -> None:
    """Whose first joined names no school is of the next one that does; who never names one is left out."""
    found = rows(
        published(),
        event("participant.joined", 1, "甲", schoolid=nowhere),
        event("participant.joined", 2, "甲", schoolid="一小"),
        event("participant.joined", 3, "甲", schoolid="二小"),
        event("participant.joined", 1, "乙", schoolid="二小"),
        event("participant.joined", 1, "丙", schoolid=nowhere),
    )
    assert told(found, "cross_school_mix") == pytest.approx((math.log(2), math.log(2), 2))


def test_one_school_is_no_mix() -> None:
    """Participants of a single school have no mix to measure."""
    found = rows(published(), event("participant.joined", 1, "甲", schoolid="一小"))
    assert told(found, "cross_school_mix") == pytest.approx((0, math.log(2), 1))


def test_feedback_counts_from_its_first_time() -> None:
    """An item given twice counts once, by the first time; one that is given before the lesson ends is not late at all."""
    found = rows(
        event("feedback.given", 30, "甲", feedback_id="f1", lesson_end_us=0),
        event("feedback.given", 10, "甲", feedback_id="f1", lesson_end_us=0),
        event("feedback.given", 10, "乙", feedback_id="f2", lesson_end_us=30 * MINUTE_US),
    )
    row = found.filter(metric="feedback_latency_seconds").row(0, named=True)
    assert (row["value"], row["sample_size"], row["parts"]) == (300, 2, [0, 600])
    assert (row["window_start_us"], row["window_end_us"]) == (10 * MINUTE_US, 30 * MINUTE_US)


@pytest.mark.parametrize(("days", "latency"), [(0.5, 0), (0.5 + 1e-6, None), (-28, 28 * 86_400), (-10_000, 28 * 86_400)])
def test_a_typing_error_makes_no_feedback_fast(days: float, latency: float | None) -> None:
    """The end of a lesson that is more than half a day away does not count, and no feedback is later than four weeks."""
    found = rows(event("feedback.given", 0, "甲", feedback_id="f1", lesson_end_us=round(days * DAY_US)))
    row = found.filter(metric="feedback_latency_seconds").row(0, named=True)
    assert (row["value"], row["sample_size"]) == (latency, 0 if latency is None else 1)
    assert told(found, "closed_loop_rate") == (0, 1, 1)


@pytest.mark.parametrize(("after_us", "closed"), [(-1, 0), (0, 1), (14 * DAY_US, 1), (14 * DAY_US + 1, 0)])
def test_a_loop_closes_within_14_days(after_us: int, closed: int) -> None:
    """An improvement at the feedback counts, and one exactly 14 days later; a microsecond beside does not."""
    given = event("feedback.given", 10, "甲", feedback_id="f1", lesson_end_us=0)
    linked = event("improvement.linked", 10, "乙", feedback_id="f1", improvement_id="i1")
    found = rows(given, linked | {"time_us": given["time_us"] + after_us})
    assert told(found, "closed_loop_rate") == (closed, 1, 1)


def test_reports_and_improvements_are_distinct() -> None:
    """The same report named again is one, and so are a hundred improvements linked to one feedback item."""
    linked = {"feedback_id": "f1"}
    found = rows(
        event("feedback.given", 0, "乙", lesson_end_us=0, **linked),
        event("report.generated", 1, report_id="r1"),
        event("report.generated", 2, report_id="r1"),
        event("report.generated", 3, report_id="r2"),
        *(event("improvement.linked", 4 + n, "甲", improvement_id=f"i{n}", **linked) for n in range(100)),
        event("improvement.linked", 4, "甲", feedback_id="of nobody", improvement_id="i"),
    )
    assert told(found, "reports_generated") == (2, 1, 2)
    assert told(found, "improvements_per_report") == (1, 2, 2)
    assert persons(found) == {"甲": [0, 0, 0, 0, 0, 0, 0, 1], "乙": [0, 0, 0, 0, 0, 0, 1, 0]}


def test_an_unannounced_activity_has_no_meeting() -> None:
    """Before an announcement is stored nothing is scheduled: no rate, no minutes, and the events bound the rows."""
    found = rows(event("participant.joined", 1, "甲"), event("contribution.posted", 7, "甲"))
    assert set(found["metric"]) == {"reports_generated", "improvements_per_report", "participant_activity"}
    row = found.filter(metric="participant_activity").row(0, named=True)
    assert (row["value"], row["numerator"], row["denominator"]) == (None, 1, 0)
    assert (row["window_start_us"], row["window_end_us"]) == (1 * MINUTE_US, 7 * MINUTE_US)


def test_the_earliest_announcement_counts() -> None:
    """Whom only a later announcement invites keeps a row of zeros, in whatever order the two arrive."""
    found = rows(published("乙", minute=2), published("甲", minute=1, end=50))
    assert told(found, "participation_rate") == (0, 1, 1)
    assert persons(found) == {"甲": [1, 0, 0, 0, 0, 0, 0, 0], "乙": [0] * 8}
    assert set(found["window_end_us"]) == {50 * MINUTE_US}


def test_everything_a_participant_did() -> None:
    """An observer who stayed exactly 80 % of the time, contributed twice and gave one feedback item twice."""
    given = {"feedback_id": "f1", "lesson_end_us": 0}
    found = rows(
        published("甲"),
        event("participant.joined", 20, "甲"),
        event("contribution.posted", 21, "甲"),
        event("contribution.posted", 22, "甲"),
        event("lesson.observed", 23, "甲"),
        event("feedback.given", 24, "甲", **given),
        event("feedback.given", 25, "甲", **given),
    )
    assert told(found, "effective_participation_rate") == (1, 1, 1)
    assert persons(found) == {"甲": [1, 1, 1, 4800, 2, 1, 1, 0]}
    assert told(found, "participant_activity") == (2, 80, 80)
