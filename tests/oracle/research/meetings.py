"""Metrics 22 to 24."""

import math
from collections import Counter

from tests.oracle.research.activities import CONTRIBUTED, JOINED, Activity
from tests.oracle.rows import Rows, in_order, of_type

__all__ = ["meeting_rows"]


def meeting_rows(activity: Activity) -> Rows:
    """Metrics 22 to 24; only of an activity that is published."""
    if not activity.is_published:
        return {}
    events, invited = activity.events, activity.invited
    joined = activity.came
    posted = Counter(event["teacher_id"] for event in of_type(events, CONTRIBUTED))
    everyone = joined | set(posted)
    count = sum(posted.values())
    differences = sum(abs(posted[one] - posted[other]) for one in everyone for other in everyone)
    school_of: dict[str, str] = {}
    for event in in_order(of_type(events, JOINED)):
        if event.get("schoolid") and event["teacher_id"] in joined:
            school_of.setdefault(event["teacher_id"], event["schoolid"])
    schools = Counter(school_of.values())
    shares = [persons / len(school_of) for persons in schools.values()]
    entropy = -sum(share * math.log(share) for share in shares)
    asked = len(invited)
    timed = asked if activity.is_scheduled else 0
    minutes = sum(activity.attended_us.values()) / 60e6
    few = len(everyone) > 1 and count > 0
    corrected = [differences / (2 * (len(everyone) - 1) * count) if few else None] if everyone else []
    return {
        **activity.row("participation_rate", len(invited & joined), asked, asked),
        **activity.row("effective_participation_rate", len(activity.effective), timed, timed),
        **activity.row("contributions_per_minute", count, minutes, int(minutes)),
        **activity.row("contribution_gini", differences, 2 * len(everyone) * count, len(everyone), corrected),
        **activity.row("cross_school_mix", entropy, math.log(max(2, len(schools))) if schools else 0, len(school_of)),
    }
