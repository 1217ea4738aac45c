"""What the oracle's families share: events, rows, and the plainest ways to walk through time.

An event is a dict: ``type`` (name, such as ``classroom.answer.submitted``), ``key``, ``source``, ``id``, ``time_us``,
and the fields of its data and of its envelope that a metric needs; times among them are ints with ``_us`` at the end.
All times are microseconds since the epoch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from schemas.metrics.metric import Window

__all__ = [
    "EPOCH",
    "NEVER_US",
    "Event",
    "Interval",
    "Metrics",
    "RowKey",
    "Rows",
    "earliest",
    "in_order",
    "local_midnight_us",
    "of_type",
    "overlap_us",
    "presence",
    "quotient",
    "window_starts",
]

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
class Metrics:
    """What a row says: ``value`` is None where the denominator is 0."""

    window_start_us: int
    window_end_us: int
    value: float | None
    numerator: float
    denominator: float
    sample_size: int
    parts: tuple[float | None, ...] = ()


class Interval(NamedTuple):
    """One stay of one person, ``[start_us, end_us)``."""

    person: str
    start_us: int
    end_us: int


Rows = dict[RowKey, Metrics]


def quotient(
    start_us: int,
    end_us: int,
    numerator: float,
    denominator: float,
    sample_size: int,
    parts: Sequence[float | None] = (),
) -> Metrics:
    """Divide, unless there is nothing to divide by."""
    value = numerator / denominator if denominator else None
    told = tuple(None if part is None else float(part) for part in parts)
    return Metrics(start_us, end_us, value, float(numerator), float(denominator), sample_size, told)


def of_type(events: Iterable[Event], *names: str) -> list[Event]:
    """Return the events of these types."""
    return [event for event in events if event["type"] in names]


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return the events by time, source and id."""
    return sorted(events, key=lambda event: (event["time_us"], event["source"], event["id"]))


def earliest(events: Sequence[Event]) -> Event:
    """Return the first event by time, source and id."""
    return in_order(events)[0]


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


def local_midnight_us(day: date, zone: ZoneInfo) -> int:
    """Return the first instant of the local day."""
    return (datetime.combine(day, time(), zone).astimezone(UTC) - EPOCH) // timedelta(microseconds=1)
