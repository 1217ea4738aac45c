"""Preparation figures (备课) out of the facts of the teachers concerned. Formulas: ``schemas/figures.py``."""

import polars as pl

from schemas.figures import MINUTE_US, PREP_ACTIVITY_TYPES, PREP_GAP_US, WINDOW_7D, WINDOW_ISO_WEEK
from streams.core.presence import overlap_us
from streams.core.rows import metric_rows

#: The columns of a stored event that the figures need, besides those every event has.
FACT_COLUMNS = ()


def rows(facts: pl.DataFrame, fresh: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """Return the metric rows that ``fresh`` events can have changed.

    ``facts`` holds every stored event of the teachers in ``fresh``, those of ``fresh`` included. Days and weeks are
    those of ``time_zone``.
    """
    activity = facts.filter(pl.col("type").is_in(PREP_ACTIVITY_TYPES)).select("key", "time_us")
    fresh_activity = fresh.filter(pl.col("type").is_in(PREP_ACTIVITY_TYPES)).select("key", "time_us")
    # A gap reaches at most PREP_GAP_US over a window's edge, so the neighbours' windows may change as well.
    reached = pl.concat(
        [fresh_activity.with_columns(pl.col("time_us") + shift_us) for shift_us in (-PREP_GAP_US, 0, PREP_GAP_US)]
    )
    stretches = _stretches(activity)
    return pl.concat(
        [
            _active_minutes(stretches, activity, reached, window, time_zone)
            for window in (WINDOW_7D.name, WINDOW_ISO_WEEK.name)
        ]
    )


def _stretches(activity: pl.DataFrame) -> pl.DataFrame:
    """Return the gaps that count, as intervals ``key, start_us, end_us``."""
    ordered = activity.unique().sort("key", "time_us")
    gap_us = pl.col("end_us") - pl.col("start_us")
    return (
        ordered.with_columns(start_us="time_us", end_us=pl.col("time_us").shift(-1), next=pl.col("key").shift(-1))
        .filter((pl.col("key") == pl.col("next")) & (gap_us <= PREP_GAP_US))
        .select("key", "start_us", "end_us")
    )


def _windows_of(times: pl.DataFrame, window: str, time_zone: str) -> pl.DataFrame:
    """Return every window that holds one of ``times``, as ``key, time_us, window_start_us, window_end_us``."""
    local = pl.from_epoch("time_us", time_unit="us").dt.replace_time_zone("UTC").dt.convert_time_zone(time_zone)
    to_us = pl.col("window_start", "window_end").dt.epoch("us").name.suffix("_us")
    if window == WINDOW_ISO_WEEK.name:
        starts = [local.dt.truncate("1w")]
        length = "1w"
    else:
        starts = [local.dt.truncate("1d").dt.offset_by(f"-{days}d") for days in range(7)]
        length = "7d"
    return pl.concat(
        [
            times.with_columns(window_start=start)
            .with_columns(window_end=pl.col("window_start").dt.offset_by(length))
            .with_columns(to_us)
            .drop("window_start", "window_end")
            for start in starts
        ]
    )


def _active_minutes(
    stretches: pl.DataFrame, activity: pl.DataFrame, reached: pl.DataFrame, window: str, time_zone: str
) -> pl.DataFrame:
    place = ["key", "window_start_us", "window_end_us"]
    touched = _windows_of(reached, window, time_zone).select(place).unique()
    samples = _windows_of(activity, window, time_zone).group_by(place).agg(sample_size=pl.len())
    windows = touched.join(samples, on=place)
    minutes = (
        windows.join(stretches, on="key")
        .group_by(place)
        .agg(numerator=overlap_us(pl.col("window_start_us"), pl.col("window_end_us")).sum() / float(MINUTE_US))
    )
    figures = windows.join(minutes, on=place, how="left").with_columns(
        pl.col("numerator").fill_null(0.0), slot_us="window_start_us", denominator=pl.lit(1)
    )
    return metric_rows("active_prep_minutes", window, figures)
