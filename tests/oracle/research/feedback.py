"""Metrics 25 to 27."""

from statistics import median

from schemas.metrics.research.feedback import LONGEST_LATENCY_US, LONGEST_LESSON_US, LOOP_WITHIN_US
from tests.oracle.research.activities import FEEDBACK, IMPROVED, REPORTED, Activity
from tests.oracle.rows import Event, Rows, in_order, of_type

__all__ = ["feedback_rows"]


def feedback_rows(activity: Activity) -> Rows:
    """Metrics 25 to 27; the first two only where there is feedback."""
    events = activity.events
    first: dict[str, Event] = {}
    for event in in_order(of_type(events, FEEDBACK)):
        first.setdefault(event["feedback_id"], event)
    links = of_type(events, IMPROVED)
    closed = 0
    latencies = []
    for feedback_id, given in first.items():
        waits_us = [link["time_us"] - given["time_us"] for link in links if link["feedback_id"] == feedback_id]
        closed += any(0 <= wait_us <= LOOP_WITHIN_US for wait_us in waits_us)
        latency_us = given["time_us"] - given["lesson_end_us"]
        if latency_us >= -LONGEST_LESSON_US:
            latencies.append(min(max(0, latency_us), LONGEST_LATENCY_US) / 1e6)
    reports = len({event["report_id"] for event in of_type(events, REPORTED)})
    improvements = len({event["feedback_id"] for event in links} & set(first))
    rows = activity.row("reports_generated", reports, 1, reports)
    rows |= activity.row("improvements_per_report", improvements, reports, reports)
    if first:
        middle = median(latencies) if latencies else 0
        rows |= activity.row("feedback_latency_seconds", middle, bool(latencies), len(latencies), sorted(latencies))
        rows |= activity.row("closed_loop_rate", closed, len(first), len(first))
    return rows
