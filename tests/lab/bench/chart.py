"""A result as a chart: an SVG file that is readable on a light and on a dark page."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from streams.evaluation.report.markup import Markup, element

__all__ = ["chart"]

_WIDTH: Final = 760
_LEFT: Final = 190
_RIGHT: Final = 110
_ROW: Final = 30
_BAR: Final = 18
_TOP: Final = 8
#: Colours of GitHub's two themes, told apart in grey as well.
_STYLE: Final = Markup(
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.end{text-anchor:end}.strong{font-weight:600}"
    ".ceiling{fill:#afb8c1}.classpulse{fill:#1f5f8b}.peer{fill:#d9822b}"
    ".range{stroke:#1f2328;stroke-width:1.5}.base{stroke:#afb8c1}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.ceiling{fill:#6e7681}.classpulse{fill:#58a6ff}"
    ".peer{fill:#e3a008}.range{stroke:#e6edf3}.base{stroke:#6e7681}}"
)


class _Line(NamedTuple):
    name: str
    look: str
    rate: float
    slowest: float
    fastest: float


def chart(result: Mapping[str, Any]) -> str:
    """Return the SVG of what ``classpulse bench --json`` printed: bars of the medians, with the range of the rounds."""
    lines = _lines(result)
    scale = (_WIDTH - _LEFT - _RIGHT) / max(line.fastest for line in lines)
    height = 2 * _TOP + _ROW * len(lines)
    title = "Events per second, median of the rounds: " + ", ".join(f"{line.name} {line.rate:,.0f}" for line in lines)
    shapes = [shape for row, line in enumerate(lines) for shape in _row(line, _TOP + row * _ROW, scale)]
    drawn = element(
        "svg",
        element("title", title),
        element("style", _STYLE),
        *shapes,
        element("line", x1=_LEFT, x2=_LEFT, y1=_TOP / 2, y2=height - _TOP / 2, class_="base"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
    )
    return f"{drawn}\n"


def _lines(result: Mapping[str, Any]) -> list[_Line]:
    rounds = result["rounds"]
    peers = sorted(result["peers"], key=lambda name: -float(result["peers"][name]["events_per_second"]))
    return [
        _line("ceiling: aiokafka alone", "ceiling", result["ceiling_events_per_second"], rounds["ceiling"]),
        _line("classpulse", "classpulse", result["classpulse_events_per_second"], rounds["classpulse"]),
        *(_line(name, "peer", result["peers"][name]["events_per_second"], rounds[name]) for name in peers),
    ]


def _line(name: str, look: str, rate: float, rounds: Sequence[Mapping[str, Any]]) -> _Line:
    rates = [float(each["events_per_second"]) for each in rounds]
    return _Line(name, look, float(rate), min(rates), max(rates))


def _row(line: _Line, top: float, scale: float) -> list[Markup]:
    middle, slowest, fastest = top + _ROW / 2, _LEFT + line.slowest * scale, _LEFT + line.fastest * scale
    weight = " strong" if line.look == "classpulse" else ""
    return [
        element("text", line.name, x=_LEFT - 8, y=middle + 4.5, class_=f"end{weight}"),
        element("rect", x=_LEFT, y=middle - _BAR / 2, width=max(line.rate * scale, 1), height=_BAR, rx=2, class_=line.look),
        element("line", x1=slowest, x2=fastest, y1=middle, y2=middle, class_="range"),
        element("text", f"{line.rate:,.0f}", x=fastest + 8, y=middle + 4.5, class_=f"value{weight}"),
    ]
