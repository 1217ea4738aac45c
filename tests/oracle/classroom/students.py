"""What each student did in a lesson."""

from collections.abc import Iterable, Sequence

from schemas.metrics.classroom.lessons import INTERACTION_TYPES
from schemas.metrics.classroom.students import STUDENT_PARTS
from tests.oracle.classroom.lessons import ANSWERED, LEFT, Lesson
from tests.oracle.rows import NEVER_US, Event, Interval, RowKey, Rows, of_type, overlap_us, quotient

__all__ = ["student_rows"]


def student_rows(lesson: Lesson) -> Rows:
    """What each student did; a stay is presence once a left or the end of the lesson has closed it.

    The window of a row is the lesson so far as its starts and ends and the student's own events tell it.
    """
    closed = lesson.stays
    if not lesson.has_ended:
        closed = [stay for stay in lesson.stays if is_closed_by_left(stay, lesson.events)]
    students = {event["student_id"] for event in lesson.events if event.get("student_id")}
    for started in lesson.only("lesson.started"):
        students |= set(started["roster"])
    rows: Rows = {}
    for student in students:
        own = [event for event in lesson.events if event.get("student_id") == student]
        stays = [stay for stay in closed if stay.person == student]
        inside = [event for event in own if lesson.holds(event)]
        parts = student_parts(lesson, student, inside, stays)
        minutes = parts["present_seconds"] / 60
        acts = int(parts["interactions"])
        told = [parts[name] for name in STUDENT_PARTS]
        own_us = [event["time_us"] for event in own]
        start_us = lesson.start_us if lesson.plan else min(own_us)
        end_us = lesson.end_us if lesson.has_ended else max(start_us, min(max(own_us, default=start_us), lesson.latest_us))
        row = quotient(start_us, end_us, acts, minutes, int(minutes), told)
        rows[RowKey("student_lesson", "student", lesson.key, student, 0)] = row
    return rows


def is_closed_by_left(stay: Interval, events: Iterable[Event]) -> bool:
    """Tell whether the student left after the stay began."""
    return any(event["student_id"] == stay.person and event["time_us"] > stay.start_us for event in of_type(events, LEFT))


def student_parts(lesson: Lesson, student: str, own: Sequence[Event], stays: Sequence[Interval]) -> dict[str, float]:
    """Return the parts of one student's row by name."""
    answers = of_type(own, ANSWERED)
    graded = [event["correct"] for event in answers if event.get("correct") is not None]
    tests = of_type(own, "classroom.assessment.completed")
    steps = of_type(own, "classroom.plan.progressed")
    scheduled_us, attended_us = 0, 0
    if lesson.due is not None and lesson.is_measured and student in lesson.roster:
        scheduled_us = lesson.due[1] - lesson.due[0]
        attended_us = sum(overlap_us(stay, *lesson.due) for stay in lesson.stays if stay.person == student)
    return {
        "scheduled_seconds": scheduled_us / 1e6,
        "attended_seconds": attended_us / 1e6,
        "present_seconds": sum(overlap_us(stay, lesson.start_us, NEVER_US) for stay in stays) / 1e6,
        "interactions": len(of_type(own, *INTERACTION_TYPES)),
        "answers": len(answers),
        "graded_answers": len(graded),
        "correct_answers": sum(graded),
        "hands_raised": len(of_type(own, "classroom.hand.raised")),
        "hands_called": len(of_type(own, "classroom.hand.called")),
        "assessments": len(tests),
        "assessment_score_sum": sum(event["score"] for event in tests),
        "plan_steps": len(steps),
        "plan_progress": max([0.0, *(event["progress"] for event in steps)]),
    }
