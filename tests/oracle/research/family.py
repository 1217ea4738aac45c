"""Metrics 22 to 27 of a research activity, one module a group."""

from collections.abc import Sequence

from tests.oracle.research.activities import read_activity
from tests.oracle.research.feedback import feedback_rows
from tests.oracle.research.meetings import meeting_rows
from tests.oracle.research.participants import participant_rows
from tests.oracle.rows import Event, Rows

__all__ = ["activity_rows"]


def activity_rows(key: str, events: Sequence[Event]) -> Rows:
    """Metrics 22 to 27 of one research activity, and the rows of its participants."""
    activity = read_activity(key, events)
    return meeting_rows(activity) | feedback_rows(activity) | participant_rows(activity)
