"""A result as a chart: an SVG file that is readable on a light and on a dark page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, StrictUndefined

__all__ = ["chart"]

#: Width of the drawing that the longest bar may take.
_BARS_WIDTH: Final = 460


class _Line(NamedTuple):
    name: str
    look: str
    rate: float
    slowest: float
    fastest: float


def chart(result: Mapping[str, Any]) -> str:
    """Return the SVG of what ``classpulse bench --json`` printed: bars of the medians, with the range of the rounds."""
    lines = _lines(result)
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    text = Path(__file__).with_name("chart.svg.j2").read_text(encoding="utf-8")
    scale = _BARS_WIDTH / max(line.fastest for line in lines)
    return template.from_string(text).render(lines=lines, scale=scale)


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
