"""Metrics of teaching research (22 to 27) by the plainest loops."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from schemas.metrics.research_all import LOOP_WITHIN_US
from tests.oracle.rows import (
    NEVER_US,
    Event,
    Metrics,
    RowKey,
    Rows,
    earliest,
    figures,
    in_order,
    of_type,
    overlap_us,
    presence,
)

__all__ = ["activity_rows"]

PUBLISHED = "research.activity.published"
JOINED, LEFT = "research.participant.joined", "research.participant.left"
CONTRIBUTED, OBSERVED = "research.contribution.posted", "research.lesson.observed"
FEEDBACK, IMPROVED = "research.feedback.given", "research.improvement.linked"
REPORTED = "research.report.generated"


def activity_rows(key: str, events: Sequence[Event]) -> Rows:
    """Metrics 22 to 27 of one research activity, and the rows of its participants."""
    times_us = [event["time_us"] for event in events]
    start_us, end_us = min(times_us), max(times_us)
    attended_us: Counter[str] = Counter()
    invited: set[str] = set()
    scheduled_us = 0
    published = of_type(events, PUBLISHED)
    if published:
        plan = earliest(published)
        invited = set(plan["invited"])
        start_us, end_us = plan["scheduled_start_us"], plan["scheduled_end_us"]
        scheduled_us = end_us - start_us
        for stay in presence(events, JOINED, LEFT, "teacher_id", NEVER_US):
            attended_us[stay.person] += overlap_us(stay, start_us, end_us)
    effective = {who for who in invited if scheduled_us > 0 and 10 * attended_us[who] >= 8 * scheduled_us}

    found: dict[str, tuple[float, float, int, Sequence[float]]] = {}
    if published:
        found |= meeting_metrics(events, invited, effective, sum(attended_us.values()))
    found |= feedback_metrics(events)
    rows: Rows = {
        RowKey(metric, "activity", key, "", 0): figures(start_us, end_us, *told) for metric, told in found.items()
    }
    # A teacher whom only a later announcement invites keeps a row, since the announcements may come in any order.
    persons = {who for event in published for who in event["invited"]}
    persons |= {event["teacher_id"] for event in of_type(events, JOINED, LEFT, CONTRIBUTED, OBSERVED, FEEDBACK, IMPROVED)}
    for who in persons:
        own = [event for event in events if event.get("teacher_id") == who]
        rows[RowKey("participant_activity", "participant", key, who, 0)] = participant(
            own, start_us, end_us, attended_us[who], invited=who in invited, effective=who in effective
        )
    return rows


def meeting_metrics(
    events: Sequence[Event], invited: set[str], effective: set[str], attended_us: int
) -> dict[str, tuple[float, float, int, Sequence[float]]]:
    """Metrics 22 to 24."""
    joined = {event["teacher_id"] for event in of_type(events, JOINED)}
    posted = Counter(event["teacher_id"] for event in of_type(events, CONTRIBUTED))
    everyone = joined | set(posted)
    count = sum(posted.values())
    differences = sum(abs(posted[one] - posted[other]) for one in everyone for other in everyone)
    school_of: dict[str, str] = {}
    for event in in_order(of_type(events, JOINED)):
        if event.get("schoolid"):
            school_of.setdefault(event["teacher_id"], event["schoolid"])
    schools = Counter(school_of.values())
    shares = [persons / len(school_of) for persons in schools.values()]
    entropy = -sum(share * math.log(share) for share in shares)
    asked = len(invited)
    return {
        "participation_rate": (len(invited & joined), asked, asked, ()),
        "effective_participation_rate": (len(effective), asked, asked, ()),
        "contributions_per_minute": (count, attended_us / 60e6, count, ()),
        "contribution_gini": (differences, 2 * len(everyone) * count, len(everyone), ()),
        "cross_school_mix": (entropy, math.log(len(schools)) if schools else 0, len(school_of), ()),
    }


def feedback_metrics(events: Sequence[Event]) -> dict[str, tuple[float, float, int, Sequence[float]]]:
    """Metrics 25 to 27; the first two only where there is feedback."""
    first: dict[str, Event] = {}
    for event in in_order(of_type(events, FEEDBACK)):
        first.setdefault(event["feedback_id"], event)
    links = of_type(events, IMPROVED)
    closed = 0
    for feedback_id, given in first.items():
        waits_us = [link["time_us"] - given["time_us"] for link in links if link["feedback_id"] == feedback_id]
        closed += any(0 <= wait_us <= LOOP_WITHIN_US for wait_us in waits_us)
    latencies = sorted((given["time_us"] - given["lesson_end_us"]) / 1e6 for given in first.values())
    reports = len({event["report_id"] for event in of_type(events, REPORTED)})
    improvements = len({event["improvement_id"] for event in links})
    found: dict[str, tuple[float, float, int, Sequence[float]]] = {
        "reports_generated": (reports, 1, reports, ()),
        "improvements_per_report": (improvements, reports, reports, ()),
    }
    if first:
        found["feedback_latency_seconds"] = (median(latencies), 1, len(first), latencies)
        found["closed_loop_rate"] = (closed, len(first), len(first), ())
    return found


def participant(
    own: Sequence[Event], start_us: int, end_us: int, attended_us: int, *, invited: bool, effective: bool
) -> Metrics:
    """What one teacher did, out of the teacher's own events."""
    posted = len(of_type(own, CONTRIBUTED))
    parts = (
        invited, bool(of_type(own, JOINED)), effective, attended_us / 1e6, posted, len(of_type(own, OBSERVED)),
        len({event["feedback_id"] for event in of_type(own, FEEDBACK)}),
        len({event["improvement_id"] for event in of_type(own, IMPROVED)}),
    )  # fmt: skip
    return figures(start_us, end_us, posted, attended_us / 60e6, posted, parts)
