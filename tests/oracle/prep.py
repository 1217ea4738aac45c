"""Metrics of preparation (16 to 21) by the plainest loops."""

import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from statistics import median
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.metrics.prep_all import LEAD_REACH_US, PREP_ACTIVITY_TYPES, PREP_GAP_US, TAUGHT_WITHIN_US
from tests.oracle.rows import EPOCH, Event, RowKey, Rows, earliest, figures, local_midnight_us, of_type

__all__ = ["prep_rows"]

COMPLETED, TAUGHT = "prep.plan.completed", "prep.plan.taught"
EDITED, COEDITED = "prep.plan.edited", "prep.plan.coedited"
ATTACHED = "prep.resource.attached"


class LocalWindow(NamedTuple):
    """A run of local days, ``[start_us, end_us)``."""

    name: str
    first_day: date
    start_us: int
    end_us: int

    def holds(self, time_us: int) -> bool:
        """Tell whether the instant lies in the window."""
        return self.start_us <= time_us < self.end_us


def prep_rows(key: str, events: Sequence[Event], zone: ZoneInfo) -> Rows:
    """Metrics 16 to 21 of one teacher."""
    rows: Rows = {}
    for window in windows_holding(of_type(events, *PREP_ACTIVITY_TYPES), zone, days=7):
        rows |= time_rows(key, events, window, zone)
    for window in windows_holding(of_type(events, TAUGHT), zone, days=7):
        rows |= lead_time_row(key, events, window)
    for window in windows_holding(of_type(events, EDITED, COEDITED), zone, days=28):
        rows |= co_prep_row(key, events, window)
    attached = of_type(events, ATTACHED)
    for item in {"", *(event["platform"] for event in attached)}:
        chosen = [event for event in attached if item in {"", event["platform"]}]
        for window in windows_holding(chosen, zone, days=28):
            inside = [event for event in chosen if window.holds(event["time_us"])]
            reused = sum(event["origin"] == "reused" for event in inside)
            rows |= row("reuse_rate", key, window, reused, len(inside), len(inside), item=item)
    for window in windows_holding(of_type(events, COMPLETED), zone, days=7):
        rows |= plan_to_class_row(key, events, window)
    return rows


def row(
    metric: str,
    key: str,
    window: LocalWindow,
    numerator: float,
    denominator: float,
    sample_size: int,
    parts: Sequence[float] = (),
    item: str = "",
) -> Rows:
    """Return one row whose slot is the window's start."""
    told = figures(window.start_us, window.end_us, numerator, denominator, sample_size, parts)
    return {RowKey(metric, window.name, key, item, window.start_us): told}


def windows_holding(events: Iterable[Event], zone: ZoneInfo, days: int) -> list[LocalWindow]:
    """Return the windows of so many days, and the ISO weeks, that hold one of the events."""
    found = set()
    for event in events:
        day = local_date(event["time_us"], zone)
        found.add(("iso_week", day - timedelta(days=day.weekday()), 7))
        for back in range(days):
            found.add((f"{days}d/1d", day - timedelta(days=back), days))
    return [
        LocalWindow(name, first, local_midnight_us(first, zone), local_midnight_us(first + timedelta(days=length), zone))
        for name, first, length in found
    ]


def local_date(time_us: int, zone: ZoneInfo) -> date:
    """Return the date the clocks of the zone show."""
    return (EPOCH + timedelta(microseconds=time_us)).astimezone(zone).date()


def plan_of(event: Event) -> str:
    """Return the plan an event is about."""
    return str(event.get("subject", event["key"]))


def time_rows(key: str, events: Sequence[Event], window: LocalWindow, zone: ZoneInfo) -> Rows:
    """Metrics 16 and 17: walk from activity to activity, and each gap from day to day of the window."""
    activities_us = [event["time_us"] for event in of_type(events, *PREP_ACTIVITY_TYPES)]
    by_weekday_us = [0] * 7
    for start_us, end_us in pairwise(sorted(activities_us)):
        if end_us - start_us > PREP_GAP_US:
            continue
        for number in range(7):
            day = window.first_day + timedelta(days=number)
            day_start_us, day_end_us = local_midnight_us(day, zone), local_midnight_us(day + timedelta(days=1), zone)
            by_weekday_us[day.weekday()] += max(0, min(end_us, day_end_us) - max(start_us, day_start_us))
    active_us = sum(by_weekday_us)
    entropy = -sum(us / active_us * math.log(us / active_us) for us in by_weekday_us if us)
    sample_size = sum(window.holds(moment_us) for moment_us in activities_us)
    minutes = [us / 60e6 for us in by_weekday_us]
    return {
        **row("active_prep_minutes", key, window, active_us / 60e6, 1, sample_size),
        **row("prep_regularity", key, window, entropy, math.log(7) if active_us else 0, sample_size, minutes),
    }


def lead_time_row(key: str, events: Sequence[Event], window: LocalWindow) -> Rows:
    """Metric 18: from the last substantive edit to the lesson."""
    leads = []
    for lesson in of_type(events, TAUGHT):
        if not window.holds(lesson["time_us"]):
            continue
        start_us = lesson["lesson_start_us"]
        edits_us = [
            edit["time_us"]
            for edit in of_type(events, EDITED)
            if edit["substantive"] and plan_of(edit) == plan_of(lesson) and 0 <= start_us - edit["time_us"] <= LEAD_REACH_US
        ]
        if edits_us:
            leads.append((start_us - max(edits_us)) / 1e6)
    middle = median(leads) if leads else 0
    return row("lead_time_seconds", key, window, middle, 1 if leads else 0, len(leads), sorted(leads))


def co_prep_row(key: str, events: Sequence[Event], window: LocalWindow) -> Rows:
    """Metric 19: who edited which plan."""
    editors: dict[str, set[str]] = {}
    for event in of_type(events, EDITED, COEDITED):
        if window.holds(event["time_us"]):
            editor = key if event["type"] == EDITED else event["editor_id"]
            editors.setdefault(plan_of(event), set()).add(editor)
    shared = sum(len(persons) >= 2 for persons in editors.values())
    return row("co_prep_rate", key, window, shared, len(editors), len(editors))


def plan_to_class_row(key: str, events: Sequence[Event], window: LocalWindow) -> Rows:
    """Metric 21: the plans completed first in the window, and those of them that reached a class."""
    completed = used = 0
    for plan in {plan_of(event) for event in of_type(events, COMPLETED)}:
        own = [event for event in events if plan_of(event) == plan]
        done_us = earliest(of_type(own, COMPLETED))["time_us"]
        if window.holds(done_us):
            completed += 1
            lessons = of_type(own, TAUGHT)
            used += any(0 <= lesson["lesson_start_us"] - done_us <= TAUGHT_WITHIN_US for lesson in lessons)
    return row("plan_to_class_rate", key, window, used, completed, completed)
