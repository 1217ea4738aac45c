"""Metric 10."""

from collections import deque

from schemas.metrics.metric import WINDOW_10M
from tests.oracle.classroom.lessons import Lesson
from tests.oracle.rows import Event, RowKey, Rows, quotient, window_starts

__all__ = ["hand_rows"]


def hand_rows(lesson: Lesson) -> Rows:
    """Metric 10: each call answers the earliest raise of its student that is still up."""
    hands = lesson.only("hand.raised", "hand.called")
    if not hands:
        return {}
    raised: list[tuple[int, int | None, bool]] = []
    calls = cold = 0
    for student in {event["student_id"] for event in hands}:
        up: deque[int] = deque()
        own = [event for event in hands if event["student_id"] == student]
        for event in sorted(own, key=lambda event: (event["time_us"], event["type"].endswith("called"))):
            if event["type"].endswith("raised"):
                up.append(event["time_us"])
                continue
            calls += counts(lesson, event)
            if up:
                first_us = up.popleft()
                raised.append((first_us, event["time_us"] - first_us, lesson.is_of_class(event)))
            else:
                cold += counts(lesson, event)
        raised += [(time_us, None, lesson.is_of_class(own[0])) for time_us in up]
    in_lesson = [delay for time_us, delay, is_own in raised if is_own and lesson.start_us <= time_us <= lesson.latest_us]
    delays = sorted(delay / 1e6 for delay in in_lesson if delay is not None)
    rows: Rows = {}
    for start_us in window_starts((time_us for time_us, _, _ in raised), WINDOW_10M):
        end_us = start_us + WINDOW_10M.size_us
        inside = [delay for time_us, delay, is_own in raised if is_own and start_us <= time_us < end_us]
        answered = sum(delay is not None for delay in inside)
        row = quotient(start_us, end_us, answered, len(inside), len(inside))
        rows[RowKey("call_through_rate", WINDOW_10M.name, lesson.key, "", start_us)] = row
    told = {
        "call_through_rate": lesson.so_far(len(delays), len(in_lesson), len(in_lesson)),
        "cold_call_share": lesson.so_far(cold, calls, calls),
        "call_delay_seconds": lesson.so_far(sum(delays), len(delays), len(delays)),
        "longest_call_delay_seconds": lesson.so_far(max(delays, default=0), bool(delays), len(delays), delays),
    }
    return rows | {RowKey(metric, "lesson", lesson.key, "", 0): row for metric, row in told.items()}


def counts(lesson: Lesson, event: Event) -> bool:
    """Tell whether the event is one of the class, in the lesson so far."""
    return lesson.is_of_class(event) and lesson.holds(event)
