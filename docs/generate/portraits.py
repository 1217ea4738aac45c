"""``docs/portraits.md``: formulas and dimensions of the portraits, and the metrics of persons."""

from datetime import date, timedelta
from typing import Final

import polars as pl

from docs.generate.markdown import code, table
from schemas.evaluation import portraits as declared
from schemas.evaluation.portraits import DIMENSIONS, HALF_LIFE_DAYS, KINDS
from schemas.metrics.persons import PERSON_METRICS, PersonMetric
from streams.core.evaluation.portraits import portrait_days

__all__ = ["OBSERVATIONS", "blocks"]

#: Of the example: how many days before the last one, what was observed, and with which sample.
OBSERVATIONS: Final = ((14, 0.2, 2), (7, 0.6, 1), (0, 0.8, 4))
_LAST: Final = date(2026, 11, 16)


def blocks() -> dict[str, str]:
    """Return the blocks of the page by name."""
    return {
        "portrait-formulas": _formulas(),
        "portrait-example": _example(),
        "portrait-dimensions": _dimensions(),
        "person-metrics": _persons(),
    }


def _formulas() -> str:
    """Return what the declaration says: the docstring of its module without its first line, names as values."""
    text = (declared.__doc__ or "").split("\n", 1)[1].strip().replace("``", "`")
    for name in ("HALF_LIFE_DAYS", "MIN_PEERS", "LEAST_MAD", "INACTIVE_DAYS"):
        text = text.replace(f"`{name}`", f"{getattr(declared, name):g}")
    return text.replace("-th day", "th day")


def _example() -> str:
    frame = pl.DataFrame(
        {
            "entity_id": "s01-c1",
            "dimension": "attendance",
            "day": [_LAST - timedelta(days=age) for age, _, _ in OBSERVATIONS],
            "observed": [value for _, value, _ in OBSERVATIONS],
            "sample_size": [sample for _, _, sample in OBSERVATIONS],
        },
        schema_overrides={"sample_size": pl.UInt64},
    )
    levels = portrait_days(frame, last_day_over=_LAST)["level"].to_list()
    rows = [
        [
            str(_LAST - timedelta(days=age)),
            str(age),
            f"{value}",
            str(sample),
            f"{2 ** (-age / HALF_LIFE_DAYS):.4f}",
            f"{level:.4f}",
        ]
        for (age, value, sample), level in zip(OBSERVATIONS, levels, strict=True)
    ]
    over = " + ".join(f"{2 ** (-age / HALF_LIFE_DAYS):.4f} x {sample} x {value}" for age, value, sample in OBSERVATIONS)
    under = " + ".join(f"{2 ** (-age / HALF_LIFE_DAYS):.4f} x {sample}" for age, _, sample in OBSERVATIONS)
    columns = ["day", "age on the last day", "observation x", "sample n", "w on the last day", "level of the day"]
    return f"{table(columns, rows)}\n\nOn the last day: ({over}) / ({under}) = **{levels[-1]:.4f}**."


def _dimensions() -> str:
    rows = [
        [
            kind,
            code(one.name),
            f"{one.chinese} {one.english}",
            code(one.metric),
            one.direction,
            "week" if one.weekly else "day",
        ]
        for kind in KINDS
        for one in DIMENSIONS[kind]
    ]
    return table(["kind", "dimension", "", "metric", "direction", "observed by"], rows)


def _persons() -> str:
    rows = [
        [
            code(metric.name),
            f"{metric.chinese} {metric.english}",
            code(metric.source),
            _sum(metric.numerator),
            _denominator(metric),
            "from 0" if metric.highest is None else f"0 to {metric.highest:g}",
            _sum((metric.sample,)) if metric.sample else "rows",
        ]
        for metric in PERSON_METRICS
    ]
    return table(["metric", "", "from", "numerator", "denominator", "range", "sample size"], rows)


def _sum(parts: tuple[str, ...]) -> str:
    return "sum of " + " x ".join(map(code, parts)) if parts else "rows"


def _denominator(metric: PersonMetric) -> str:
    return _sum(metric.denominator) + (f" / {metric.scale:g}" if metric.scale != 1 else "")
