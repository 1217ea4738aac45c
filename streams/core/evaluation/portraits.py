"""Metrics 28 to 30 as pure functions of observations: decayed levels, active days, robust z.

``schemas/evaluation/portraits.py`` says what they mean.

A portrait is carried forward day by day: what an entity's portrait says on a day follows from its state before the day and
the day's observations alone, so that a whole district fits in memory, and a late change begins where it changes something.

Frames: **levels** has ``entity_id, dimension, level, weight, observed_on`` (date of the latest observation, as of which the
weight is); **activity** has ``entity_id, last_active`` (date), ``active_mask`` (Int64: bit i is set if the entity was
active i days before ``last_active``, for i from 0 to 27); **observed** has ``entity_id, dimension, observed,
sample_size`` for one day, without NULL.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

from schemas.evaluation.portraits import (
    ACTIVE_DAYS_LONG,
    ACTIVE_DAYS_SHORT,
    HALF_LIFE_DAYS,
    INACTIVE_DAYS,
    LEAST_MAD,
    MAD_SCALE,
    MIN_PEERS,
)

__all__ = [
    "ACTIVITY_SCHEMA",
    "LEVELS_SCHEMA",
    "OBSERVED_SCHEMA",
    "PEERS_SCHEMA",
    "PORTRAIT_SCHEMA",
    "State",
    "day_forward",
    "peer_statistics",
    "portrait_days",
    "robust_z",
    "same",
]

LEVELS_SCHEMA: Final = pl.Schema(
    [
        ("entity_id", pl.String()),
        ("dimension", pl.String()),
        ("level", pl.Float64()),
        ("weight", pl.Float64()),
        ("observed_on", pl.Date()),
    ]
)
ACTIVITY_SCHEMA: Final = pl.Schema([("entity_id", pl.String()), ("last_active", pl.Date()), ("active_mask", pl.Int64())])
OBSERVED_SCHEMA: Final = pl.Schema(
    [("entity_id", pl.String()), ("dimension", pl.String()), ("observed", pl.Float64()), ("sample_size", pl.UInt64())]
)
#: What a portrait says of one entity, dimension and day.
PORTRAIT_SCHEMA: Final = pl.Schema(
    [
        ("entity_id", pl.String()),
        ("dimension", pl.String()),
        ("day", pl.Date()),
        ("observed", pl.Float64()),
        ("sample_size", pl.UInt64()),
        ("level", pl.Float64()),
        ("weight", pl.Float64()),
        ("active_days_7", pl.UInt8()),
        ("active_days_28", pl.UInt8()),
        ("inactive", pl.UInt8()),
    ]
)
PEERS_SCHEMA: Final = pl.Schema(
    [
        ("peer_group", pl.String()),
        ("dimension", pl.String()),
        ("peers", pl.UInt32()),
        ("median", pl.Float64()),
        ("mad", pl.Float64()),
    ]
)
#: Sums of the same numbers in another order differ by less.
_TOLERANCE: Final = 1e-12
_SHORT_MASK: Final = (1 << ACTIVE_DAYS_SHORT) - 1
_LONG_MASK: Final = (1 << ACTIVE_DAYS_LONG) - 1


@dataclass(frozen=True, slots=True)
class State:
    """What the portraits of the coming days follow from, besides observations: frames *levels* and *activity*."""

    levels: pl.DataFrame
    activity: pl.DataFrame

    @classmethod
    def empty(cls) -> "State":
        """Return the state of no entity."""
        return cls(pl.DataFrame(schema=LEVELS_SCHEMA), pl.DataFrame(schema=ACTIVITY_SCHEMA))

    def joined(self, other: "State") -> "State":
        """Return the state of the entities of both; no entity may be in both."""
        return State(pl.concat([self.levels, other.levels]), pl.concat([self.activity, other.activity]))


def day_forward(state: State, observed: pl.DataFrame, day: date, *, day_is_over: bool) -> tuple[State, pl.DataFrame]:
    """Return the state after ``day``, and what the portraits say on it: rows of ``PORTRAIT_SCHEMA``.

    ``state`` is that before the day. Rows exist for each observation and, if ``day_is_over``, for each dimension of the
    entities that become inactive on the day.
    """
    today = pl.lit(day, pl.Date)
    levels = _levels_after(state.levels, observed, today)
    activity = _activity_after(state.activity, observed, today)
    active = activity.filter(pl.col("last_active") == today).select(
        "entity_id",
        active_days_7=_days_in(pl.col("active_mask"), _SHORT_MASK),
        active_days_28=_days_in(pl.col("active_mask"), _LONG_MASK),
        inactive=pl.lit(0, pl.UInt8),
    )
    seen = observed.join(levels, on=["entity_id", "dimension"]).join(active, on="entity_id")
    rows = [_portrait_rows(seen, today)]
    if day_is_over:
        silent = activity.filter(pl.col("last_active") == today - timedelta(days=INACTIVE_DAYS)).select(
            "entity_id",
            active_days_7=_days_in(pl.col("active_mask") * (1 << INACTIVE_DAYS), _SHORT_MASK),
            active_days_28=_days_in(pl.col("active_mask") * (1 << INACTIVE_DAYS), _LONG_MASK),
            inactive=pl.lit(1, pl.UInt8),
        )
        unseen = levels.join(silent, on="entity_id").with_columns(observed=pl.lit(None, pl.Float64), sample_size=0)
        rows.append(_portrait_rows(unseen, today))
    return State(levels, activity), pl.concat(rows)


def portrait_days(observations: pl.DataFrame, *, last_day_over: date) -> pl.DataFrame:
    """Return what the portraits say on every day: rows of ``PORTRAIT_SCHEMA``, by day.

    ``observations`` has ``entity_id, dimension, day, observed, sample_size``, at most one of each entity, dimension
    and day, in any order. Days until ``last_day_over`` are over.
    """
    if observations.is_empty():
        return pl.DataFrame(schema=PORTRAIT_SCHEMA)
    by_day = {day: rows for (day,), rows in observations.partition_by("day", as_dict=True).items()}
    nothing = pl.DataFrame(schema=OBSERVED_SCHEMA)
    silent = {day + timedelta(days=INACTIVE_DAYS) for day in by_day}
    state, found = State.empty(), []
    for day in sorted(by_day.keys() | silent):
        observed = by_day[day].select(OBSERVED_SCHEMA.names()) if day in by_day else nothing
        state, rows = day_forward(state, observed, day, day_is_over=day <= last_day_over)
        found.append(rows)
    return pl.concat(found)


def peer_statistics(levels: pl.DataFrame) -> pl.DataFrame:
    """Return median and MAD of each peer group and dimension: rows of ``PEERS_SCHEMA``.

    ``levels`` has ``peer_group, dimension, level``: one level of each peer. The median of an even number of levels is the
    mean of the middle two. Entities without a peer group (empty) have no peers.
    """
    return (
        levels.filter(pl.col("peer_group") != "")
        .group_by("peer_group", "dimension")
        .agg(
            peers=pl.len().cast(pl.UInt32),
            median=pl.col("level").median(),
            mad=(pl.col("level") - pl.col("level").median()).abs().median(),
        )
        .select(PEERS_SCHEMA.names())
    )


def robust_z(level: pl.Expr, median: pl.Expr, mad: pl.Expr, peers: pl.Expr) -> pl.Expr:
    """Return z of ``level``; NULL with fewer than ``MIN_PEERS`` peers and for a MAD of 0 (``LEAST_MAD``)."""
    return pl.when((peers >= MIN_PEERS) & (mad > LEAST_MAD)).then((level - median) / (MAD_SCALE * mad))


def same(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Whether two numbers are the same but for the order of the sums behind them; NULL is the same as NULL."""
    close = (left - right).abs() <= _TOLERANCE * pl.max_horizontal(1.0, left.abs(), right.abs())
    return close.fill_null(left.is_null() & right.is_null())


def _levels_after(levels: pl.DataFrame, observed: pl.DataFrame, today: pl.Expr) -> pl.DataFrame:
    days = (today - pl.col("observed_on")).dt.total_days()
    faded = (pl.lit(2.0) ** (-days / HALF_LIFE_DAYS) * pl.col("weight")).fill_null(0.0)
    sample = pl.max_horizontal("sample_size", 1).cast(pl.Float64)
    weight = faded + sample
    level = (faded * pl.col("level").fill_null(0.0) + sample * pl.col("observed")) / weight
    seen = observed.join(levels, on=["entity_id", "dimension"], how="left").select(
        "entity_id", "dimension", level=level, weight=weight, observed_on=today
    )
    unseen = levels.join(observed, on=["entity_id", "dimension"], how="anti")
    return pl.concat([unseen, seen])


def _activity_after(activity: pl.DataFrame, observed: pl.DataFrame, today: pl.Expr) -> pl.DataFrame:
    days = (today - pl.col("last_active")).dt.total_days()
    # Bits that leave the mask are cut before the shift, which is a product and must not overflow.
    shifted = pl.when(days < ACTIVE_DAYS_LONG).then(pl.col("active_mask") * pl.lit(2, pl.Int64).pow(days)).otherwise(0)
    seen = (
        observed.select("entity_id")
        .unique()
        .join(activity, on="entity_id", how="left")
        .select("entity_id", last_active=today, active_mask=shifted.fill_null(0) % (_LONG_MASK + 1) + 1)
    )
    return pl.concat([activity.join(observed, on="entity_id", how="anti"), seen])


def _days_in(mask: pl.Expr, within: int) -> pl.Expr:
    return (mask & within).bitwise_count_ones().cast(pl.UInt8)


def _portrait_rows(found: pl.DataFrame, today: pl.Expr) -> pl.DataFrame:
    return found.with_columns(day=today).select(pl.col(name).cast(dtype) for name, dtype in PORTRAIT_SCHEMA.items())
