"""Types of options that several commands share: what click's own let through and nothing below could use."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import click

__all__ = ["PORT", "DayType", "NumberType", "sensible"]

PORT: Final = click.IntRange(0, 65_535)
#: ClickHouse's dates reach from 1970 to 2149; a day is left on either side for zones.
_FIRST: Final = datetime(1970, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(2149, 1, 1, tzinfo=UTC)


class NumberType(click.FloatRange):
    """A number within bounds; NaN, which is within any, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


class DayType(click.DateTime):
    """A day such as 2026-11-16."""

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        day: datetime = super().convert(value, param, ctx)
        if not sensible(day):
            self.fail(f"{value!r} is no day from {_FIRST.date()} to {_LAST.date()}", param, ctx)
        return day


def sensible(moment: date) -> bool:
    """Whether a day or an instant, of any zone, is one that ClickHouse can hold."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return _FIRST <= moment.replace(tzinfo=UTC) <= _LAST - timedelta(days=1)
