"""Who takes part, how many and how often: metrics 8 to 11."""

from typing import Final

from schemas.metrics.classroom.lessons import INTERACTION_EVENTS, PRESENCE_EVENTS
from schemas.metrics.metric import WINDOW_1M, WINDOW_5M, WINDOW_10M, WINDOW_LESSON, WINDOW_PLACE, Metric

__all__ = ["METRICS"]

_ANY: Final = "when any event of the lesson lies in the window (lesson: is stored)"

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="participation_breadth",
        number=8,
        chinese="参与广度",
        english="students who take part",
        family="classroom",
        module="participation",
        unit="share",
        highest=1.0,
        numerator="distinct students of the class with at least one interaction in the window",
        denominator="distinct students of the class present at any moment of the window (without attendance: the roster), "
        "and those who interacted in it",
        sample="the denominator",
        exists=_ANY,
        windows=(WINDOW_5M, WINDOW_10M, WINDOW_LESSON, WINDOW_PLACE),
        direction="higher",
        events=(*INTERACTION_EVENTS, *PRESENCE_EVENTS),
        source="District catalogue, metric 8",
        parts="lesson: the number of guests, who were there or interacted and are on no roster. Otherwise nothing",
    ),
    Metric(
        name="participation_gini",
        number=9,
        chinese="参与基尼系数",
        english="inequality of participation (Gini)",
        family="classroom",
        module="participation",
        unit="0 to 1",
        highest=1.0,
        numerator="sum over all ordered pairs of students of the difference of their interactions",
        denominator="2 x students x interactions of all; students as in participation_breadth, zeros included",
        sample="students",
        exists="when any event of the lesson is stored",
        windows=(WINDOW_LESSON, WINDOW_PLACE),
        direction="lower",
        events=(*INTERACTION_EVENTS, *PRESENCE_EVENTS),
        parts="the same with the correction n / (n - 1) for few students (Deltas 2003); NULL for one student, or without "
        "interactions",
        source="Gini's mean difference, relative, without correction (Gini 1912). Merged as sums over lessons: who was in "
        "more of them, or a guest in one (双师), makes no inequality",
    ),
    Metric(
        name="hand_raises_per_student_minute",
        number=10,
        chinese="人均举手频次",
        english="hands raised per student and minute",
        family="classroom",
        module="participation",
        unit="hands per student and minute",
        highest=None,
        numerator="`hand.raised` of the class in the window",
        denominator="minutes of presence of the class in the window, added up",
        sample="those minutes, whole ones",
        exists=_ANY,
        windows=(WINDOW_10M, WINDOW_LESSON, WINDOW_PLACE),
        direction="higher",
        events=("hand.raised", *PRESENCE_EVENTS),
        source="Person-time incidence rate",
    ),
    Metric(
        name="interactions_per_student_minute",
        number=11,
        chinese="人均互动频次",
        english="interactions per student and minute",
        family="classroom",
        module="participation",
        unit="interactions per student and minute",
        highest=None,
        numerator="interactions of the class in the window",
        denominator="minutes of presence of the class in the window, added up",
        sample="those minutes, whole ones",
        exists=_ANY,
        windows=(WINDOW_1M, WINDOW_5M, WINDOW_10M, WINDOW_LESSON, WINDOW_PLACE),
        direction="higher",
        events=(*INTERACTION_EVENTS, *PRESENCE_EVENTS),
        source="Person-time incidence rate",
    ),
)
