"""Metrics 12 to 14."""

import math
from itertools import pairwise

from schemas.metrics.classroom.course import PLATFORMS, STRATEGIES
from tests.oracle.classroom.lessons import Lesson
from tests.oracle.rows import Interval, RowKey, Rows, in_order, overlap_us

__all__ = ["course_rows"]


def course_rows(lesson: Lesson) -> Rows:
    """Metrics 12 to 14."""
    rows = strategy_rows(lesson) | tool_rows(lesson)
    if lesson.plan is None:
        return rows
    due_start_us, due_end_us = lesson.due or (0, 0)
    length_us, known = due_end_us - due_start_us, lesson.due is not None
    present_us = sum(overlap_us(stay, due_start_us, due_end_us) for stay in lesson.stays if stay.person in lesson.roster)
    scheduled_us = len(lesson.roster) * length_us if lesson.is_measured else 0
    told = {
        "attendance_rate": lesson.so_far(present_us / 1e6, scheduled_us / 1e6, len(lesson.roster)),
        "delayed_start_seconds": lesson.so_far(min(length_us, max(0, lesson.start_us - due_start_us)) / 1e6, known, known),
    }
    if lesson.has_ended:
        told["early_stop_seconds"] = lesson.so_far(min(length_us, max(0, due_end_us - lesson.end_us)) / 1e6, known, known)
    return rows | {RowKey(metric, "lesson", lesson.key, "", 0): row for metric, row in told.items()}


def strategy_rows(lesson: Lesson) -> Rows:
    """Metric 13."""
    changes = in_order(lesson.only("strategy.changed"))
    if not changes:
        return {}
    seconds = dict.fromkeys(STRATEGIES, 0.0)
    ends_us = [*(change["time_us"] for change in changes[1:]), lesson.end_us]
    for change, until_us in zip(changes, ends_us, strict=True):
        spell = Interval("", change["time_us"], until_us)
        seconds[change["strategy"]] += overlap_us(spell, lesson.start_us, lesson.end_us) / 1e6
    total = sum(seconds.values())
    rows = {
        RowKey("strategy_share", "lesson", lesson.key, strategy, 0): lesson.so_far(own, total, len(changes))
        for strategy, own in seconds.items()
    }
    entropy = -sum(own / total * math.log(own / total) for own in seconds.values() if own > 0)
    balance = lesson.so_far(entropy, math.log(5) if total else 0, len(changes), list(seconds.values()))
    return rows | {RowKey("strategy_balance", "lesson", lesson.key, "", 0): balance}


def tool_rows(lesson: Lesson) -> Rows:
    """Metric 14: go from edge to edge and count the stretch if any use covers it."""
    rows: Rows = {}
    for platform in ("", *PLATFORMS):
        uses = [event for event in lesson.only("tool.used") if platform in {"", event["platform"]}]
        if platform and not uses:
            continue
        spans = [Interval("", use["time_us"], use["time_us"] + 1000 * use["duration_ms"]) for use in uses]
        edges_us = sorted({edge_us for span in spans for edge_us in span[1:]} | {lesson.start_us, lesson.end_us})
        used_us = 0
        for from_us, to_us in pairwise(edges_us):
            if any(span.start_us <= from_us and to_us <= span.end_us for span in spans):
                used_us += overlap_us(Interval("", from_us, to_us), lesson.start_us, lesson.end_us)
        row = lesson.so_far(used_us / 1e6, max(0, lesson.end_us - lesson.start_us) / 1e6, len(uses))
        rows[RowKey("tool_share", "lesson", lesson.key, platform, 0)] = row
    return rows
