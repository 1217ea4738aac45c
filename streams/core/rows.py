"""Metric rows: the shape every metric leaves in."""

from collections.abc import Iterable
from typing import Final

import polars as pl

from schemas.metrics.catalogue import METRICS

#: Columns of a metric row, in order. ``slot_us`` is part of the row's identity; the bounds are not, since they may move.
ROW_SCHEMA = pl.Schema(
    [
        ("metric", pl.String()),
        ("window", pl.String()),
        ("key", pl.String()),
        ("item", pl.String()),
        ("slot_us", pl.Int64()),
        ("window_start_us", pl.Int64()),
        ("window_end_us", pl.Int64()),
        ("value", pl.Float64()),
        ("numerator", pl.Float64()),
        ("denominator", pl.Float64()),
        ("sample_size", pl.UInt32()),
        ("parts", pl.List(pl.Float64())),
    ]
)


_HIGHEST: Final = {metric.name: metric.highest for metric in METRICS}
_ROUNDING: Final = 1e-9
_PLACE: Final = ("key", "item", "slot_us", "window_start_us", "window_end_us", "parts")
_NUMBERS: Final = ("numerator", "denominator", "sample_size")


def metric_rows(metric: str, window: str | pl.Expr, computed: pl.DataFrame, **numbers: pl.Expr | str) -> pl.DataFrame:
    """Return the rows of one metric and window, for ``joined``.

    ``computed`` has ``key, window_start_us, window_end_us``, and ``item``, ``slot_us`` or ``parts`` where they are not
    empty and 0; and ``numerator, denominator, sample_size``, but for those that ``numbers`` gives.
    """
    given = {name: numbers.get(name, name) for name in _NUMBERS}
    told = {name: pl.col(one) if isinstance(one, str) else one for name, one in given.items()}
    return computed.select(
        *(name for name in _PLACE if name in computed.columns),
        *(told[name].cast(ROW_SCHEMA[name]).alias(name) for name in _NUMBERS),
        metric=pl.lit(metric),
        window=pl.lit(window) if isinstance(window, str) else window,
        highest=pl.lit(_HIGHEST.get(metric), pl.Float64),
    )


def _value() -> pl.Expr:
    """Return a metric's value: NULL where the denominator is 0; the bound where only rounding has raised it above."""
    value = pl.when(pl.col("denominator") != 0).then(pl.col("numerator") / pl.col("denominator"))
    highest = pl.col("highest")
    return pl.when(value.is_between(highest, highest + _ROUNDING)).then(highest).otherwise(value)


def joined(found: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return what ``metric_rows`` found as rows of ``ROW_SCHEMA``; the type of ``key`` is left as it is."""
    defaults = {"item": "", "slot_us": 0, "parts": []}
    missing = pl.DataFrame(schema={name: ROW_SCHEMA[name] for name in defaults})
    every = pl.concat([missing, *found], how="diagonal")
    filled = {name: pl.col(name).fill_null(pl.lit(default, ROW_SCHEMA[name])) for name, default in defaults.items()}
    # Of all metrics together: a frame of one lesson may hold a column as one number, by which Polars divides otherwise, so
    # that the last digit of a value would depend on what else is in the write.
    columns = {"value": _value(), **filled}
    return every.select(columns.get(name, pl.col(name)).alias(name) for name in ROW_SCHEMA)
