"""Names and numbers as a reader wants them: Chinese first, English beside it, units that fit the size."""

from datetime import date
from typing import Final

from schemas.evaluation.indicators import indicator_metric
from schemas.evaluation.tree import Band, Indicator, Linear
from streams.output.numbers import fixed, significant

__all__ = ["KINDS", "NO_VALUE", "day", "norm_words", "percent", "points", "quantity"]

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
#: From how many seconds on a duration is told in another unit, and that unit.
_LENGTHS: Final = ((172_800, 86_400, "天 d"), (7_200, 3_600, "小时 h"), (120, 60, "分钟 min"))
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


def points(value: float | None) -> str:
    """Return a score from 0 to 1 as points of 100."""
    return NO_VALUE if value is None else fixed(100 * value, 1)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share."""
    if value is None:
        return NO_VALUE
    # What is not all must not be rounded to all.
    shown = fixed(100 * value, digits)
    if value < 1 and shown == fixed(100, digits):
        return f">{fixed(100 - 10**-digits, digits)} %"
    return f"{shown} %"


def quantity(value: float | None, unit: str) -> str:
    """Return a metric with its unit."""
    if value is None:
        return NO_VALUE
    if unit in _SHARES:
        return percent(value)
    if unit in _SECONDS:
        return _duration(value * _SECONDS[unit])
    if unit == "minutes":
        return f"{fixed(value, 0)} {_UNITS[unit]}"
    return f"{significant(value, 3)} {_UNITS.get(unit, '' if unit in _PLAIN else unit)}".strip()


def _duration(seconds: float) -> str:
    for least_seconds, unit_seconds, words in _LENGTHS:
        if abs(seconds) >= least_seconds:
            return f"{fixed(seconds / unit_seconds, 1)} {words}"
    return f"{fixed(seconds, 1)} 秒 s"


def norm_words(indicator: Indicator) -> tuple[str, str]:
    """Return in Chinese and English for what an indicator earns all points and none; between, they are in proportion."""
    norm, unit = indicator.norm, indicator_metric(indicator.metric, indicator.item).unit

    def shown(bound: float) -> str:
        return f"{significant(100 * bound, 3)} %" if unit in _SHARES else quantity(bound, unit)

    match norm:
        case Linear():
            none, full = shown(norm.zero), shown(norm.one)
            more, less = ("以上", "以下") if norm.one > norm.zero else ("以下", "以上")
            beyond, short = ("or more", "or less") if norm.one > norm.zero else ("or less", "or more")
            words = (
                f"{full} 及{more}满分，{none} 及{less} 0 分",
                f"all points for {full} {beyond}, none for {none} {short}",
            )
        case Band():
            low, high, below, above = (shown(bound) for bound in (norm.low, norm.high, norm.zero_below, norm.zero_above))
            words = (
                f"{low} 至 {high} 满分，到 {below} 和 {above} 为 0 分",
                f"all points from {low} to {high}, none at {below} and {above}",
            )
        case _:
            words = ("100 % 满分", "all points for 100 %")
    if indicator.min_sample:
        least = indicator.min_sample
        return f"{words[0]}；样本不足 {least} 个不评分", f"{words[1]}; not scored with a sample below {least}"
    return words


def day(one: date) -> str:
    """Return a day without its year, as the page says it once."""
    return f"{one.month}/{one.day}"
