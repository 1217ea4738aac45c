"""Each student's part in a lesson, from which the metrics of persons are merged."""

from typing import Final

from schemas.metrics.classroom.lessons import INTERACTION_EVENTS, PRESENCE_EVENTS
from schemas.metrics.metric import WINDOW_STUDENT, Metric

__all__ = ["METRICS", "STUDENT_PARTS"]

#: What ``parts`` of ``student_lesson`` holds, in order.
STUDENT_PARTS: Final = (
    "scheduled_seconds",  # of the lesson, if the student is on the roster and attendance is taken; otherwise 0
    "attended_seconds",  # as attendance_rate counts them, if on the roster; otherwise 0
    "present_seconds",  # of presence in the lesson so far
    "interactions",
    "answers",
    "graded_answers",  # answers that say whether they are correct
    "correct_answers",
    "hands_raised",
    "hands_called",
    "assessments",
    "assessment_score_sum",
    "plan_steps",  # plan.progressed
    "plan_progress",  # the highest progress told in the lesson; 0 where none was
)

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="student_lesson",
        number=11,
        chinese="学生课堂表现",
        english="a student's lesson",
        family="classroom",
        module="students",
        unit="interactions per minute",
        highest=None,
        numerator="interactions of the student in the lesson",
        denominator="minutes of presence of the student in the lesson: stays that a left or its end has closed",
        sample="those minutes, whole ones",
        exists="for each student on the roster of any `lesson.started`, or with an event of their own in the lesson. Its "
        "bounds are the earliest `lesson.started` and the latest `lesson.ended`; where one is missing, the student's "
        "earliest or latest event",
        windows=(WINDOW_STUDENT,),
        direction="higher",
        events=(
            *INTERACTION_EVENTS,
            "hand.called",
            "assessment.completed",
            "plan.progressed",
            *PRESENCE_EVENTS,
        ),
        item="the student",
        source="What metrics of persons are merged from: 9, 12, 28 to 30",
        parts=", ".join(STUDENT_PARTS),
    ),
)
