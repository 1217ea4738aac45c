"""Names and numbers as a reader wants them: Chinese first, English beside it, units that fit the size."""

from datetime import date
from typing import Final

from streams.report.markup import Markup, element, join

__all__ = ["KINDS", "NO_VALUE", "both", "day", "is_plain", "percent", "points", "quantity"]

NO_VALUE: Final = "–"
KINDS: Final = {
    "school": ("学校", "School"),
    "teacher": ("教师", "Teacher"),
    "class": ("班级", "Class"),
    "group": ("教育集团", "Education group"),
}
_SHARES: Final = ("share",)
_PLAIN: Final = ("ratio", "0 to 1")
_SECONDS: Final = {"seconds": 1.0, "milliseconds": 0.001}
_UNITS: Final = {
    "minutes": "分钟 min",
    "hands per student and minute": "次/人·分 per student-min",
    "interactions per student and minute": "次/人·分 per student-min",
    "interactions per minute": "次/分 per min",
    "interactions per minute of presence": "次/分 per min",
    "contributions per attended minute": "次/分 per min",
    "reports": "份 reports",
    "improvements per report": "项/份 per report",
    "steps per lesson": "步/课 per lesson",
    "observations per activity": "次/活动 per activity",
    "improvements per activity": "项/活动 per activity",
}


def both(chinese: str, english: str) -> Markup:
    """Return a name in both languages, the English one smaller."""
    return join(chinese, " ", element("span", english, class_="en", lang="en"))


def points(value: float | None) -> str:
    """Return a score from 0 to 1 as points of 100."""
    return NO_VALUE if value is None else f"{100 * value:.1f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share."""
    if value is None:
        return NO_VALUE
    # What is not all must not be rounded to all.
    shown = f"{100 * value:.{digits}f}"
    if value < 1 and float(shown) == 100:
        return f">{100 - 10**-digits:.{digits}f} %"
    return f"{shown} %"


def is_plain(unit: str) -> bool:
    """Return whether a figure of this unit is a number alone."""
    return unit in _SHARES or unit in _PLAIN


def quantity(value: float | None, unit: str) -> str:
    """Return a figure with its unit."""
    if value is None:
        return NO_VALUE
    if unit in _SHARES:
        return percent(value)
    if unit in _SECONDS:
        return _duration(value * _SECONDS[unit])
    if unit == "minutes":
        return f"{value:,.0f} {_UNITS[unit]}"
    suffix = _UNITS.get(unit, "" if unit in _PLAIN else unit)
    return f"{value:,.3g} {suffix}".strip() if abs(value) < 1000 else f"{value:,.0f} {suffix}".strip()


def _duration(seconds: float) -> str:
    for size, words in ((172_800, "天 d"), (7_200, "小时 h"), (120, "分钟 min")):
        if abs(seconds) >= size:
            return f"{seconds / {172_800: 86_400, 7_200: 3_600, 120: 60}[size]:,.1f} {words}"
    return f"{seconds:,.1f} 秒 s"


def day(one: date) -> str:
    """Return a day without its year, as the page says it once."""
    return f"{one.month}/{one.day}"
