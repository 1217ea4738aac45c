"""Every figure by the plainest loops that follow its definition: slow, obvious, no SQL, no columns.

An event is a dict: ``type`` (name, such as ``classroom.answer.submitted``), ``key``, ``source``, ``id``, ``time_us``,
and the fields of its data that a figure needs (``student_id``, ``prompt_id``, ``teacher_id``, ``roster``, ``invited``,
``scheduled_start_us``, ``scheduled_end_us``). All times are microseconds since the epoch.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from schemas.figures import (
    INTERACTION_TYPES,
    PREP_ACTIVITY_TYPES,
    PREP_GAP_US,
    WINDOW_1M,
    WINDOW_5M,
    WINDOW_10M,
    Window,
)

__all__ = ["Figures", "RowKey", "expected_rows"]

Event = Mapping[str, Any]
NEVER_US = 2**62
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RowKey(NamedTuple):
    """What identifies a row of ``metric_rows``."""

    metric: str
    window: str
    key: str
    item: str
    slot_us: int


@dataclass(frozen=True)
class Figures:
    """What a row says: ``value`` is None where the denominator is 0."""

    window_start_us: int
    window_end_us: int
    value: float | None
    numerator: float
    denominator: float
    sample_size: int


class Interval(NamedTuple):
    """One stay of one person, ``[start_us, end_us)``."""

    person: str
    start_us: int
    end_us: int


Rows = dict[RowKey, Figures]


def expected_rows(events: Iterable[Event], time_zone: str) -> Rows:
    """Return every row that ``events`` (any order, any families, repeats allowed) must lead to.

    Of events with the same key, source and id the first one given counts. ``time_zone`` is an IANA name.
    """
    unique: dict[tuple[str, str, str], Event] = {}
    for event in events:
        unique.setdefault((event["key"], event["source"], event["id"]), event)
    by_key: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in unique.values():
        by_key[(event["type"].split(".")[0], event["key"])].append(event)
    rows: Rows = {}
    for (family, key), own in by_key.items():
        if family == "classroom":
            rows |= lesson_rows(key, own)
        elif family == "prep":
            rows |= prep_rows(key, own, ZoneInfo(time_zone))
        elif family == "research":
            rows |= activity_rows(key, own)
    return rows


def figures(start_us: int, end_us: int, numerator: float, denominator: float, sample_size: int) -> Figures:
    """Divide, unless there is nothing to divide by."""
    value = numerator / denominator if denominator else None
    return Figures(start_us, end_us, value, float(numerator), float(denominator), sample_size)


def of_type(events: Iterable[Event], *names: str) -> list[Event]:
    """Return the events of these types."""
    return [event for event in events if event["type"] in names]


def earliest(events: Sequence[Event]) -> Event:
    """Return the first event by time, source and id."""
    return min(events, key=lambda event: (event["time_us"], event["source"], event["id"]))


def presence(events: Sequence[Event], joined: str, left: str, person: str, cut_us: int) -> list[Interval]:
    """Walk each person's joins and leaves in time order, leaves first, and note the stays, cut at ``cut_us``."""
    stays = []
    for who in {event[person] for event in of_type(events, joined, left)}:
        since: int | None = None
        own = [event for event in of_type(events, joined, left) if event[person] == who]
        for event in sorted(own, key=lambda event: (event["time_us"], event["type"] == joined)):
            if event["type"] == joined and since is None:
                since = event["time_us"]
            elif event["type"] == left and since is not None:
                stays.append(Interval(who, since, min(event["time_us"], cut_us)))
                since = None
        if since is not None:
            stays.append(Interval(who, since, cut_us))
    return [stay for stay in stays if stay.end_us > stay.start_us]


def overlap_us(stay: Interval, start_us: int, end_us: int) -> int:
    """Return how much of the stay lies in ``[start_us, end_us)``."""
    return max(0, min(stay.end_us, end_us) - max(stay.start_us, start_us))


def window_starts(times_us: Iterable[int], window: Window) -> set[int]:
    """Return the start of every hopping window that holds one of the times."""
    starts = set()
    for time_us in times_us:
        start_us = time_us // window.hop_us * window.hop_us
        while start_us + window.size_us > time_us:
            starts.add(start_us)
            start_us -= window.hop_us
    return starts


def lesson_rows(key: str, events: Sequence[Event]) -> Rows:
    """Figures 6, 8, 11 and 12 of one lesson."""
    started = of_type(events, "classroom.lesson.started")
    ended = of_type(events, "classroom.lesson.ended")
    times_us = [event["time_us"] for event in events]
    start_us = min(event["time_us"] for event in started) if started else min(times_us)
    end_us = max(event["time_us"] for event in ended) if ended else max(times_us)
    cut_us = end_us if ended else NEVER_US
    stays = presence(events, "classroom.attendance.joined", "classroom.attendance.left", "student_id", cut_us)
    interactions = of_type(events, *INTERACTION_TYPES)

    rows = response_rows(key, events, stays)
    for window in (WINDOW_1M, WINDOW_5M, WINDOW_10M):
        for first_us in window_starts(times_us, window):
            last_us = first_us + window.size_us
            inside = [event for event in interactions if first_us <= event["time_us"] < last_us]
            minutes = sum(overlap_us(stay, first_us, last_us) for stay in stays) / 60e6
            row_key = RowKey("interactions_per_student_minute", window.name, key, "", first_us)
            rows[row_key] = figures(first_us, last_us, len(inside), minutes, len(inside))
            if window is not WINDOW_1M:
                present = {stay.person for stay in stays if stay.start_us < last_us and stay.end_us > first_us}
                row_key = RowKey("participation_breadth", window.name, key, "", first_us)
                rows[row_key] = breadth(first_us, last_us, inside, present)
    row_key = RowKey("participation_breadth", "lesson", key, "", 0)
    rows[row_key] = breadth(start_us, end_us, interactions, {stay.person for stay in stays})
    if started:
        rows |= attendance_rows(key, earliest(started), bool(ended), start_us, end_us, stays)
    return rows


def breadth(start_us: int, end_us: int, interactions: Sequence[Event], present: set[str]) -> Figures:
    """Who took part, over who was there or took part."""
    active = {event["student_id"] for event in interactions}
    everyone = active | present
    return figures(start_us, end_us, len(active), len(everyone), len(everyone))


def response_rows(key: str, events: Sequence[Event], stays: Sequence[Interval]) -> Rows:
    """Figure 6: each prompt that was asked, and the windows that hold the moments of asking."""
    rows: Rows = {}
    rates: list[tuple[int, float | None]] = []
    asked = of_type(events, "classroom.question.asked")
    for prompt in {event["prompt_id"] for event in asked}:
        asked_us = min(event["time_us"] for event in asked if event["prompt_id"] == prompt)
        closed_us = asked_us
        for event in of_type(events, "classroom.question.closed"):
            if event["prompt_id"] == prompt:
                closed_us = max(closed_us, event["time_us"])
        answers = of_type(events, "classroom.answer.submitted")
        responders = {event["student_id"] for event in answers if event["prompt_id"] == prompt}
        audience = responders | {stay.person for stay in stays if stay.start_us <= asked_us < stay.end_us}
        row = figures(asked_us, closed_us, len(responders), len(audience), len(audience))
        rows[RowKey("response_rate", "prompt", key, prompt, 0)] = row
        rates.append((asked_us, row.value))
    for start_us in window_starts((event["time_us"] for event in asked), WINDOW_10M):
        end_us = start_us + WINDOW_10M.size_us
        inside = [rate for asked_us, rate in rates if start_us <= asked_us < end_us and rate is not None]
        row = figures(start_us, end_us, sum(inside), len(inside), len(inside))
        rows[RowKey("response_rate", WINDOW_10M.name, key, "", start_us)] = row
    return rows


def attendance_rows(
    key: str, plan: Event, has_ended: bool, start_us: int, end_us: int, stays: Sequence[Interval]
) -> Rows:
    """Figure 12, by the plan in the earliest ``lesson.started``."""
    roster = set(plan["roster"])
    due_start_us, due_end_us = plan["scheduled_start_us"], plan["scheduled_end_us"]
    present_us = 0
    for stay in stays:
        if stay.person in roster:
            present_us += overlap_us(stay, due_start_us, min(due_end_us, end_us))
    scheduled_us = len(roster) * max(0, due_end_us - due_start_us)
    delayed = max(0, plan["time_us"] - due_start_us) / 1e6
    early = max(0, due_end_us - end_us) / 1e6
    rows = {
        "attendance_rate": figures(start_us, end_us, present_us / 1e6, scheduled_us / 1e6, len(roster)),
        "delayed_start_seconds": figures(start_us, end_us, delayed, 1, 1),
    }
    if has_ended:
        rows["early_stop_seconds"] = figures(start_us, end_us, early, 1, 1)
    return {RowKey(metric, "lesson", key, "", 0): row for metric, row in rows.items()}


def local_midnight_us(day: date, zone: ZoneInfo) -> int:
    """Return the first instant of the local day."""
    return (datetime.combine(day, time(), zone).astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


def prep_rows(key: str, events: Sequence[Event], zone: ZoneInfo) -> Rows:
    """Figure 16 of one teacher."""
    activities_us = [event["time_us"] for event in of_type(events, *PREP_ACTIVITY_TYPES)]
    moments_us = sorted(set(activities_us))
    stretches = [(a, b) for a, b in pairwise(moments_us) if b - a <= PREP_GAP_US]
    windows = set()
    for moment_us in moments_us:
        day = (EPOCH + timedelta(microseconds=moment_us)).astimezone(zone).date()
        windows.add(("iso_week", day - timedelta(days=day.weekday())))
        for back in range(7):
            windows.add(("7d/1d", day - timedelta(days=back)))
    rows: Rows = {}
    for window, first_day in windows:
        start_us = local_midnight_us(first_day, zone)
        end_us = local_midnight_us(first_day + timedelta(days=7), zone)
        active_us = sum(max(0, min(b, end_us) - max(a, start_us)) for a, b in stretches)
        sample_size = sum(start_us <= moment_us < end_us for moment_us in activities_us)
        row = figures(start_us, end_us, active_us / 60e6, 1, sample_size)
        rows[RowKey("active_prep_minutes", window, key, "", start_us)] = row
    return rows


def activity_rows(key: str, events: Sequence[Event]) -> Rows:
    """Figure 22 of one research activity."""
    published = of_type(events, "research.activity.published")
    if not published:
        return {}
    plan = earliest(published)
    invited = set(plan["invited"])
    start_us, end_us = plan["scheduled_start_us"], plan["scheduled_end_us"]
    joined = {event["teacher_id"] for event in of_type(events, "research.participant.joined")}
    stays = presence(events, "research.participant.joined", "research.participant.left", "teacher_id", NEVER_US)
    effective = 0
    for teacher in invited:
        present_us = sum(overlap_us(stay, start_us, end_us) for stay in stays if stay.person == teacher)
        if end_us > start_us and 10 * present_us >= 8 * (end_us - start_us):
            effective += 1
    rows = {"participation_rate": len(invited & joined), "effective_participation_rate": effective}
    return {
        RowKey(metric, "activity", key, "", 0): figures(start_us, end_us, numerator, len(invited), len(invited))
        for metric, numerator in rows.items()
    }
