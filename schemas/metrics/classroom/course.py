"""The course of a lesson, its attendance, strategies and tools: metrics 12 to 14."""

from typing import Final

from schemas.metrics.classroom.lessons import PRESENCE_EVENTS
from schemas.metrics.metric import WINDOW_LESSON, WINDOW_PLACE, Metric

__all__ = ["METRICS", "PLATFORMS", "STRATEGIES"]

#: 问题引学, 情境创学, 活动互学, 评价优学, 数字助学, in the order of ``parts``.
STRATEGIES: Final = ("question_led", "situational", "interactive", "evaluative", "digital")
#: 国家, 市, 区, 校.
PLATFORMS: Final = ("national", "municipal", "district", "school")

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="attendance_rate",
        number=12,
        chinese="出勤率",
        english="attendance",
        family="classroom",
        module="course",
        unit="share",
        highest=1.0,
        numerator="seconds the students of the roster were present within the scheduled time; a stay that neither a left "
        "nor `lesson.ended` closes lasts until the scheduled end",
        denominator="students of the roster x scheduled seconds; 0 without any `attendance.joined` in the lesson, and for "
        "a timetable that ends before it starts or more than 12 h later",
        sample="students of the roster",
        exists="when a `lesson.started` is stored",
        windows=(WINDOW_LESSON, WINDOW_PLACE),
        direction="higher",
        events=PRESENCE_EVENTS,
        source="District catalogue, metric 12",
    ),
    Metric(
        name="delayed_start_seconds",
        number=12,
        chinese="延迟上课",
        english="late start of lessons",
        family="classroom",
        module="course",
        unit="seconds",
        highest=43_200.0,
        numerator="start of the lesson - scheduled start, 0 if early, the scheduled length at most",
        denominator="1; 0 for a timetable that cannot be",
        sample="1",
        exists="when a `lesson.started` is stored",
        windows=(WINDOW_LESSON,),
        direction="lower",
        events=("lesson.started",),
        source="District catalogue, metric 12",
    ),
    Metric(
        name="early_stop_seconds",
        number=12,
        chinese="提前下课",
        english="early end of lessons",
        family="classroom",
        module="course",
        unit="seconds",
        highest=43_200.0,
        numerator="scheduled end - end of the lesson, 0 if late, the scheduled length at most",
        denominator="1; 0 for a timetable that cannot be",
        sample="1",
        exists="when a `lesson.started` and a `lesson.ended` are stored",
        windows=(WINDOW_LESSON,),
        direction="lower",
        events=("lesson.started", "lesson.ended"),
        source="District catalogue, metric 12",
    ),
    Metric(
        name="strategy_share",
        number=13,
        chinese="五学占比",
        english="share of a five-study strategy",
        family="classroom",
        module="course",
        unit="share",
        highest=1.0,
        numerator="seconds under the strategy: from its `strategy.changed` to the next one (by time, source, id) or the "
        "lesson's end, within the lesson so far",
        denominator="seconds under any strategy",
        sample="`strategy.changed` of the lesson",
        exists="for each of the five strategies when a `strategy.changed` is stored",
        windows=(WINDOW_LESSON,),
        direction="context",
        events=("strategy.changed", "lesson.started", "lesson.ended"),
        item="the strategy",
        source="Five-study classroom (五学课堂) of the district",
    ),
    Metric(
        name="strategy_balance",
        number=13,
        chinese="五学均衡度",
        english="balance of the five-study strategies",
        family="classroom",
        module="course",
        unit="0 to 1",
        highest=1.0,
        numerator="entropy of the five shares, natural logarithm; 0 without any seconds",
        denominator="ln 5; 0 without any seconds",
        sample="`strategy.changed` of the lesson",
        exists="when a `strategy.changed` is stored",
        windows=(WINDOW_LESSON,),
        direction="higher",
        events=("strategy.changed", "lesson.started", "lesson.ended"),
        source="Shannon's entropy, normalised (Pielou 1966); merged as a sum of entropies over a sum of logarithms",
        parts="seconds under question_led, situational, interactive, evaluative, digital",
    ),
    Metric(
        name="tool_share",
        number=14,
        chinese="数字工具使用占比",
        english="time with digital tools",
        family="classroom",
        module="course",
        unit="share",
        highest=1.0,
        numerator="seconds in which a tool (item empty: of any platform) was in use, within the lesson so far; overlapping "
        "uses count once",
        denominator="seconds of the lesson so far",
        sample="`tool.used` of the item",
        exists="item empty: when any event of the lesson is stored. A platform: when a tool of it was used",
        windows=(WINDOW_LESSON,),
        direction="context",
        events=("tool.used", "lesson.started", "lesson.ended"),
        item="level of the platform: national, municipal, district, school; empty: any",
        source="District catalogue, metric 14. In a roll-up the seconds of a platform are divided by those of all lessons, "
        "with or without a use of it",
    ),
)
