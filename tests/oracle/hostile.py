"""Hypothesis strategies for small lessons, weeks of preparation and research activities with hostile timing.

Times are drawn from few instants on and beside the edges of windows, so that equal times, exact boundaries and
overlaps are the rule. Joins are missing or doubled, prompts are answered before they are asked, or never asked.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from schemas.metrics.classroom.course import STRATEGIES
from schemas.metrics.classroom.lessons import LESSON_GRACE_US as GRACE_US
from tests.oracle.oracle import Event

__all__ = ["activities", "lessons", "weeks_of_preparation"]

Drawn = dict[str, Any]

#: 2026-11-16T00:00:00Z, a Monday.
BASE_US = 1_794_787_200_000_000
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 24 * 60 * MINUTE_US
STUDENTS = ("ann", "bo", "chen")
#: Stands in the data of an event for the event's key.
KEY = "the key"

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
#: Eighty per cent of a sum of them is often met exactly.
characters = st.sampled_from([None, 0, 1, 1, 4, 5, 20])


def _event(name: str, times: st.SearchStrategy[int], **data: st.SearchStrategy[Any]) -> st.SearchStrategy[Drawn]:
    return st.fixed_dictionaries({"type": st.just(name), "time_us": times, **data})


def _numbered(key: str, drawn: list[Drawn]) -> list[Event]:
    """Give each event an identity; sources and ids are not in the order of drawing, and sources repeat."""
    return [
        {
            **{name: key if value == KEY else value for name, value in event.items()},
            "key": key,
            "source": f"/d/{n % 2}",
            "id": f"e{(n + 1) * 37 % 101:03}",
        }
        for n, event in enumerate(drawn)
    ]


def _keyed(drawn: st.SearchStrategy[list[Drawn]]) -> st.SearchStrategy[Callable[[str], list[Event]]]:
    """Make a strategy of functions from a key to events, so that a test can give every example keys of its own."""
    return drawn.map(lambda events: lambda key: _numbered(key, events))


def _moments(times: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    """Draw the few moments at which everything happens, so that events meet at one moment."""
    return st.lists(times, min_size=2, max_size=6, unique=True)


def lessons() -> st.SearchStrategy[Callable[[str], list[Event]]]:
    """Draw a lesson: a function from its key to its events."""
    return _keyed(_moments(lesson_times).flatmap(_lesson))


def _lesson(moments: list[int]) -> st.SearchStrategy[list[Drawn]]:
    """Draw some of each of the lesson's scenarios; often one of them has no event at all."""
    times = st.sampled_from(moments)
    scenarios = [
        st.lists(_started(moments), max_size=3),
        st.lists(_event("classroom.lesson.ended", st.one_of(st.just(max(moments)), times)), max_size=2),
        *(
            st.one_of(st.just([]), st.lists(st.one_of(*scenario(times)), min_size=1, max_size=most))
            for scenario, most in ((_presence, 8), (_course, 5), (_questions, 9), (_students, 6), (_talk, 8))
        ),
    ]
    return st.tuples(*scenarios).map(lambda drawn: [event for scenario in drawn for event in scenario]).filter(bool)


def _started(moments: list[int]) -> st.SearchStrategy[Drawn]:
    """Draw the start of a side of the lesson; the time after which a lesson is over is often met."""
    times = st.sampled_from(moments)
    due_start = st.one_of(st.just(min(moments)), times)
    ends = [moment + off_us for moment in (*moments, max(moments)) for off_us in (0, 0, -GRACE_US, 1 - GRACE_US)]
    started = _event(
        "classroom.lesson.started",
        st.one_of(st.just(min(moments)), times),
        teacher_id=st.sampled_from(["t1", "t2"]),
        course=st.sampled_from(["数学", "语文"]),
        grade=st.just(5),
        mode=st.just("dual_teacher"),
        roster=st.lists(students, max_size=4),
        scheduled_start_us=due_start,
        scheduled_end_us=st.sampled_from(ends),
    )
    sides = st.sampled_from([("s1", "c1"), ("s2", "c1"), ("s1", "c2")])
    return st.builds(lambda event, side: {**event, "schoolid": side[0], "classid": side[1]}, started, sides)


def _course(times: st.SearchStrategy[int]) -> list[st.SearchStrategy[Drawn]]:
    used = _event(
        "classroom.tool.used",
        times,
        platform=st.sampled_from(["national", "municipal", "district", "school"]),
        duration_ms=st.sampled_from([0, 1, 10_000, 60_000, 600_000, 3_600_000]),
    )
    return [used, _event("classroom.strategy.changed", times, strategy=st.sampled_from(STRATEGIES))]


def _presence(times: st.SearchStrategy[int]) -> list[st.SearchStrategy[Drawn]]:
    joined = _event("classroom.attendance.joined", times, student_id=students)
    return [joined, joined, _event("classroom.attendance.left", times, student_id=students)]


def _questions(times: st.SearchStrategy[int]) -> list[st.SearchStrategy[Drawn]]:
    answered = _event(
        "classroom.answer.submitted",
        times,
        student_id=students,
        prompt_id=prompts,
        correct=st.sampled_from([None, False, True]),
        latency_ms=st.sampled_from([None, 0, 1, 2, 99, 100, 101, 5_400, 86_400_000]),
    )
    kinds = st.sampled_from(["open", "open", "choice", ""])
    asked = _event("classroom.question.asked", times, prompt_id=prompts, kind=kinds)
    return [asked, asked, answered, answered, answered, _event("classroom.question.closed", times, prompt_id=prompts)]


def _students(times: st.SearchStrategy[int]) -> list[st.SearchStrategy[Drawn]]:
    shares = st.sampled_from([0.0, 0.35, 0.85, 1.0])
    return [
        _event("classroom.hand.raised", times, student_id=students),
        _event("classroom.hand.called", times, student_id=students),
        _event("classroom.interaction.recorded", times, student_id=students),
        _event("classroom.assessment.completed", times, student_id=students, score=shares),
        _event("classroom.plan.progressed", times, student_id=students, progress=shares),
    ]


def _talk(times: st.SearchStrategy[int]) -> list[st.SearchStrategy[Drawn]]:
    spoken = _event(
        "classroom.speech.recorded",
        times,
        speaker=st.sampled_from(["teacher", "student", "both", "silence"]),
        duration_ms=st.sampled_from([0, 1_499, 1_500, 3_000, 61_000, 700_000]),
        fias_code=st.one_of(st.none(), st.integers(1, 10)),
    )
    return [spoken, spoken]


def weeks_of_preparation(midnight_us: int, max_events: int = 20) -> st.SearchStrategy[Callable[[str], list[Event]]]:
    """Draw a teacher's preparation around a local midnight: a function from the teacher's id to the events.

    Lessons begin exactly 14 or 28 days after the midnight, and a microsecond beside.
    """
    minutes = st.sampled_from([0, 0, 1, 5, 6, -1, -4, -5, -6, 10, 60, 120, 180, 24 * 60, -24 * 60, 7 * 24 * 60])
    off_us = st.sampled_from([0, 0, 0, 1, -1])
    times = st.builds(lambda minute, off: midnight_us + minute * MINUTE_US + off, minutes, off_us)
    lessons_after = st.builds(
        lambda days, off: midnight_us + days * 24 * 60 * MINUTE_US + off,
        st.sampled_from([0, 0, 1, 6, 7, 14, 15, 28, -1]),
        off_us,
    )
    plans = st.sampled_from(["p1", "p1", "教案二"])
    about_plans = {"subject": plans}
    event = st.one_of(
        _event("prep.plan.opened", times, **about_plans),
        _event("prep.heartbeat.recorded", times, **about_plans, had_input=st.sampled_from([None, True, False])),
        _event("prep.plan.edited", times, **about_plans, substantive=st.booleans(), characters_changed=characters),
        _event("prep.plan.edited", times, **about_plans, substantive=st.just(value=True), characters_changed=characters),
        _event(
            "prep.resource.attached",
            times,
            **about_plans,
            origin=st.sampled_from(["created", "reused"]),
            platform=st.sampled_from(["national", "school"]),
        ),
        _event("prep.plan.shared", times, **about_plans),
        _event("prep.plan.completed", times, **about_plans),
        _event("prep.plan.completed", times, **about_plans),
        _event(
            "prep.plan.coedited",
            times,
            **about_plans,
            editor_id=st.one_of(students, st.just(KEY)),
            owner_id=st.one_of(st.just(""), students),
            characters_changed=characters,
        ),
        _event("prep.plan.reviewed", times, **about_plans),
        _event("prep.plan.taught", st.one_of(times, lessons_after), **about_plans, lesson_start_us=lessons_after),
        _event("prep.plan.taught", times, **about_plans, lesson_start_us=st.one_of(times, lessons_after)),
    )
    return _keyed(st.lists(event, min_size=1, max_size=max_events))


def activities(max_events: int = 16) -> st.SearchStrategy[Callable[[str], list[Event]]]:
    """Draw a research activity: a function from its key to its events; exactly 80 % of the time is often met.

    Things happen exactly half an hour before and after its time, and schedules are empty, turned round or a week long.
    """
    minutes = st.sampled_from([0, 2, 8, 10, 11, 0, 2, 8, 10, 11, -30, -31, 40, 41, 7 * 24 * 60])
    moments = _moments(minutes.map(lambda minute: BASE_US + minute * MINUTE_US))
    return _keyed(moments.flatmap(lambda moments: _activity(st.sampled_from(moments), max_events)))


def _activity(times: st.SearchStrategy[int], max_events: int) -> st.SearchStrategy[list[Drawn]]:
    own = {"teacher_id": students}
    items = {"feedback_id": st.sampled_from(["f1", "f2"])}
    published = _event(
        "research.activity.published",
        times,
        invited=st.lists(students, max_size=5),
        scheduled_start_us=times,
        scheduled_end_us=times,
    )
    joined = _event("research.participant.joined", times, **own, schoolid=st.sampled_from(["", "s1", "学校二"]))
    # Two weeks after something else, and a microsecond beside.
    off_us = st.sampled_from([0, 0, 1, -1])
    later = st.builds(lambda time_us, off_us: time_us + 14 * DAY_US + off_us, times, off_us)
    # As late as feedback can be, and as long before the end of the lesson as it can be.
    far = st.builds(
        lambda time_us, days, off_us: time_us + round(days * DAY_US) + off_us, times, st.sampled_from([-28, 0.5]), off_us
    )
    event = st.one_of(
        published,
        joined,
        joined,
        _event("research.participant.left", times, **own),
        _event("research.contribution.posted", times, **own),
        _event("research.contribution.posted", times, **own),
        _event("research.lesson.observed", times, **own),
        _event("research.feedback.given", times, **own, **items, lesson_end_us=st.one_of(times, far)),
        _event("research.report.generated", times, report_id=st.sampled_from(["r1", "r2"])),
        _event(
            "research.improvement.linked",
            st.one_of(times, later),
            **own,
            **items,
            improvement_id=st.sampled_from(["i1", "i2", "i3"]),
        ),
    )
    return st.lists(event, min_size=1, max_size=max_events)
