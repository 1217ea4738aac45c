"""The run as a whole: repeatable, exactly as long as asked, in order, within bounded memory."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from deploy.local.simulator import Disturbance, Simulation, SimulationConfig, simulate
from deploy.local.simulator.draft import Draft
from deploy.local.simulator.programme import openings
from deploy.local.simulator.school_day import last_school_day
from deploy.local.simulator.timeline import merged

from .conftest import DAY, TROUBLE
from .contract import Seen, read


def test_the_same_seed_gives_the_same_records_and_another_does_not() -> None:
    """Bytes, keys, headers, timestamps and outcomes repeat with the seed."""
    config = SimulationConfig(seed=7, events=5_000, date=DAY, disturbance=TROUBLE)
    first = list(simulate(config))
    assert first == list(simulate(config))
    assert first != list(simulate(replace(config, seed=8)))


@pytest.mark.parametrize("events", [0, 1, 10, 1_000, 12_345])
@pytest.mark.parametrize("disturbance", [Disturbance(), TROUBLE])
def test_exactly_as_many_records_as_asked(events: int, disturbance: Disturbance) -> None:
    """The number holds with duplicates and records held back, too."""
    config = SimulationConfig(events=events, date=DAY, disturbance=disturbance, students_per_class=20)
    assert sum(1 for _ in simulate(config)) == events


def test_a_small_district_goes_on_for_days_to_reach_the_number() -> None:
    """One class cannot fill 9,000 records in a day, so earlier days are added; none comes after the date."""
    config = SimulationConfig(
        events=9_000, date=DAY, schools=1, classes_per_school=1, students_per_class=5, families=("classroom",)
    )
    days = {read(record)[0].time[:10] for record in simulate(config) if record.topic == "classpulse.classroom"}
    assert len(days) >= 2
    assert max(days) <= DAY.isoformat()


def test_without_a_number_it_is_one_day_with_every_lesson_ended() -> None:
    """Eight lessons a class, each started and ended on its own."""
    config = SimulationConfig(date=DAY, schools=1, classes_per_school=1, students_per_class=5, binary_share=0.0)
    types = [read(record)[0].type.split(".", 3)[3] for record in simulate(config)]
    assert types.count("lesson.started.v1") == types.count("lesson.ended.v1") == 8


def test_a_school_week_is_told_as_one_script() -> None:
    """Five days up to the date, every lesson of each, in the order of arrival, and no id or sequence twice."""
    config = SimulationConfig(
        days=5, date=date(2026, 11, 20), schools=2, classes_per_school=1, students_per_class=2, binary_share=0.0
    )
    simulation = Simulation(config)
    records = list(simulation.records())
    assert records == list(simulate(config))
    assert all(earlier.timestamp_ms <= later.timestamp_ms for earlier, later in pairwise(records))
    days: Counter[str] = Counter()
    seen_sequences = set()
    for record in records:
        envelope, _ = read(record)
        seen_sequences.add((envelope.source, envelope.sequence))
        if "lesson.started" in envelope.type:
            days[envelope.time[:10]] += 1
    assert len(seen_sequences) == len(records)
    assert days == {f"2026-11-{day}": 2 * 8 for day in range(16, 21)}


def test_records_come_in_the_order_of_arrival(troubled: list[Seen]) -> None:
    """Timestamps, which are the arrivals, never go back."""
    arrivals = [record.timestamp_ms for record, _, _ in troubled]
    assert arrivals == sorted(arrivals)


def test_the_registry_comes_first(calm: list[Seen]) -> None:
    """Every entry of the registry is known before the first event that refers to it."""
    topics = [record.topic for record, _, _ in calm]
    last_registered = max(index for index, topic in enumerate(topics) if topic == "classpulse.registry")
    assert set(topics[: last_registered + 1]) == {"classpulse.registry"}


def test_only_the_families_asked_for() -> None:
    """Leaving out families leaves out their topics and does not shorten the run."""
    records = list(simulate(SimulationConfig(events=2_000, date=DAY, families=("prep", "research"))))
    assert len(records) == 2_000
    assert {record.topic for record in records} == {"classpulse.prep", "classpulse.research"}


def test_sequences_of_a_device_have_no_gap(calm: list[Seen]) -> None:
    """An undisturbed run shows no loss: each device counts up by one in the order of its events."""
    last: dict[str, int] = defaultdict(int)
    for _, envelope, _ in calm:
        assert envelope is not None
        assert envelope.sequence is not None
        assert len(envelope.sequence) == 10
        assert int(envelope.sequence) == last[envelope.source] + 1
        last[envelope.source] += 1


def test_records_held_back_are_bounded() -> None:
    """However many records are late, no more than the limit wait; the earliest go early and stay in order."""
    late = Disturbance(late_share=0.6, duplicate_share=0.3)
    config = SimulationConfig(events=8_000, date=DAY, disturbance=late, pending_limit=500)
    simulation = Simulation(config)
    records = list(simulation.records())
    assert len(records) == 8_000
    # One event can hold back two records before the excess is let go; open lessons are ended at the stop.
    assert 500 <= simulation.peak_pending_records <= 520
    assert all(earlier.timestamp_ms <= later.timestamp_ms for earlier, later in pairwise(records))


def test_a_slice_holds_a_minute_not_a_lesson() -> None:
    """The merged scripts come minute by minute in time order, so memory does not grow with the day."""
    config = SimulationConfig(date=DAY, schools=2, classes_per_school=3, students_per_class=45)
    simulation = Simulation(config)
    slices: list[list[Draft]] = [drafts for drafts in merged(openings(simulation.fitted, simulation.district)) if drafts]
    times = [draft.time_ms for drafts in slices for draft in drafts]
    assert times == sorted(times)
    assert all(drafts[-1].time_ms - drafts[0].time_ms < 60_000 for drafts in slices)
    assert max(map(len, slices)) < 0.02 * len(times)


def test_tablets_that_were_offline_flush_in_a_burst(troubled: list[Seen]) -> None:
    """What was written down offline arrives minutes later, in the tablet's order."""
    delays = []
    for record, envelope, _ in troubled:
        if envelope is not None and envelope.recordedtime is not None:
            delays.append(record.timestamp_ms / 1000 - datetime.fromisoformat(envelope.time).timestamp())
    assert len(delays) > 50
    assert max(delays) > 120


def test_the_default_day_is_the_last_weekday_before_today() -> None:
    """In Asia/Shanghai: Sunday evening in London is Monday there, and the day is the Friday before."""
    assert last_school_day(datetime(2026, 11, 15, 20, 0, tzinfo=UTC)) == date(2026, 11, 13)
    assert last_school_day(datetime(2026, 11, 17, 4, 0, tzinfo=UTC)) == date(2026, 11, 16)


@pytest.mark.parametrize(
    "wrong",
    [
        {"events": -1},
        {"days": 0},
        {"days": 5, "events": 1_000},
        {"schools": 0},
        {"students_per_class": 101},
        {"families": ("classroom", "sports")},
        {"date": date(1999, 1, 1)},
        {"binary_share": 1.5},
    ],
)
def test_a_wrong_configuration_is_rejected_by_name(wrong: dict[str, object]) -> None:
    """The error names the field and what may be given."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimulationConfig(**wrong)  # type: ignore[arg-type]


def test_shares_that_exceed_one_are_rejected() -> None:
    """Each event has at most one disturbance of its own."""
    with pytest.raises(ValueError, match="within 1"):
        Disturbance(late_share=0.6, duplicate_share=0.6)


def test_half_an_hour_of_skew_is_rejected() -> None:
    """A skew the worker would reject would make the ledger wrong."""
    with pytest.raises(ValueError, match="skew_seconds"):
        Disturbance(skew_seconds=1_800)


def test_a_full_run_of_the_configuration_is_described_by_the_fitted_one() -> None:
    """A million records make a district of more than a hundred classes; a thousand make one class."""
    large, small = (SimulationConfig(events=events, date=DAY).fitted() for events in (1_000_000, 1_000))
    assert large.schools * large.classes_per_school > 100
    assert small.schools * small.classes_per_school == 1
    assert json.dumps(large.first_lesson_ms)
    assert datetime.fromtimestamp(large.first_lesson_ms / 1000, UTC).hour == 0
