"""The engagement index: metric 15."""

from typing import Final

from schemas.metrics.classroom.lessons import INTERACTION_EVENTS, PRESENCE_EVENTS
from schemas.metrics.metric import WINDOW_LESSON, WINDOW_PLACE, Metric

__all__ = ["METRICS"]

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="engagement_index",
        number=15,
        chinese="课堂参与指数",
        english="engagement index",
        family="classroom",
        module="engagement",
        unit="0 to 1",
        highest=1.0,
        numerator="sum of weight x part over the parts that are known: response_rate, participation_breadth, 1 - "
        "participation_gini, interactions_per_student_minute / CLASSPULSE_ENGAGEMENT_FULL_RATE (at most 1), each of the "
        "lesson so far",
        denominator="sum of the weights of those parts: a lesson without questions is measured by the others alone, since "
        "not to ask is neither good nor bad by itself",
        sample="students as in participation_breadth",
        exists="when any event of the lesson is stored",
        windows=(WINDOW_LESSON, WINDOW_PLACE),
        direction="higher",
        events=("question.asked", *INTERACTION_EVENTS, *PRESENCE_EVENTS),
        source="A blend of 6, 8, 9 and 11; weights are configuration",
        merge="blend",
        parts="the four parts as they are weighted (NULL where unknown), then their four weights",
    ),
)
