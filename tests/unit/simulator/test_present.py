"""Simulations at the present time: where they end, what they tell, and that their lessons close."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.simulator import Disturbance, SimulationConfig, ending_now, in_whole_weeks, simulate
from deploy.local.simulator.network import LATENCY_MS
from schemas.events.fields import timestamp_us
from streams.settings import Settings

from .conftest import DAY
from .contract import read

#: A Saturday evening in Shanghai, and a Thursday at night.
NOWS = (datetime(2026, 11, 28, 12, 34, 56, tzinfo=UTC), datetime(2026, 11, 26, 17, 0, 1, tzinfo=UTC))
SMALL = SimulationConfig(events=1_500, students_per_class=5, binary_share=0.0)


def times_ms(config: SimulationConfig) -> list[int]:
    """Return when the events happen."""
    return [record.timestamp_ms - LATENCY_MS for record in simulate(config)]


@pytest.mark.parametrize("now", NOWS)
@pytest.mark.parametrize("config", [SMALL, replace(SMALL, events=None, schools=1, classes_per_school=1)])
def test_the_last_event_happens_now(config: SimulationConfig, now: datetime) -> None:
    """Nothing is ahead of the clock, and the end lies a few minutes back at most, on school days and weekends."""
    last_ms = max(times_ms(ending_now(config, now)))
    assert -300_000 < last_ms - now.timestamp() * 1000 <= 0


@given(
    now=st.integers(1_700_000_000, 2_200_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    speed=st.floats(0.1, 1_000),
)
@settings(max_examples=25)
def test_paced_events_are_never_ahead_of_the_clock(now: datetime, speed: float) -> None:
    """At any speed each event has happened by the time it is sent, and from real time on the last one just then."""
    config = replace(SMALL, events=300, families=("classroom",))
    moved = ending_now(config, now, speed=speed)
    times = times_ms(moved)
    first_ms = moved.fitted().first_lesson_ms
    sent_ms = [now.timestamp() * 1000 + max(0, time_ms - first_ms) / speed for time_ms in times]
    assert max(time_ms - sent for time_ms, sent in zip(times, sent_ms, strict=True)) <= 0
    if speed >= 1:
        assert times[-1] - sent_ms[-1] > -300_000


def test_the_same_seed_tells_the_same_lessons_at_any_time_under_ids_of_their_own() -> None:
    """Two runs on a weekday differ by their shift alone; their lessons do not mix, since each has its own ids."""
    first, second = (
        ending_now(replace(SMALL, families=("classroom",)), now) for now in (NOWS[1], NOWS[1] + timedelta(minutes=7))
    )
    told = [[read(record) for record in simulate(config)] for config in (first, second)]
    # A timetable and the id of a quiz tell the time.
    first_data, second_data = (
        [data for _, data in events if not re.search("scheduled|quiz", str(data))] for events in told
    )
    assert first_data == second_data
    lessons = [{envelope.subject for envelope, _ in events} for events in told]
    assert len(lessons[0]) == len(lessons[1]) > 0
    assert not lessons[0] & lessons[1]


@pytest.mark.parametrize("now", NOWS)
def test_whole_weeks_keep_weekday_and_hour(now: datetime) -> None:
    """The day is a Wednesday that is over, and everything on it lies whole weeks after what was drawn."""
    drawn = in_whole_weeks(SMALL, datetime(2026, 3, 12, tzinfo=UTC))
    moved = in_whole_weeks(SMALL, now)
    shift = timedelta(milliseconds=moved.shift_ms - drawn.shift_ms)
    assert shift % timedelta(weeks=1) == timedelta()
    assert [time_ms - shift // timedelta(milliseconds=1) for time_ms in times_ms(moved)] == times_ms(drawn)
    assert timedelta() < now - datetime.fromtimestamp(times_ms(moved)[-1] / 1000, UTC) < timedelta(days=8)


@pytest.mark.parametrize(
    "config",
    [
        SimulationConfig(events=12_345, date=DAY, disturbance=Disturbance(skew_share=1.0)),
        SimulationConfig(events=400, date=DAY),
        SimulationConfig(
            date=DAY,
            schools=2,
            classes_per_school=1,
            students_per_class=3,
            dual_teacher_share=0.9,
            disturbance=Disturbance(skew_share=1.0),
        ),
    ],
)
def test_every_lesson_is_closed_by_events_of_its_own(config: SimulationConfig) -> None:
    """The watermark that a lesson's own events make has passed its end, whatever the clocks of its devices say."""
    ended_us: dict[str, int] = defaultdict(int)
    latest_us: dict[str, int] = defaultdict(int)
    for record in simulate(replace(config, families=("classroom",))):
        envelope, _ = read(record)
        lesson, time_us = str(envelope.partitionkey), timestamp_us(envelope.time)
        latest_us[lesson] = max(latest_us[lesson], time_us)
        if "lesson.ended" in envelope.type:
            ended_us[lesson] = max(ended_us[lesson], time_us)
    trail_us = Settings.model_fields["out_of_orderness_seconds"].default * 1_000_000
    assert set(ended_us) == set(latest_us)
    assert [lesson for lesson, end_us in ended_us.items() if latest_us[lesson] - trail_us <= end_us] == []
