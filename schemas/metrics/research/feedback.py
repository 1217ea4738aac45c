"""What becomes of a research activity: metrics 25 to 27."""

from typing import Final

from schemas.metrics.classroom.lessons import LONGEST_LESSON_US
from schemas.metrics.metric import DAY_US, SECOND_US, WINDOW_ACTIVITY, Metric

__all__ = ["LONGEST_LATENCY_US", "LONGEST_LESSON_US", "LOOP_WITHIN_US", "METRICS"]

#: A feedback item is answered if an improvement is linked within so long.
LOOP_WITHIN_US: Final = 14 * DAY_US
#: Feedback later than this is as late as feedback can be.
LONGEST_LATENCY_US: Final = 28 * DAY_US
#: Feedback and reports are on time so long after the end of the activity, and an improvement so long after the feedback.
_FOLLOWING_US: Final = 14 * DAY_US

_WINDOWS: Final = (WINDOW_ACTIVITY,)

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="feedback_latency_seconds",
        number=25,
        chinese="反馈时延",
        english="time from the lesson to its feedback",
        family="research",
        module="feedback",
        unit="seconds",
        highest=LONGEST_LATENCY_US / SECOND_US,
        numerator="median over the feedback items of: earliest `feedback.given` of the item - its `lesson_end`, 0 if it is "
        "given during the lesson and 28 days at most; an item whose `lesson_end` is more than 12 h after it is left out; 0 "
        "without any",
        denominator="1; 0 without any",
        sample="feedback items that are not left out",
        exists="when a `feedback.given` is stored",
        windows=_WINDOWS,
        direction="lower",
        events=("activity.published", "feedback.given"),
        source="District catalogue, metric 25",
        merge="values",
        quantile=0.5,
        parts="the latencies in seconds, ascending",
        evidence_us=_FOLLOWING_US,
    ),
    Metric(
        name="closed_loop_rate",
        number=26,
        chinese="反馈闭环率",
        english="feedback that led to an improvement",
        family="research",
        module="feedback",
        unit="share",
        highest=1.0,
        numerator="those with an `improvement.linked` to it at the earliest `feedback.given` or at most 14 days after it",
        denominator="feedback items (distinct `feedback_id` of `feedback.given`)",
        sample="the denominator",
        exists="when a `feedback.given` is stored",
        windows=_WINDOWS,
        direction="higher",
        events=("activity.published", "feedback.given", "improvement.linked"),
        source="District catalogue, metric 26",
        evidence_us=_FOLLOWING_US + LOOP_WITHIN_US,
    ),
    Metric(
        name="reports_generated",
        number=27,
        chinese="评课报告数",
        english="reports on observed lessons",
        family="research",
        module="feedback",
        unit="reports",
        highest=None,
        numerator="distinct `report_id` of `report.generated`",
        denominator="1",
        sample="the numerator",
        exists="when any event of the activity is stored",
        windows=_WINDOWS,
        direction="context",
        events=("activity.published", "report.generated"),
        source="District catalogue, metric 27",
        evidence_us=_FOLLOWING_US,
    ),
    Metric(
        name="improvements_per_report",
        number=27,
        chinese="每份报告改进数",
        english="feedback items that led to an improvement, per report",
        family="research",
        module="feedback",
        unit="improvements per report",
        highest=None,
        numerator="feedback items (distinct `feedback_id` of `feedback.given`) with an `improvement.linked` to it, at any "
        "time: each counts once, however many improvements are linked to it",
        denominator="distinct `report_id` of `report.generated`",
        sample="the denominator",
        exists="when any event of the activity is stored",
        windows=_WINDOWS,
        direction="higher",
        events=("activity.published", "report.generated", "feedback.given", "improvement.linked"),
        source="District catalogue, metric 27",
        evidence_us=_FOLLOWING_US + LOOP_WITHIN_US,
    ),
)
