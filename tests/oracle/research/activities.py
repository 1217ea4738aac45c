"""A research activity as its events tell it: its scheduled time, who was invited, who was present."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.metrics.research.activities import LONGEST_ACTIVITY_US, MARGIN_US
from tests.oracle.rows import NEVER_US, Event, RowKey, Rows, earliest, of_type, overlap_us, presence, quotient

__all__ = [
    "CONTRIBUTED",
    "FEEDBACK",
    "IMPROVED",
    "JOINED",
    "LEFT",
    "OBSERVED",
    "PUBLISHED",
    "REPORTED",
    "Activity",
    "read_activity",
]

PUBLISHED = "research.activity.published"
JOINED, LEFT = "research.participant.joined", "research.participant.left"
CONTRIBUTED, OBSERVED = "research.contribution.posted", "research.lesson.observed"
FEEDBACK, IMPROVED = "research.feedback.given", "research.improvement.linked"
REPORTED = "research.report.generated"


@dataclass
class Activity:
    """One research activity. Its bounds are the scheduled time, or its earliest and latest event if it is not published."""

    key: str
    events: Sequence[Event]
    start_us: int
    end_us: int
    is_published: bool
    invited: set[str]
    attended_us: Counter[str]
    effective: set[str]
    is_scheduled: bool
    came: set[str]

    def row(
        self, metric: str, numerator: float, denominator: float, sample_size: int, parts: Sequence[float | None] = ()
    ) -> Rows:
        """Return one row of the activity."""
        told = quotient(self.start_us, self.end_us, numerator, denominator, sample_size, parts)
        return {RowKey(metric, "activity", self.key, "", 0): told}


def read_activity(key: str, events: Sequence[Event]) -> Activity:
    """Find the bounds of the activity, whom it invites, and who was present for how long."""
    times_us = [event["time_us"] for event in events]
    start_us, end_us = min(times_us), max(times_us)
    attended_us: Counter[str] = Counter()
    invited: set[str] = set()
    scheduled_us = 0
    came = {event["teacher_id"] for event in of_type(events, JOINED)}
    published = of_type(events, PUBLISHED)
    if published:
        plan = earliest(published)
        invited = set(plan["invited"])
        length_us = plan["scheduled_end_us"] - plan["scheduled_start_us"]
        if 0 < length_us <= LONGEST_ACTIVITY_US:
            start_us, end_us = plan["scheduled_start_us"], plan["scheduled_end_us"]
            scheduled_us = length_us
            for stay in presence(events, JOINED, LEFT, "teacher_id", NEVER_US):
                known = stay if stay.end_us < NEVER_US else stay._replace(end_us=end_us)
                attended_us[stay.person] += overlap_us(known, start_us - MARGIN_US, end_us + MARGIN_US)
            came = {who for who in attended_us if attended_us[who] > 0}
    effective = {who for who in invited if scheduled_us > 0 and 10 * attended_us[who] >= 8 * scheduled_us}
    return Activity(key, events, start_us, end_us, bool(published), invited, attended_us, effective, scheduled_us > 0, came)
