"""Metric rows: the shape every figure leaves in."""

import polars as pl

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


def metric_rows(metric: str, window: str, figures: pl.DataFrame) -> pl.DataFrame:
    """Return rows of ``ROW_SCHEMA`` for one metric and window.

    ``figures`` has ``key, window_start_us, window_end_us, numerator, denominator, sample_size``, and ``item``,
    ``slot_us`` or ``parts`` where they are not empty and 0. The value is NULL where the denominator is 0. The type of
    ``key`` is left as it is.
    """
    numerator, denominator = pl.col("numerator").cast(pl.Float64), pl.col("denominator").cast(pl.Float64)
    told = {
        "metric": pl.lit(metric),
        "window": pl.lit(window),
        "value": pl.when(denominator != 0).then(numerator / denominator),
    }
    defaults = {"item": pl.lit(""), "slot_us": pl.lit(0, pl.Int64), "parts": pl.lit([], pl.List(pl.Float64))}
    columns = {**defaults, **{name: pl.col(name) for name in figures.columns}, **told}
    return figures.select(
        (columns[name].cast(dtype) if name != "key" else columns[name]).alias(name) for name, dtype in ROW_SCHEMA.items()
    )
