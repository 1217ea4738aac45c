"""Metrics 1 to 15 of a lesson, one module a group."""

from collections.abc import Sequence

from schemas.metrics.rules import MetricRules
from tests.oracle.classroom.course import course_rows
from tests.oracle.classroom.engagement import engagement_rows
from tests.oracle.classroom.hands import hand_rows
from tests.oracle.classroom.lessons import read_lesson
from tests.oracle.classroom.participation import participation_rows
from tests.oracle.classroom.questions import question_rows
from tests.oracle.classroom.students import student_rows
from tests.oracle.classroom.talk import talk_rows
from tests.oracle.classroom.waiting import waiting_rows
from tests.oracle.rows import Event, Rows

__all__ = ["lesson_rows"]


def lesson_rows(key: str, events: Sequence[Event], rules: MetricRules) -> Rows:
    """Metrics 1 to 15 of one lesson, and the rows of its students."""
    lesson = read_lesson(key, events)
    rows = (
        talk_rows(lesson) | waiting_rows(lesson) | question_rows(lesson) | participation_rows(lesson) | course_rows(lesson)
    )
    return rows | hand_rows(lesson) | student_rows(lesson) | engagement_rows(lesson, rows, rules)
