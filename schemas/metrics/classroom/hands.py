"""Raised hands, and who is called: metric 10."""

from typing import Final

from schemas.metrics.metric import WINDOW_10M, WINDOW_LESSON, WINDOW_PLACE, Metric

__all__ = ["METRICS"]

_HANDS: Final = ("hand.raised", "hand.called")
_STORED: Final = "when a `hand.raised` or `hand.called` is stored"
_SOURCE: Final = (
    "District catalogue, metric 10. A `hand.called` answers the earliest `hand.raised` of the student, at or before it, "
    "that no call has answered yet; without one it is a cold call"
)

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="call_through_rate",
        number=10,
        chinese="举手应答率",
        english="raised hands that are called",
        family="classroom",
        module="hands",
        unit="share",
        highest=1.0,
        numerator="those `hand.raised` that a `hand.called` answers, whenever it comes",
        denominator="`hand.raised` in the window",
        sample="the denominator",
        exists="10m/1m: when a `hand.raised` lies in the window. lesson: " + _STORED,
        windows=(WINDOW_10M, WINDOW_LESSON, WINDOW_PLACE),
        direction="higher",
        events=_HANDS,
        source=_SOURCE,
    ),
    Metric(
        name="cold_call_share",
        number=10,
        chinese="未举手点名占比",
        english="calls of students who had not raised a hand",
        family="classroom",
        module="hands",
        unit="share",
        highest=1.0,
        numerator="cold calls: those `hand.called` that answer no `hand.raised`",
        denominator="`hand.called`",
        sample="the denominator",
        exists=_STORED,
        windows=(WINDOW_LESSON, WINDOW_PLACE),
        direction="context",
        events=_HANDS,
        source=_SOURCE,
    ),
    Metric(
        name="call_delay_seconds",
        number=10,
        chinese="举手等待时间",
        english="time from a raised hand to the call, mean",
        family="classroom",
        module="hands",
        unit="seconds",
        highest=None,
        numerator="sum of the times from each answered `hand.raised` to its `hand.called`",
        denominator="answered `hand.raised`",
        sample="the denominator",
        exists=_STORED,
        windows=(WINDOW_LESSON, WINDOW_PLACE),
        direction="lower",
        events=_HANDS,
        source=_SOURCE,
    ),
    Metric(
        name="longest_call_delay_seconds",
        number=10,
        chinese="最长举手等待时间",
        english="time from a raised hand to the call, longest",
        family="classroom",
        module="hands",
        unit="seconds",
        highest=None,
        numerator="longest time from an answered `hand.raised` to its `hand.called`; 0 without any",
        denominator="1; 0 without any",
        sample="answered `hand.raised`",
        exists=_STORED,
        windows=(WINDOW_LESSON, WINDOW_PLACE),
        direction="lower",
        events=_HANDS,
        source=_SOURCE,
        merge="values",
        quantile=1.0,
        parts="the times in seconds, ascending",
    ),
)
