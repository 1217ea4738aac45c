"""The charts, drawn as inline SVG. Each has a title that says in words what it shows."""

import math
from collections.abc import Sequence
from typing import Final

from streams.evaluation.report.markup import Markup, element
from streams.evaluation.report.wording import percent, points

__all__ = ["COLOURS", "bar", "grade", "line", "ring", "spark", "stacked"]

#: Told apart also by people who see few colours, and in grey print.
COLOURS: Final = ("#1f5f8b", "#d9822b", "#4c9f70", "#8e5ea2", "#b8b42d", "#9aa5ae")
GOOD_FROM: Final = 0.7
WEAK_BELOW: Final = 0.5


def grade(value: float | None) -> str:
    """Return the name of the colour class of a score."""
    if value is None:
        return "none"
    return "good" if value >= GOOD_FROM else "weak" if value < WEAK_BELOW else "fair"


def _chart(title: str, width: float, height: float, *shapes: Markup, class_: str) -> Markup:
    return element(
        "svg",
        element("title", title),
        *shapes,
        viewBox=f"0 0 {width:g} {height:g}",
        class_=class_,
        role="img",
        preserveAspectRatio="xMidYMid meet",
    )


def ring(value: float | None, title: str) -> Markup:
    """Return a score as a ring with its points in the middle."""
    around = 2 * math.pi * 52
    shapes = [element("circle", cx=65, cy=65, r=52, class_="ring-back")]
    if value is not None:
        dashes, look = f"{around * value:.1f} {around:.1f}", f"ring-front {grade(value)}"
        turned = "rotate(-90 65 65)"
        shapes.append(element("circle", cx=65, cy=65, r=52, class_=look, stroke_dasharray=dashes, transform=turned))
    shapes += [
        element("text", points(value), x=65, y=70, class_="ring-value"),
        element("text", "/ 100" if value is not None else "无评分 no score", x=65, y=89, class_="ring-unit"),
    ]
    return _chart(title, 130, 130, *shapes, class_="ring")


def bar(value: float | None, title: str) -> Markup:
    """Return a score as a bar of 100, with marks at 50 and 70."""
    shapes = [element("rect", x=0, y=3, width=200, height=8, rx=2, class_="bar-back")]
    if value is not None:
        look = f"bar-front {grade(value)}"
        shapes.append(element("rect", x=0, y=3, width=max(200 * value, 0.5), height=8, rx=2, class_=look))
    shapes += [element("line", x1=200 * at, x2=200 * at, y1=1, y2=13, class_="bar-mark") for at in (WEAK_BELOW, GOOD_FROM)]
    return element(
        "svg", element("title", title), *shapes, viewBox="0 0 200 14", class_="bar", role="img", preserveAspectRatio="none"
    )


def stacked(shares: Sequence[float], title: str) -> Markup:
    """Return parts of a whole as one bar; parts from 7 percent on carry their percentage."""
    shapes, left = [], 0.0
    for share, colour in zip(shares, COLOURS, strict=False):
        width = 400 * share
        shapes.append(element("rect", x=left, y=0, width=max(width - 1, 0), height=26, fill=colour))
        if share >= 0.07:
            shapes.append(element("text", percent(share, 0), x=left + width / 2, y=17.5, class_="stacked-value"))
        left += width
    return _chart(title, 400, 26, *shapes, class_="stacked")


def line(values: Sequence[float | None], labels: Sequence[str], title: str) -> Markup:
    """Return scores over weeks; a week without one is a gap."""
    left, right, top, height = 38.0, 606.0, 24.0, 110.0
    step = (right - left) / max(len(values) - 1, 1)
    at = [(left + step * n, top + height * (1 - value) if value is not None else None) for n, value in enumerate(values)]
    shapes: list[Markup] = []
    for mark in (0, 50, 100):
        level = top + height * (1 - mark / 100)
        shapes += [
            element("line", x1=left, x2=right, y1=level, y2=level, class_="grid"),
            element("text", str(mark), x=left - 8, y=level + 4, class_="axis end"),
        ]
    shapes += [element("polyline", points=_points(run), class_="trend") for run in _runs(at) if len(run) > 1]
    for (x, y), value, label in zip(at, values, labels, strict=True):
        shapes.append(element("text", label, x=x, y=top + height + 28, class_="axis"))
        if y is None:
            shapes.append(element("text", "–", x=x, y=top + height - 6, class_="axis"))
        else:
            shapes += [
                element("circle", cx=x, cy=y, r=3.5, class_="trend-point"),
                element("text", points(value), x=x, y=y - 8, class_="trend-value"),
            ]
    return _chart(title, 640, 168, *shapes, class_="line")


def spark(times: Sequence[float], values: Sequence[float], title: str) -> Markup:
    """Return levels over time, between their own lowest and highest; ``times`` rise."""
    low, high = min(values), max(values)
    # A level that hardly moves must not look like a mountain range.
    spread = max(high - low, 0.05 * max(abs(high), abs(low)), 1e-9)
    middle = (high + low) / 2
    length = max(times[-1] - times[0], 1e-9)
    at = [
        (4 + 172 * ((time - times[0]) / length if len(times) > 1 else 1), 24 - 34 * (value - middle) / spread)
        for time, value in zip(times, values, strict=True)
    ]
    shapes = [element("line", x1=4, x2=176, y1=44, y2=44, class_="grid")]
    if len(at) > 1:
        shapes.append(element("polyline", points=_points(at), class_="trend"))
    shapes.append(element("circle", cx=at[-1][0], cy=at[-1][1], r=3, class_="trend-point"))
    return _chart(title, 180, 48, *shapes, class_="spark")


def _runs(at: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in at:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return runs


def _points(run: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
