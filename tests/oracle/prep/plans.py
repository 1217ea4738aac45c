"""Metrics 18 to 21."""

from collections.abc import Sequence
from statistics import median
from zoneinfo import ZoneInfo

from schemas.metrics.prep.plans import BULK_PERCENT, LEAD_REACH_US, TAUGHT_WITHIN_US
from tests.oracle.prep.days import LocalWindow, row, windows_holding
from tests.oracle.rows import Event, Rows, earliest, of_type

__all__ = ["plan_rows"]

COMPLETED, TAUGHT = "prep.plan.completed", "prep.plan.taught"
EDITED, COEDITED = "prep.plan.edited", "prep.plan.coedited"
ATTACHED = "prep.resource.attached"


def plan_rows(key: str, events: Sequence[Event], zone: ZoneInfo) -> Rows:
    """Metrics 18 to 21 of one teacher."""
    rows: Rows = {}
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


def plan_of(event: Event) -> str:
    """Return the plan an event is about."""
    return str(event.get("subject", event["key"]))


def lead_time_row(key: str, events: Sequence[Event], window: LocalWindow) -> Rows:
    """Metric 18: from the moment the plan is ready to the lesson."""
    leads = []
    for lesson in of_type(events, TAUGHT):
        if not window.holds(lesson["time_us"]):
            continue
        start_us = lesson["lesson_start_us"]
        near = [
            event
            for event in events
            if plan_of(event) == plan_of(lesson) and 0 <= start_us - event["time_us"] <= LEAD_REACH_US
        ]
        ready_us = ready(near)
        if ready_us is not None:
            leads.append((start_us - ready_us) / 1e6)
    middle = median(leads) if leads else 0
    return row("lead_time_seconds", key, window, middle, 1 if leads else 0, len(leads), sorted(leads))


def ready(events: Sequence[Event]) -> int | None:
    """Return when enough of the text was there, or else when the plan was completed first."""
    edits = [event for event in of_type(events, EDITED) if event["substantive"]] + of_type(events, COEDITED)
    total = sum(edit.get("characters_changed") or 0 for edit in edits)
    changed = 0
    for edit in sorted(edits, key=lambda edit: edit["time_us"]):
        changed += edit.get("characters_changed") or 0
        if total and changed * 100 >= total * BULK_PERCENT:
            return int(edit["time_us"])
    completions = of_type(events, COMPLETED)
    return min(event["time_us"] for event in completions) if completions else None


def co_prep_row(key: str, events: Sequence[Event], window: LocalWindow) -> Rows:
    """Metric 19: who edited which plan."""
    editors: dict[str, set[str]] = {}
    for event in of_type(events, EDITED, COEDITED):
        if window.holds(event["time_us"]):
            editor = key if event["type"] == EDITED else event["editor_id"]
            owner = event.get("owner_id")
            editors.setdefault(plan_of(event), set()).update({editor, owner} if owner else {editor})
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
