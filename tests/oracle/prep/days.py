"""Windows of local days, and rows of them."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tests.oracle.rows import EPOCH, Event, RowKey, Rows, local_midnight_us, quotient

__all__ = ["LocalWindow", "row", "windows_holding"]


class LocalWindow(NamedTuple):
    """A run of local days, ``[start_us, end_us)``."""

    name: str
    first_day: date
    start_us: int
    end_us: int

    def holds(self, time_us: int) -> bool:
        """Tell whether the instant lies in the window."""
        return self.start_us <= time_us < self.end_us


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
    told = quotient(window.start_us, window.end_us, numerator, denominator, sample_size, parts)
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
