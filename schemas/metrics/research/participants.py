"""What each teacher did in a research activity, from which the metrics of persons are merged."""

from typing import Final

from schemas.metrics.metric import WINDOW_PARTICIPANT, Metric
from schemas.metrics.research.activities import PRESENCE_EVENTS

__all__ = ["METRICS", "PARTICIPANT_PARTS"]

#: What ``parts`` of ``participant_activity`` holds, in order.
PARTICIPANT_PARTS: Final = (
    "invited",  # 1 or 0
    "joined",  # 1 or 0: took part
    "effective",  # 1 or 0, of the invited
    "attended_seconds",
    "contributions",
    "observations",  # lesson.observed
    "feedback_items",  # distinct feedback_id given
    "improvements",  # distinct feedback_id of the activity to which the teacher linked an improvement
)

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="participant_activity",
        number=22,
        chinese="教师教研参与",
        english="a teacher's research activity",
        family="research",
        module="participants",
        unit="contributions per attended minute",
        highest=None,
        numerator="`contribution.posted` of the teacher",
        denominator="minutes that the teacher attended",
        sample="those minutes, whole ones",
        exists="for each teacher whom any `activity.published` invites, or who has an event of their own in the activity "
        "(not the host as such); the earliest announcement decides who is invited",
        windows=(WINDOW_PARTICIPANT,),
        direction="higher",
        events=(*PRESENCE_EVENTS, "contribution.posted", "lesson.observed", "feedback.given", "improvement.linked"),
        item="the teacher",
        source="What metrics of persons are merged from: 22, 23, 28 to 30",
        parts=", ".join(PARTICIPANT_PARTS),
    ),
)
