"""Metrics of persons over any number of lessons or activities, made from the parts of two rows.

``student_lesson`` and ``participant_activity`` hold what one person did in one lesson or activity. Their parts are added up
over the lessons and activities of a person, a class, a school and so on; a metric is a sum divided by a sum.
"""

from dataclasses import dataclass
from typing import Final, Literal

from schemas.metrics.classroom.students import STUDENT_PARTS
from schemas.metrics.research.participants import PARTICIPANT_PARTS

__all__ = ["PERSON_METRICS", "PERSON_PARTS", "PersonMetric"]

#: metric -> its parts, in order.
PERSON_PARTS: Final = {"student_lesson": STUDENT_PARTS, "participant_activity": PARTICIPANT_PARTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonMetric:
    """``value = sum(numerator) / sum(denominator) * scale``; a zero denominator gives NULL.

    ``source`` is the metric whose rows are added up. ``numerator`` and ``denominator`` name parts of it; several are
    multiplied within the row, none stand for 1. ``sample`` names the part that is the sample; none: the rows. The
    denominator that is stored is already divided by ``scale``. A value lies between 0 and ``highest``; None: no bound.
    """

    name: str
    chinese: str
    english: str
    unit: str
    highest: float | None
    source: Literal["student_lesson", "participant_activity"]
    numerator: tuple[str, ...]
    denominator: tuple[str, ...] = ()
    scale: float = 1.0
    sample: str = ""
    direction: Literal["higher", "lower", "context"] = "higher"

    def __post_init__(self) -> None:
        known = PERSON_PARTS[self.source]
        if unknown := {*self.numerator, *self.denominator, *filter(None, [self.sample])} - set(known):
            raise ValueError(f"{self.name}: {self.source} has no part {', '.join(sorted(unknown))}")


PERSON_METRICS: Final = (
    PersonMetric(
        name="student_attendance_rate",
        chinese="学生出勤率",
        english="attendance of students",
        unit="share",
        highest=1.0,
        source="student_lesson",
        numerator=("attended_seconds",),
        denominator=("scheduled_seconds",),
    ),
    PersonMetric(
        name="student_interactions_per_minute",
        chinese="学生互动频次",
        english="interactions of a student per minute",
        unit="interactions per minute of presence",
        highest=None,
        source="student_lesson",
        numerator=("interactions",),
        denominator=("present_seconds",),
        scale=60.0,
    ),
    PersonMetric(
        name="student_correct_rate",
        chinese="学生正确率",
        english="correct answers of students",
        unit="share",
        highest=1.0,
        source="student_lesson",
        numerator=("correct_answers",),
        denominator=("graded_answers",),
        sample="graded_answers",
    ),
    PersonMetric(
        name="student_assessment_score",
        chinese="学生测评得分率",
        english="assessment results of students",
        unit="share",
        highest=1.0,
        source="student_lesson",
        numerator=("assessment_score_sum",),
        denominator=("assessments",),
        sample="assessments",
    ),
    PersonMetric(
        name="student_plan_steps_per_lesson",
        chinese="学生个性学进展",
        english="steps in personal plans per lesson",
        unit="steps per lesson",
        highest=None,
        source="student_lesson",
        numerator=("plan_steps",),
    ),
    PersonMetric(
        name="teacher_research_attendance",
        chinese="教师教研出席率",
        english="research activities attended",
        unit="share",
        highest=1.0,
        source="participant_activity",
        numerator=("invited", "joined"),
        denominator=("invited",),
        sample="invited",
    ),
    PersonMetric(
        name="teacher_effective_attendance",
        chinese="教师有效教研率",
        english="research activities attended effectively",
        unit="share",
        highest=1.0,
        source="participant_activity",
        numerator=("effective",),
        denominator=("invited",),
        sample="invited",
    ),
    PersonMetric(
        name="teacher_contributions_per_minute",
        chinese="教师教研贡献频次",
        english="a teacher's contributions per minute",
        unit="contributions per attended minute",
        highest=None,
        source="participant_activity",
        numerator=("contributions",),
        denominator=("attended_seconds",),
        scale=60.0,
    ),
    PersonMetric(
        name="teacher_observations",
        chinese="教师听评课",
        english="lessons observed per activity",
        unit="observations per activity",
        highest=None,
        source="participant_activity",
        numerator=("observations",),
    ),
    PersonMetric(
        name="teacher_improvements",
        chinese="教师改进",
        english="improvements made per activity",
        unit="improvements per activity",
        highest=None,
        source="participant_activity",
        numerator=("improvements",),
    ),
)
