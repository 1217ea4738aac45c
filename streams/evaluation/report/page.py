"""The page, drawn by the templates beside this module. It asks no clock, so the same data gives the same page."""

import re
import shlex
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from schemas.evaluation.tree import LOWEST_COVERAGE
from streams.evaluation.report import charts
from streams.evaluation.report.data import FEWEST_PEERS, Node, Quality, ReportData, week_days
from streams.evaluation.report.wording import KINDS, NO_VALUE, day, percent, points, quantity
from streams.evaluation.weeks import iso_week

__all__ = ["page", "templates"]

MOST_LISTED: Final = 4
#: From these shares on the quality of the data is worth a sentence.
_RECEIVED_FROM: Final = 0.98
_LATE_FROM: Final = 0.05
_REJECTED_FROM: Final = 0.01
#: Neither HTML nor XML may hold the first, not even escaped; the others could make text look as if it stood elsewhere.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def page(data: ReportData) -> str:
    """Return the report as one HTML page, which is well-formed XML as well."""
    strong, weak = _strengths(data)
    utc = data.as_of.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    command = ["report", data.subject.kind, data.subject.entity_id, "--week", iso_week(data.week), "--as-of", utc]
    return _ENVIRONMENT.get_template("page.html.j2").render(
        data=data,
        sunday=week_days(data.week)[1],
        strong=strong,
        weak=weak,
        local=data.as_of.astimezone(ZoneInfo(data.time_zone)),
        utc=utc,
        command=shlex.join(["classpulse", *command]),
    )


def templates() -> list[str]:
    """Return the names of the page's templates."""
    return _ENVIRONMENT.list_templates()


def _strengths(data: ReportData) -> tuple[list[Node], list[Node]]:
    """Return the strongest indicators, and those by which the whole would gain most."""
    known = data.indicators()
    strong = sorted(known, key=lambda node: (-(node.value or 0), -node.weight, node.path))
    weak = sorted(known, key=lambda node: (-node.lost, node.path))
    return (
        [node for node in strong if (node.value or 0) >= charts.GOOD_FROM][:MOST_LISTED],
        [node for node in weak if (node.value or 0) < charts.GOOD_FROM][:MOST_LISTED],
    )


def _quality_words(quality: Quality) -> list[tuple[str, str]]:
    """Say what the quality of the data means for the reader, also where it is not known."""
    if quality == Quality():
        return [("本周数据质量尚未统计。", "The quality of the week's data has not been counted.")]
    found = []
    if quality.received is None:
        words = "No device numbers its events, so whether any are missing is unknown."
        found.append(("设备没有给事件编号，无法判断是否缺失。", words))
    elif quality.received < _RECEIVED_FROM:
        lost = percent(1 - quality.received)
        words = f"About {lost} of the events did not arrive; what is counted here may be too low."
        found.append((f"约 {lost} 的事件未到达，数字可能偏低。", words))
    if (late := quality.late or 0.0) >= _LATE_FROM:
        words = f"{percent(late)} of the events came late: who read this week earlier may have read other numbers."
        found.append((f"{percent(late)} 的事件迟到，此前读到的数字可能不同。", words))
    if (rejected := quality.dead_letter or 0.0) >= _REJECTED_FROM:
        words = f"{percent(rejected)} of the district's records were rejected as malformed and are counted nowhere."
        found.append((f"全区 {percent(rejected)} 的记录格式有误被拒收，不计入任何数字。", words))
    return found or [("数据基本完整。重复事件已剔除。", "The data are nearly complete. Duplicates are not counted.")]


def _shown(value: Any) -> Any:
    """Clean text before it is escaped; names and ids come from outside. Raises ``TypeError`` for what has no text."""
    if value is None:
        raise TypeError("a template shows a value that there is not")
    return value if isinstance(value, Markup) else _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value))


_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "coordinate": charts.coordinate,
    "count": lambda number: f"{number:,}",
    "dashes": charts.dashes,
    "day": day,
    "grade": charts.grade,
    "iso_week": iso_week,
    "percent": percent,
    "points": points,
    "quality_words": _quality_words,
    "quantity": quantity,
    "signed": lambda number: f"{number:+z.1f}",
    "sparkline": charts.sparkline,
    "stretches": charts.stretches,
    "weekly": charts.weekly,
}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("streams.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    environment.globals |= {
        "colours": charts.COLOURS,
        "fewest_peers": FEWEST_PEERS,
        "kinds": KINDS,
        "lowest_coverage": LOWEST_COVERAGE,
        "marks": (charts.WEAK_BELOW, charts.GOOD_FROM),
        "no_value": NO_VALUE,
    }
    return environment


_ENVIRONMENT: Final = _environment()
