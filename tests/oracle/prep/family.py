"""Metrics 16 to 21 of a teacher, one module a group."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from tests.oracle.prep.plans import plan_rows
from tests.oracle.prep.prep_time import prep_time_rows
from tests.oracle.rows import Event, Rows

__all__ = ["prep_rows"]


def prep_rows(key: str, events: Sequence[Event], zone: ZoneInfo) -> Rows:
    """Metrics 16 to 21 of one teacher."""
    return prep_time_rows(key, events, zone) | plan_rows(key, events, zone)
