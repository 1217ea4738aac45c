"""Metrics 16 and 17."""

import math
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from schemas.metrics.prep.prep_time import LONGEST_DAY_US, PREP_ACTIVITY_TYPES, PREP_GAP_US
from tests.oracle.prep.days import LocalWindow, row, windows_holding
from tests.oracle.rows import Event, Rows, local_midnight_us, of_type

__all__ = ["prep_time_rows"]


def prep_time_rows(key: str, events: Sequence[Event], zone: ZoneInfo) -> Rows:
    """Metrics 16 and 17 of one teacher."""
    own = [event for event in of_type(events, *PREP_ACTIVITY_TYPES) if is_own_work(key, event)]
    rows: Rows = {}
    for window in windows_holding(own, zone, days=7):
        rows |= time_rows(key, own, window, zone)
    return rows


def is_own_work(key: str, event: Event) -> bool:
    """Tell whether the teacher did something: not an open plan without input, nor what others did to it."""
    if event["type"] == "prep.heartbeat.recorded":
        return event.get("had_input") is not False
    return bool(event["type"] != "prep.plan.coedited" or event["editor_id"] == key)


def time_rows(key: str, own: Sequence[Event], window: LocalWindow, zone: ZoneInfo) -> Rows:
    """Metrics 16 and 17: walk from activity to activity, and each gap from day to day of the window."""
    activities_us = [event["time_us"] for event in own]
    by_weekday_us = [0] * 7
    for start_us, end_us in pairwise(sorted(activities_us)):
        if end_us - start_us > PREP_GAP_US:
            continue
        for number in range(7):
            day = window.first_day + timedelta(days=number)
            day_start_us, day_end_us = local_midnight_us(day, zone), local_midnight_us(day + timedelta(days=1), zone)
            by_weekday_us[day.weekday()] += max(0, min(end_us, day_end_us) - max(start_us, day_start_us))
    by_weekday_us = [min(us, LONGEST_DAY_US) for us in by_weekday_us]
    active_us = sum(by_weekday_us)
    workdays_us = by_weekday_us[:5]
    entropy = -sum(us / sum(workdays_us) * math.log(us / sum(workdays_us)) for us in workdays_us if us)
    sample_size = sum(window.holds(moment_us) for moment_us in activities_us)
    minutes = [us / 60e6 for us in by_weekday_us]
    return {
        **row("active_prep_minutes", key, window, active_us / 60e6, 1, sample_size),
        **row("prep_regularity", key, window, entropy, math.log(5) if active_us else 0, sample_size, minutes),
    }
