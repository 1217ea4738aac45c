"""Lessons, preparation and research are plausible, so that the metrics computed from them are."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest

from deploy.local.simulator import SimulationConfig, simulate
from schemas.events.fields import timestamp_us

from .conftest import DAY
from .contract import Seen, read, seen

Told = list[tuple[int, str, Any]]


@pytest.fixture(scope="module")
def lessons(calm: list[Seen]) -> dict[str, Told]:
    """For each lesson that was not cut off: (time in µs, type, data) in the order of time."""
    told: dict[str, Told] = defaultdict(list)
    for record, envelope, data in calm:
        if envelope is not None and record.topic == "classpulse.classroom":
            name = envelope.type.removeprefix("io.classpulse.classroom.").removesuffix(".v1")
            told[envelope.subject].append((timestamp_us(envelope.time), name, data))
    whole = {lesson: events for lesson, events in told.items() if _minutes(events) > 35}
    assert len(whole) >= 10
    return whole


def _minutes(events: Told) -> float:
    return (events[-1][0] - events[0][0]) / 60e6


def test_a_lesson_starts_first_and_ends_after_all_but_the_leaving(lessons: dict[str, Told]) -> None:
    """Started a bit after the timetable; after the end, students only leave, and the other side (双师) ends."""
    for events in lessons.values():
        assert events[0][1] == "lesson.started"
        delay_us = events[0][0] - timestamp_us(events[0][2].scheduled_start)
        assert 0 < delay_us < 120e6
        ended = next(index for index, (_, name, _) in enumerate(events) if name == "lesson.ended")
        assert {name for _, name, _ in events[ended + 1 :]} <= {"attendance.left", "lesson.ended"}


def test_a_lesson_has_a_thousand_events_or_so(lessons: dict[str, Told]) -> None:
    """Between 700 and 2,000 where one class takes part, and not the same number in each."""
    sizes = [len(events) for events in lessons.values() if events[0][2].mode == "standard"]
    assert min(sizes) > 700
    assert max(sizes) < 2_000
    assert len(set(sizes)) > len(sizes) // 2


def test_students_take_part_after_they_joined(lessons: dict[str, Told]) -> None:
    """No answer, hand, interaction or test of a student who is not there."""
    for events in lessons.values():
        joined = set()
        for _, name, data in events:
            if name == "attendance.joined":
                joined.add(data.student_id)
            elif hasattr(data, "student_id"):
                assert data.student_id in joined, name


def test_answers_come_between_the_question_and_its_close(lessons: dict[str, Told]) -> None:
    """The latency is the time since the question, and most students answer."""
    for events in lessons.values():
        asked: dict[str, int] = {}
        closed: set[str] = set()
        answers: Counter[str] = Counter()
        for time_us, name, data in events:
            if name == "question.asked":
                asked[data.prompt_id] = time_us
            elif name == "question.closed":
                closed.add(data.prompt_id)
            elif name == "answer.submitted":
                assert data.prompt_id not in closed
                assert time_us - asked[data.prompt_id] == data.latency_ms * 1000
                answers[data.prompt_id] += 1
        assert set(asked) == closed
        if asked:
            assert answers.total() / len(asked) > 20


def test_speech_fills_the_lesson_without_overlap(lessons: dict[str, Told]) -> None:
    """Segments of a few seconds follow one another and cover nearly all of it."""
    for events in lessons.values():
        speech = [(time_us, data.duration_ms * 1000) for time_us, name, data in events if name == "speech.recorded"]
        for (time_us, duration_us), (next_us, _) in pairwise(speech):
            assert time_us + duration_us <= next_us
        assert sum(duration_us for _, duration_us in speech) / 60e6 > 0.9 * 35


@pytest.fixture(scope="module")
def dual() -> list[Seen]:
    """A day of two schools in which most lessons are dual-teacher lessons."""
    config = SimulationConfig(
        date=DAY, schools=2, classes_per_school=2, students_per_class=5, families=("classroom",), dual_teacher_share=0.9
    )
    return [seen(record) for record in simulate(config)]


def test_a_dual_teacher_lesson_has_two_sides(dual: list[Seen]) -> None:
    """Each side starts and ends the lesson itself, with its own school, class, teacher and roster."""
    told: dict[str, Counter[str]] = defaultdict(Counter)
    sides: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    modes: dict[str, set[str]] = defaultdict(set)
    for _, envelope, data in dual:
        assert envelope is not None
        name = envelope.type.removeprefix("io.classpulse.classroom.")
        told[envelope.subject][name] += 1
        if name == "lesson.started.v1":
            sides[envelope.subject].append((envelope.schoolid, envelope.classid, data.teacher_id, *data.roster))
            modes[envelope.subject].add(data.mode)
    two = [lesson for lesson, held in sides.items() if len(held) == 2]
    assert len(two) >= 5
    for lesson, held in sides.items():
        assert told[lesson]["lesson.ended.v1"] == len(held)
        assert modes[lesson] == {"dual_teacher" if len(held) == 2 else "standard"}
    for lesson in two:
        host, guest = sides[lesson]
        assert host[0] != guest[0]
        assert not set(host[1:]) & set(guest[1:])
        assert lesson.startswith(f"lesson-{host[1]}-")


def test_students_of_both_sides_speak_for_their_own_school(dual: list[Seen]) -> None:
    """Every event of a student names the class of the roster, and comes from a device of that school."""
    rosters: dict[str, tuple[str | None, str | None]] = {}
    answering: dict[str, set[str | None]] = defaultdict(set)
    for _, envelope, data in dual:
        assert envelope is not None
        assert envelope.source.startswith(f"/schools/{envelope.schoolid}/")
        for student in getattr(data, "roster", ()):
            assert rosters.setdefault(student, (envelope.schoolid, envelope.classid)) == (
                envelope.schoolid,
                envelope.classid,
            )
        if hasattr(data, "student_id"):
            assert rosters[data.student_id] == (envelope.schoolid, envelope.classid)
            answering[envelope.subject].add(envelope.classid)
    assert sum(len(classes) == 2 for classes in answering.values()) >= 5


def test_a_class_is_in_one_lesson_at_a_time(dual: list[Seen]) -> None:
    """A class that takes part in another one's lesson has none of its own meanwhile; each has eight a day."""
    starts: Counter[tuple[str | None, int]] = Counter()
    for _, envelope, data in dual:
        assert envelope is not None
        if "lesson.started" in envelope.type:
            starts[envelope.classid, timestamp_us(data.scheduled_start)] += 1
    assert set(starts.values()) == {1}
    assert Counter(class_id for class_id, _ in starts) == dict.fromkeys(("s01-c1", "s01-c2", "s02-c1", "s02-c2"), 8)


def test_students_differ_lastingly() -> None:
    """Who is quiet in the odd lessons of a day is quiet in the even ones."""
    config = SimulationConfig(date=DAY, schools=1, classes_per_school=1, families=("classroom",), binary_share=0.0)
    halves: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for record in simulate(config):
        if b"hand.raised" in (record.value or b"") or b"interaction.recorded" in (record.value or b""):
            envelope, data = read(record)
            halves[int(envelope.subject[-1]) % 2][data.student_id] += 1
    ranked = sorted(set(halves[0]) | set(halves[1]), key=lambda student: halves[0][student])
    third = len(ranked) // 3
    quiet, active = (sum(halves[1][student] for student in part) for part in (ranked[:third], ranked[-third:]))
    assert third >= 10
    assert active > 1.5 * quiet


def test_plans_are_worked_on_in_minutes_and_taught_after(calm: list[Seen]) -> None:
    """Heartbeats lie a minute apart; a plan is opened before it is taught."""
    plans: dict[str, Told] = defaultdict(list)
    for record, envelope, data in calm:
        if envelope is not None and record.topic == "classpulse.prep":
            plans[envelope.subject].append((timestamp_us(envelope.time), envelope.type, data))
    gaps = []
    for events in plans.values():
        assert "opened" in events[0][1]
        beats = [time_us for time_us, name, _ in events if "heartbeat" in name]
        gaps += [(later - earlier) / 1e6 for earlier, later in pairwise(beats)]
    near_a_minute = sum(55 <= gap <= 65 for gap in gaps)
    assert near_a_minute > 0.9 * len(gaps)


def test_improvements_answer_feedback_that_was_given(calm: list[Seen]) -> None:
    """The closed loop of research refers to feedback of the same activity, given before."""
    given: set[str] = set()
    improvements = 0
    for record, envelope, data in calm:
        if envelope is not None and record.topic == "classpulse.research":
            if "feedback.given" in envelope.type:
                given.add(data.feedback_id)
            elif "improvement" in envelope.type:
                assert data.feedback_id in given
                improvements += 1
    assert improvements > 0
