"""Where the shapes of the charts stand; ``templates/charts.html.j2`` draws them."""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from streams.evaluation.report.data import Level, Share, WeekScore

__all__ = [
    "COLOURS",
    "GOOD_FROM",
    "WEAK_BELOW",
    "Weekly",
    "coordinate",
    "dashes",
    "grade",
    "sparkline",
    "stretches",
    "weekly",
]

#: Told apart also by people who see few colours, and in grey print.
COLOURS: Final = ("#1f5f8b", "#d9822b", "#4c9f70", "#8e5ea2", "#b8b42d", "#9aa5ae")
GOOD_FROM: Final = 0.7
WEAK_BELOW: Final = 0.5

_LEFT, _RIGHT, _TOP, _HEIGHT = 38.0, 606.0, 24.0, 110.0
_Point = tuple[float, float]


def coordinate(value: float) -> str:
    """Return a length or a place in a drawing."""
    return f"{value:z.2f}".rstrip("0").rstrip(".")


def grade(value: float) -> str:
    """Return the name of the colour class of a score."""
    return "good" if value >= GOOD_FROM else "weak" if value < WEAK_BELOW else "fair"


def dashes(value: float) -> str:
    """Return the dash pattern that shows a share of the ring."""
    around = 2 * math.pi * 52
    return f"{around * value:.1f} {around:.1f}"


def stretches(shares: Sequence[Share]) -> Iterator[tuple[float, float, float, str]]:
    """Return left edge, width, share and colour of the parts of a bar of 400."""
    left = 0.0
    for share, colour in zip(shares, COLOURS, strict=False):
        yield left, 400 * share.value, share.value, colour
        left += 400 * share.value


class Weekly(NamedTuple):
    """``grid``: mark and height; ``runs``: points of each unbroken line; ``marks``: week and place, no height for a gap."""

    grid: list[tuple[int, float]]
    runs: list[str]
    marks: list[tuple[WeekScore, float, float | None]]


def weekly(weeks: Sequence[WeekScore]) -> Weekly:
    """Return the chart of the scores of some weeks."""
    step = (_RIGHT - _LEFT) / max(len(weeks) - 1, 1)
    marks = [
        (week, _LEFT + step * n, None if week.value is None else _TOP + _HEIGHT * (1 - week.value))
        for n, week in enumerate(weeks)
    ]
    runs: list[list[_Point]] = [[]]
    for _, x, y in marks:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    grid = [(mark, _TOP + _HEIGHT * (1 - mark / 100)) for mark in (0, 50, 100)]
    return Weekly(grid, [_points(run) for run in runs if len(run) > 1], marks)


def sparkline(levels: Sequence[Level]) -> tuple[str, _Point]:
    """Return the points of the line, empty for a single level, and its last point; the days rise."""
    values, days = [level.level for level in levels], [float(level.day.toordinal()) for level in levels]
    high, low = max(values), min(values)
    # A level that hardly moves must not look like a mountain range.
    spread = max(high - low, 0.05 * max(abs(high), abs(low)), 1e-9)
    length = max(days[-1] - days[0], 1e-9)
    at = [
        (4 + 172 * ((one - days[0]) / length if len(days) > 1 else 1), 24 - 34 * (value - (high + low) / 2) / spread)
        for one, value in zip(days, values, strict=True)
    ]
    return (_points(at) if len(at) > 1 else ""), at[-1]


def _points(run: Sequence[_Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
