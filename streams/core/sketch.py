"""Quantiles that merge: DDSketch (Masson, Rim and Lee 2019), a histogram whose buckets grow by a fixed ratio.

The middle of a bucket is within ``SKETCH_ACCURACY`` of everything in it, and two sketches merge by adding up the counts
of each bucket, so a quantile of many lessons is within that relative error whatever their number.
"""

import math

import polars as pl

from schemas.metrics.classroom.questions import SKETCH_ACCURACY
from streams.core.codes import lower_of, pair, upper_of

_LOG_RATIO = math.log((1 + SKETCH_ACCURACY) / (1 - SKETCH_ACCURACY))


def bucket_of(value: pl.Expr) -> pl.Expr:
    """Return the bucket of ``value``; what is below 1 goes with 1, into bucket 0."""
    return (value.clip(lower_bound=1).cast(pl.Float64).log() / _LOG_RATIO).ceil().cast(pl.Int64)


def sketches(values: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return ``key, parts``: the sketch of ``column`` for each key, as bucket, count, bucket, count ..., by bucket."""
    codes = values.select(pair(pl.col("key"), bucket_of(pl.col(column)).cast(pl.UInt32)).alias("code")).to_series()
    runs = codes.sort().rle().struct.unnest()
    numbers = [one.cast(pl.Float64) for one in (lower_of(pl.col("value")), pl.col("len"))]
    pairs = runs.select(key=upper_of(pl.col("value")).set_sorted(), parts=pl.concat_arr(numbers))
    return pairs.group_by("key", maintain_order=True).agg(pl.col("parts").explode())
