"""The school day in Asia/Shanghai: lesson slots, school days, and times as text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

#: China keeps one zone without summer time, so a fixed offset is exact for every date simulated here.
SHANGHAI: Final = timezone(timedelta(hours=8))
SHANGHAI_OFFSET_SECONDS: Final = 8 * 3600
LESSON_MS: Final = 40 * 60_000
#: Starts of the lessons, minutes after midnight: 8:00 to 12:00 and 14:00 to 17:00, ten minutes between lessons.
LESSON_SLOTS: Final = (480, 530, 580, 630, 680, 840, 890, 940)

_SECONDS_CACHED: Final = 20_000
_MILLISECONDS: Final = tuple(f".{millisecond:03d}+08:00" for millisecond in range(1000))
_seconds: dict[int, str] = {}


def rfc3339(time_ms: int) -> str:
    """Return milliseconds since the epoch as RFC 3339 text with milliseconds and the offset +08:00."""
    second, millisecond = divmod(time_ms, 1000)
    text = _seconds.get(second)
    if text is None:
        if len(_seconds) >= _SECONDS_CACHED:
            _seconds.clear()
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second + SHANGHAI_OFFSET_SECONDS))
        _seconds[second] = text
    return text + _MILLISECONDS[millisecond]


def at_ms(day: date, minutes: float) -> int:
    """Return milliseconds since the epoch of ``minutes`` after midnight of ``day`` in Asia/Shanghai."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    return int(midnight.timestamp()) * 1000 + int(minutes * 60_000)


@dataclass(frozen=True, slots=True)
class Timetable:
    """When the school days are held: on their own days, or moved as a whole by ``shift_ms``.

    What happens in them is drawn by their own days, so a timetable that is moved tells the same lessons.
    """

    shift_ms: int = 0

    def at_ms(self, day: date, minutes: float) -> int:
        """Return milliseconds since the epoch of ``minutes`` after midnight of ``day``, moved."""
        return at_ms(day, minutes) + self.shift_ms

    def label(self, day: date) -> str:
        """Return what tells a school day in ids: its date, and the time of its first lesson unless that is 8:00."""
        first = datetime.fromtimestamp(self.at_ms(day, LESSON_SLOTS[0]) / 1000, SHANGHAI)
        return f"{first:%Y%m%d}" if first.hour * 60 + first.minute == LESSON_SLOTS[0] else f"{first:%Y%m%d-%H%M}"


def last_school_day(now: datetime) -> date:
    """Return the last weekday before ``now``'s day in Asia/Shanghai, so that all of it lies in the past."""
    return previous_school_day(now.astimezone(SHANGHAI if now.tzinfo else UTC).date())


def previous_school_day(day: date) -> date:
    """Return the weekday before ``day``."""
    day -= timedelta(days=1)
    while day.weekday() >= 5:
        day -= timedelta(days=1)
    return day


def school_days(last: date, expected_days: int) -> Iterator[date]:
    """Yield ``expected_days`` weekdays ending with ``last``, then, if still asked, the weekdays after it."""
    days = [last]
    while len(days) < expected_days:
        days.append(previous_school_day(days[-1]))
    yield from reversed(days)
    day = last
    while True:
        day += timedelta(days=1)
        if day.weekday() < 5:
            yield day
