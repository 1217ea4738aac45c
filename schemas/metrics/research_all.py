"""The metrics of a teaching-research activity (教研), numbers 22 to 27. Key: the activity.

**Scheduled time** is that of the earliest ``activity.published`` (by time, source, id). **Presence** of a teacher goes
from ``joined`` to the next ``left``; a repeated joined or left has no effect. The bounds of every row are the scheduled
start and end; without an ``activity.published`` they are the earliest and the latest event. Over 28 days and a term the
rows of the activities scheduled to end there are merged.
"""

from typing import Final

from schemas.metrics.metric import DAY_US, WINDOW_ACTIVITY, WINDOW_PARTICIPANT, Metric

__all__ = ["EFFECTIVE_PERCENT", "LOOP_WITHIN_US", "PARTICIPANT_PARTS", "RESEARCH_METRICS"]

#: Who stays for this share of the minutes took part effectively; a whole number, so that the comparison is exact.
EFFECTIVE_PERCENT: Final = 80
#: A feedback item is answered if an improvement is linked within so long.
LOOP_WITHIN_US: Final = 14 * DAY_US

#: What ``parts`` of ``participant_activity`` holds, in order.
PARTICIPANT_PARTS: Final = (
    "invited",  # 1 or 0
    "joined",  # 1 or 0
    "effective",  # 1 or 0, of the invited
    "attended_seconds",  # of presence within the scheduled time
    "contributions",
    "observations",  # lesson.observed
    "feedback_items",  # distinct feedback_id given
    "improvements",  # distinct improvement_id linked
)

_PUBLISHED: Final = "when an `activity.published` is stored"
_WINDOWS: Final = (WINDOW_ACTIVITY,)
_MARKS: Final = ("activity.published", "participant.joined", "participant.left")

RESEARCH_METRICS: Final = (
    Metric(
        name="participation_rate", number=22, chinese="参与率", english="invited teachers who take part",
        family="research", module="meetings", unit="share",
        numerator="invited teachers who joined", denominator="teachers invited", sample="teachers invited",
        exists=_PUBLISHED, windows=_WINDOWS, direction="higher", events=("activity.published", "participant.joined"),
        source="District catalogue, metric 22",
    ),
    Metric(
        name="effective_participation_rate", number=22, chinese="有效参与率",
        english="invited teachers who take part effectively", family="research", module="meetings",
        unit="share", numerator="invited teachers present for at least 80 % of the scheduled time",
        denominator="teachers invited", sample="teachers invited", exists=_PUBLISHED, windows=_WINDOWS,
        direction="higher", events=_MARKS, source="District catalogue, metric 22",
    ),
    Metric(
        name="contributions_per_minute", number=23, chinese="每分钟贡献数", english="contributions per minute",
        family="research", module="meetings",
        unit="contributions per attended minute", numerator="`contribution.posted`",
        denominator="minutes of presence of all participants within the scheduled time, added up",
        sample="the numerator", exists=_PUBLISHED, windows=_WINDOWS, direction="higher",
        events=(*_MARKS, "contribution.posted"), source="Person-time incidence rate",
    ),
    Metric(
        name="contribution_gini", number=23, chinese="贡献基尼系数", english="inequality of contributions (Gini)",
        family="research", module="meetings", unit="0 to 1",
        numerator="sum over all ordered pairs of participants of the difference of their contributions",
        denominator="2 x participants x contributions of all; participants: who joined or contributed, zeros included",
        sample="participants", exists=_PUBLISHED, windows=_WINDOWS, direction="lower",
        events=("activity.published", "participant.joined", "contribution.posted"),
        source="Gini's mean difference, relative (Gini 1912)", merge="gini",
    ),
    Metric(
        name="cross_school_mix", number=24, chinese="跨校交流度", english="mix of schools among the participants",
        family="research", module="meetings", unit="0 to 1",
        numerator="entropy, natural logarithm, of the participants by school (`schoolid` of each one's earliest "
        "`participant.joined` that names one); those without a school are left out",
        denominator="ln(number of their schools), 0 for one school", sample="participants with a school",
        exists=_PUBLISHED, windows=_WINDOWS, direction="higher", events=("activity.published", "participant.joined"),
        source="Shannon's entropy, normalised (Pielou 1966); merged as a sum of entropies over a sum of logarithms",
    ),
    Metric(
        name="feedback_latency_seconds", number=25, chinese="反馈时延", english="time from the lesson to its feedback",
        family="research", module="feedback",
        unit="seconds",
        numerator="median over the feedback items of: earliest `feedback.given` of the item - its `lesson_end`; 0 without "
        "any",
        denominator="1; 0 without any", sample="feedback items", exists="when a `feedback.given` is stored",
        windows=_WINDOWS, direction="lower", events=("activity.published", "feedback.given"),
        source="District catalogue, metric 25", merge="values", quantile=0.5, parts="the latencies in seconds, ascending",
    ),
    Metric(
        name="closed_loop_rate", number=26, chinese="反馈闭环率", english="feedback that led to an improvement",
        family="research", module="feedback", unit="share",
        numerator="those with an `improvement.linked` to it at the earliest `feedback.given` or at most 14 days after it",
        denominator="feedback items (distinct `feedback_id` of `feedback.given`)", sample="the denominator",
        exists="when a `feedback.given` is stored", windows=_WINDOWS, direction="higher",
        events=("activity.published", "feedback.given", "improvement.linked"), source="District catalogue, metric 26",
    ),
    Metric(
        name="reports_generated", number=27, chinese="评课报告数", english="reports on observed lessons",
        family="research", module="feedback", unit="reports",
        numerator="distinct `report_id` of `report.generated`", denominator="1", sample="the numerator",
        exists="when any event of the activity is stored", windows=_WINDOWS, direction="context",
        events=("activity.published", "report.generated"), source="District catalogue, metric 27",
    ),
    Metric(
        name="improvements_per_report", number=27, chinese="每份报告改进数", english="improvements per report",
        family="research", module="feedback",
        unit="improvements per report", numerator="distinct `improvement_id` of `improvement.linked`",
        denominator="distinct `report_id` of `report.generated`", sample="the denominator",
        exists="when any event of the activity is stored", windows=_WINDOWS, direction="higher",
        events=("activity.published", "report.generated", "improvement.linked"), source="District catalogue, metric 27",
    ),
    Metric(
        name="participant_activity", number=22, chinese="教师教研参与", english="a teacher's research activity",
        family="research", module="participants",
        unit="contributions per attended minute", numerator="`contribution.posted` of the teacher",
        denominator="minutes of presence of the teacher within the scheduled time", sample="the numerator",
        exists="for each teacher whom any `activity.published` invites, or who has an event of their own in the activity "
        "(not the host as such); the earliest announcement decides who is invited",
        windows=(WINDOW_PARTICIPANT,), direction="higher",
        events=(*_MARKS, "contribution.posted", "lesson.observed", "feedback.given", "improvement.linked"),
        item="the teacher", source="What metrics of persons are merged from: 22, 23, 28 to 30",
        parts=", ".join(PARTICIPANT_PARTS),
    ),
)  # fmt: skip
