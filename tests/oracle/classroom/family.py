"""Metrics 1 to 15 of a lesson, one module a group."""

from collections.abc import Sequence
from dataclasses import replace

from schemas.metrics.classroom.lessons import OF_CLASS
from schemas.metrics.rules import MetricRules
from tests.oracle.classroom.course import course_rows
from tests.oracle.classroom.engagement import engagement_rows
from tests.oracle.classroom.hands import hand_rows
from tests.oracle.classroom.lessons import Lesson, read_lesson
from tests.oracle.classroom.participation import participation_rows
from tests.oracle.classroom.questions import question_rows
from tests.oracle.classroom.students import student_rows
from tests.oracle.classroom.talk import talk_rows
from tests.oracle.classroom.waiting import waiting_rows
from tests.oracle.rows import Event, RowKey, Rows

__all__ = ["lesson_rows"]

BREADTH = "participation_breadth"


def lesson_rows(key: str, events: Sequence[Event], rules: MetricRules) -> Rows:
    """Metrics 1 to 15 of one lesson, and the rows of its students and, if it is in several places, of its classes."""
    lesson = read_lesson(key, events)
    rows = talk_rows(lesson) | waiting_rows(lesson) | student_rows(lesson) | class_rows(lesson, rules)
    sides = {side_of(event) for event in lesson.only("lesson.started")}
    for side in sides if len(sides) > 1 else ():
        rows |= place_rows(key, events, side, rules)
    return rows


def class_rows(lesson: Lesson, rules: MetricRules) -> Rows:
    """Return the rows of questions, participation, hands and the course, and the index made of them."""
    rows = question_rows(lesson) | participation_rows(lesson) | course_rows(lesson) | hand_rows(lesson)
    return rows | engagement_rows(lesson, rows, rules)


def side_of(started: Event) -> tuple[str, str]:
    """Return school and class."""
    return started.get("schoolid") or "", started.get("classid") or ""


def place_rows(key: str, events: Sequence[Event], side: tuple[str, str], rules: MetricRules) -> Rows:
    """The metrics of a class of a lesson in several places: those of the lesson with its roster alone."""
    own = [
        {**event, "roster": []} if event["type"] == "classroom.lesson.started" and side_of(event) != side else event
        for event in events
    ]
    found = class_rows(read_lesson(key, own, open_without_roster=False), rules)
    return {
        RowKey(place.metric, "place", key, "/".join(side), 0): row if place.metric != BREADTH else replace(row, parts=())
        for place, row in found.items()
        if place.window == "lesson" and place.item == "" and place.metric in OF_CLASS
    }
