"""Hypothesis strategies for small lessons, weeks of preparation and research activities with hostile timing.

Times are drawn from few instants on and beside the edges of windows, so that equal times, exact boundaries and
overlaps are the rule. Joins are missing or doubled, prompts are answered before they are asked, or never asked.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.oracle.oracle import Event

__all__ = ["activities", "lessons", "weeks_of_preparation"]

Drawn = dict[str, Any]

#: 2026-11-16T00:00:00Z, a Monday.
BASE_US = 1_794_787_200_000_000
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
STUDENTS = ("ann", "bo", "chen")

lesson_times = st.one_of(
    st.sampled_from([BASE_US + seconds * SECOND_US for seconds in (0, 10, 50, 60, 120, 300, 600, 660, 1200, 2400)]),
    st.builds(
        lambda seconds, off_us: BASE_US + seconds * SECOND_US + off_us,
        st.sampled_from([0, 60, 300, 600, 610]),
        st.sampled_from([-1, 1, 333_333]),
    ),
    st.integers(BASE_US, BASE_US + 40 * MINUTE_US),
)
students = st.sampled_from(STUDENTS)
prompts = st.sampled_from(["q1", "q2"])


def _event(name: str, times: st.SearchStrategy[int], **data: st.SearchStrategy[Any]) -> st.SearchStrategy[Drawn]:
    return st.fixed_dictionaries({"type": st.just(name), "time_us": times, **data})


def _numbered(key: str, drawn: list[Drawn]) -> list[Event]:
    """Give each event an identity; sources and ids are not in the order of drawing, and sources repeat."""
    return [
        {**event, "key": key, "source": f"/d/{n % 2}", "id": f"e{(n + 1) * 37 % 101:03}"}
        for n, event in enumerate(drawn)
    ]


def _keyed(drawn: st.SearchStrategy[list[Drawn]]) -> st.SearchStrategy[Callable[[str], list[Event]]]:
    """Make a strategy of functions from a key to events, so that a test can give every example keys of its own."""
    return drawn.map(lambda events: lambda key: _numbered(key, events))


def _moments(times: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    """Draw the few moments at which everything happens, so that events meet at one moment."""
    return st.lists(times, min_size=2, max_size=6, unique=True)


def lessons(max_events: int = 18) -> st.SearchStrategy[Callable[[str], list[Event]]]:
    """Draw a lesson: a function from its key to its events."""
    return _keyed(_moments(lesson_times).flatmap(lambda moments: _lesson(st.sampled_from(moments), max_events)))


def _lesson(times: st.SearchStrategy[int], max_events: int) -> st.SearchStrategy[list[Drawn]]:
    started = _event(
        "classroom.lesson.started",
        times,
        roster=st.lists(students, max_size=4),
        scheduled_start_us=times,
        scheduled_end_us=times,
    )
    joined = _event("classroom.attendance.joined", times, student_id=students)
    left = _event("classroom.attendance.left", times, student_id=students)
    asked = _event("classroom.question.asked", times, prompt_id=prompts)
    event = st.one_of(
        started,
        joined,
        joined,
        left,
        asked,
        _event("classroom.lesson.ended", times),
        _event("classroom.question.closed", times, prompt_id=prompts),
        _event("classroom.answer.submitted", times, student_id=students, prompt_id=prompts),
        _event("classroom.hand.raised", times, student_id=students),
        _event("classroom.interaction.recorded", times, student_id=students),
        _event("classroom.speech.recorded", times),
        _event("classroom.hand.called", times, student_id=students),
    )
    return st.lists(event, min_size=1, max_size=max_events)


def weeks_of_preparation(midnight_us: int, max_events: int = 20) -> st.SearchStrategy[Callable[[str], list[Event]]]:
    """Draw a teacher's preparation around a local midnight: a function from the teacher's id to the events."""
    minutes = st.sampled_from([0, 1, 5, 6, -1, -4, -5, -6, 10, 60, 120, 180, 24 * 60, -24 * 60, 7 * 24 * 60])
    times = st.builds(
        lambda minute, off_us: midnight_us + minute * MINUTE_US + off_us, minutes, st.sampled_from([0, 0, 0, 1, -1])
    )
    names = st.sampled_from(
        [
            "prep.plan.opened", "prep.heartbeat.recorded", "prep.plan.edited", "prep.resource.attached",
            "prep.plan.shared", "prep.plan.completed", "prep.plan.coedited", "prep.plan.reviewed", "prep.plan.taught",
        ]
    )  # fmt: skip
    event = st.fixed_dictionaries({"type": names, "time_us": times})
    return _keyed(st.lists(event, min_size=1, max_size=max_events))


def activities(max_events: int = 16) -> st.SearchStrategy[Callable[[str], list[Event]]]:
    """Draw a research activity: a function from its key to its events; exactly 80 % of the time is often met."""
    seconds = st.sampled_from([0, 2, 8, 10, 11])
    moments = _moments(seconds.map(lambda second: BASE_US + second * SECOND_US))
    return _keyed(moments.flatmap(lambda moments: _activity(st.sampled_from(moments), max_events)))


def _activity(times: st.SearchStrategy[int], max_events: int) -> st.SearchStrategy[list[Drawn]]:
    published = _event(
        "research.activity.published",
        times,
        invited=st.lists(students, max_size=5),
        scheduled_start_us=times,
        scheduled_end_us=times,
    )
    event = st.one_of(
        published,
        _event("research.participant.joined", times, teacher_id=students),
        _event("research.participant.joined", times, teacher_id=students),
        _event("research.participant.left", times, teacher_id=students),
        _event("research.contribution.posted", times, teacher_id=students),
    )
    return st.lists(event, min_size=1, max_size=max_events)
