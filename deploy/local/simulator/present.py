"""Moves a simulation to the present. It is drawn in one fixed week, so the same seed tells the same lessons at any time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

from deploy.local.simulator.config import FittedConfig, SimulationConfig
from deploy.local.simulator.district import build_district
from deploy.local.simulator.lesson_script import LAST_LEFT_MS
from deploy.local.simulator.programme import openings
from deploy.local.simulator.school_day import LESSON_MS, LESSON_SLOTS, SHANGHAI, at_ms
from deploy.local.simulator.timeline import merged

#: Monday of the week in which everything is drawn.
_DRAWN_WEEK: Final = date(2026, 3, 9)
_MINUTE_MS: Final = 60_000
#: From the timetable's end of a lesson to its last event, at most.
_OVERTIME_MS: Final = 120_000 + LAST_LEFT_MS


def ending_now(
    config: SimulationConfig, now: datetime, *, speed: float | None = None, rate: float | None = None
) -> SimulationConfig:
    """Return ``config`` moved so that its last event happens when it is sent, in the whole minute before.

    ``now`` is when sending begins and needs a zone; ``speed`` and ``rate`` are those of :func:`publish`. Weekdays stay what
    they are; on a weekend the last school day is held on that day. No event lies ahead of the clock when it is sent.
    """
    local = now.astimezone(SHANGHAI).date()
    drawn = replace(config, date=_DRAWN_WEEK + timedelta(days=min(local.weekday(), 4)), shift_ms=0)
    fitted = drawn.fitted()
    end_ms = _end_ms(fitted)
    held_ms = max(0, end_ms - fitted.first_lesson_ms)
    sending_ms = max(held_ms / speed if speed else 0.0, (config.events or 0) * 1000 / rate if rate else 0.0)
    # Slower than real time, the first lesson is held when it is sent, and the others fall behind the clock.
    wanted_ms = now.timestamp() * 1000 + min(sending_ms, held_ms)
    return replace(drawn, shift_ms=int(wanted_ms - end_ms) // _MINUTE_MS * _MINUTE_MS)


def in_whole_weeks(config: SimulationConfig, now: datetime) -> SimulationConfig:
    """Return ``config`` on the last Wednesday that is over at ``now``, at the timetable's own hours.

    Whatever is computed by weekday or time of day comes out the same at every run with the same seed.
    """
    drawn = _DRAWN_WEEK + timedelta(days=2)
    weeks = (now.astimezone(SHANGHAI).date() - drawn - timedelta(days=1)).days // 7
    return replace(config, date=drawn, shift_ms=weeks * 7 * 86_400_000)


def _end_ms(fitted: FittedConfig) -> int:
    """Return when the last event happens; with a number of events, the day is told once to find that out."""
    config = fitted.config
    if config.events is None:
        return at_ms(fitted.date, LESSON_SLOTS[-1]) + LESSON_MS + _OVERTIME_MS
    district = build_district(config.seed, fitted.schools, fitted.classes_per_school, config.students_per_class)
    events = 0
    for drafts in merged(openings(fitted, district)):
        events += len(drafts)
        if events >= config.events:
            return drafts[-1].time_ms + LAST_LEFT_MS if drafts else fitted.first_lesson_ms
    return fitted.first_lesson_ms
