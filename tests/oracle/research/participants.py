"""What each teacher did in a research activity."""

from tests.oracle.research.activities import CONTRIBUTED, FEEDBACK, IMPROVED, JOINED, LEFT, OBSERVED, PUBLISHED, Activity
from tests.oracle.rows import Metrics, RowKey, Rows, of_type, quotient

__all__ = ["participant_rows"]


def participant_rows(activity: Activity) -> Rows:
    """One row for each teacher who is invited or has an event of their own."""
    events = activity.events
    # A teacher whom only a later announcement invites keeps a row, since the announcements may come in any order.
    persons = {who for event in of_type(events, PUBLISHED) for who in event["invited"]}
    persons |= {event["teacher_id"] for event in of_type(events, JOINED, LEFT, CONTRIBUTED, OBSERVED, FEEDBACK, IMPROVED)}
    return {
        RowKey("participant_activity", "participant", activity.key, who, 0): participant(activity, who) for who in persons
    }


def participant(activity: Activity, who: str) -> Metrics:
    """What one teacher did, out of the teacher's own events."""
    own = [event for event in activity.events if event.get("teacher_id") == who]
    posted = len(of_type(own, CONTRIBUTED))
    attended_us = activity.attended_us[who]
    given = {event["feedback_id"] for event in of_type(activity.events, FEEDBACK)}
    parts = (
        who in activity.invited,
        who in activity.came,
        who in activity.effective,
        attended_us / 1e6,
        posted,
        len(of_type(own, OBSERVED)),
        len({event["feedback_id"] for event in of_type(own, FEEDBACK)}),
        len({event["feedback_id"] for event in of_type(own, IMPROVED)} & given),
    )
    return quotient(activity.start_us, activity.end_us, posted, attended_us / 60e6, attended_us // 60_000_000, parts)
