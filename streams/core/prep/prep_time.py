"""How long a teacher prepares, and on which weekdays: metrics 16 and 17.

Formulas: ``schemas/metrics/prep/prep_time.py``.
"""

import math

import polars as pl

from schemas.metrics.metric import DAY_US, MINUTE_US, WINDOW_7D, WINDOW_ISO_WEEK, Window
from schemas.metrics.prep.prep_time import LONGEST_DAY_US, PREP_ACTIVITY_TYPES, PREP_GAP_US
from streams.core.days import days_in, local_day, midnight_us, windows_of, with_bounds
from streams.core.rows import metric_rows

#: What lies farther than this from every fresh event shares no window with one: a week, a longer day, and a gap.
_FAR_US = 8 * DAY_US
_HEARTBEAT, _COEDITED = "prep.heartbeat.recorded", "prep.plan.coedited"
_WEEKDAYS = [f"weekday_{number}" for number in range(1, 8)]
#: Who prepares evenly on them is regular; nobody has to on the weekend.
_WORKDAYS = _WEEKDAYS[:5]


def rows(cached: pl.DataFrame, fresh: pl.DataFrame, time_zone: str) -> list[pl.DataFrame]:
    """Return the rows of both metrics, over 7 days and over ISO weeks."""
    fresh_activity = _activity(fresh)
    reach = fresh_activity.group_by("key").agg(
        from_us=pl.col("time_us").min() - _FAR_US, to_us=pl.col("time_us").max() + _FAR_US
    )
    near = (
        _activity(cached)
        .join(reach, on="key")
        .filter(pl.col("time_us").is_between(pl.col("from_us"), pl.col("to_us")))
        .select("key", "time_us", day=local_day(pl.col("time_us"), time_zone))
    )
    days = (
        near.group_by("key", "day")
        .agg(activities=pl.len())
        .join(_active_by_day(near, time_zone), on=["key", "day"], how="left")
    )
    # A gap reaches at most PREP_GAP_US over a window's edge, so the neighbours' windows may change as well.
    reached = pl.concat(
        [
            fresh_activity.select("key", day=local_day(pl.col("time_us") + shift_us, time_zone))
            for shift_us in (-PREP_GAP_US, 0, PREP_GAP_US)
        ]
    )
    return [
        row
        for window in (WINDOW_7D, WINDOW_ISO_WEEK)
        for row in _rows(days, windows_of(reached, window), window, time_zone)
    ]


def _activity(events: pl.DataFrame) -> pl.DataFrame:
    idle = (pl.col("type") == _HEARTBEAT) & (pl.col("had_input") == pl.lit(value=False)).fill_null(value=False)
    of_others = (pl.col("type") == _COEDITED) & (pl.col("editor_id") != pl.col("key"))
    own = events.filter(pl.col("type").is_in(PREP_ACTIVITY_TYPES) & ~idle & ~of_others)
    return own.select("key", "time_us")


def _active_by_day(activity: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """Return ``key, day, active_us``: the gaps that count, cut at local midnight, up to the most that a day may have."""
    ordered = activity.unique().sort("key", "time_us")
    gaps = (
        ordered.with_columns(
            end_us=pl.col("time_us").shift(-1), end_day=pl.col("day").shift(-1), next=pl.col("key").shift(-1)
        )
        .filter((pl.col("key") == pl.col("next")) & (pl.col("end_us") - pl.col("time_us") <= PREP_GAP_US))
        .rename({"time_us": "start_us"})
    )
    within = pl.col("day") == pl.col("end_day")
    over = gaps.filter(~within).with_columns(midnight_us=midnight_us(pl.col("end_day"), time_zone))
    return (
        pl.concat(
            [
                gaps.filter(within).select("key", "day", active_us=pl.col("end_us") - pl.col("start_us")),
                over.select("key", "day", active_us=pl.col("midnight_us") - pl.col("start_us")),
                over.select("key", day="end_day", active_us=pl.col("end_us") - pl.col("midnight_us")),
            ]
        )
        .group_by("key", "day")
        .agg(pl.col("active_us").sum().clip(upper_bound=LONGEST_DAY_US))
    )


def _rows(days: pl.DataFrame, windows: pl.DataFrame, window: Window, time_zone: str) -> list[pl.DataFrame]:
    weekday, active_us = pl.col("day").dt.weekday(), pl.col("active_us")
    weeks = (
        days_in(windows, window)
        .join(days, on=["key", "day"])
        .group_by("key", "first_day")
        .agg(
            *(active_us.filter(weekday == number).sum().alias(name) for number, name in enumerate(_WEEKDAYS, start=1)),
            sample_size=pl.col("activities").sum(),
            total_us=active_us.sum(),
        )
    )
    placed = with_bounds(weeks, window, time_zone)
    on_workdays_us = pl.sum_horizontal(_WORKDAYS)
    shares = [pl.col(name) / on_workdays_us for name in _WORKDAYS]
    entropy = pl.sum_horizontal(pl.when(share > 0).then(-share * share.log()).otherwise(0.0) for share in shares)
    some = pl.col("total_us") > 0
    return [
        metric_rows(
            "active_prep_minutes",
            window.name,
            placed.with_columns(numerator=pl.col("total_us") / float(MINUTE_US), denominator=1),
        ),
        metric_rows(
            "prep_regularity",
            window.name,
            placed.with_columns(
                numerator=pl.when(on_workdays_us > 0).then(entropy).otherwise(0.0),
                denominator=pl.when(some).then(math.log(len(_WORKDAYS))).otherwise(0.0),
                parts=pl.concat_list(pl.col(_WEEKDAYS) / float(MINUTE_US)),
            ),
        ),
    ]
