"""Windows of local days: 7 or 28 of them, every day, and ISO weeks, in the time zone of the district."""

from typing import Final

import polars as pl

from schemas.metrics.metric import DAY_US, WINDOW_7D, WINDOW_28D, WINDOW_ISO_WEEK, Window

_DAYS: Final = {WINDOW_7D.name: 7, WINDOW_28D.name: 28, WINDOW_ISO_WEEK.name: 7}


def local_day(time_us: pl.Expr, time_zone: str) -> pl.Expr:
    """Return the date that the clocks of ``time_zone`` show at ``time_us``."""
    instant = pl.from_epoch(time_us, time_unit="us").dt.replace_time_zone("UTC")
    return instant.dt.convert_time_zone(time_zone).dt.date()


def midnight_us(day: pl.Expr, time_zone: str) -> pl.Expr:
    """Return the first instant of the local ``day``."""
    midnight = day.cast(pl.Datetime("us"))
    # Where the clocks skip midnight, the day begins at that jump: 24 hours after the midnight before it.
    return pl.coalesce(_instant_us(midnight, time_zone), _instant_us(midnight.dt.offset_by("-1d"), time_zone) + DAY_US)


def _instant_us(local: pl.Expr, time_zone: str) -> pl.Expr:
    return local.dt.replace_time_zone(time_zone, ambiguous="earliest", non_existent="null").dt.epoch("us")


def windows_of(days: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return the windows that the days lie in, each once: the columns of ``days`` with ``first_day`` instead of ``day``."""
    if window is WINDOW_ISO_WEEK:
        starts = [pl.col("day").dt.truncate("1w")]
    else:
        starts = [pl.col("day").dt.offset_by(f"-{back}d") for back in range(_DAYS[window.name])]
    distinct = days.unique()
    return pl.concat([distinct.with_columns(first_day=start).drop("day") for start in starts]).unique()


def days_in(windows: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return one row for every day of every window: the columns of ``windows``, which has ``first_day``, and ``day``."""
    later = [pl.col("first_day").dt.offset_by(f"{days}d") for days in range(_DAYS[window.name])]
    return pl.concat([windows.with_columns(day=day) for day in later])


def with_bounds(windows: pl.DataFrame, window: Window, time_zone: str) -> pl.DataFrame:
    """Add ``window_start_us``, ``window_end_us`` and ``slot_us`` to windows that have ``first_day``."""
    last = pl.col("first_day").dt.offset_by(f"{_DAYS[window.name]}d")
    bounds = (
        windows.select("first_day")
        .unique()
        .with_columns(
            window_start_us=midnight_us(pl.col("first_day"), time_zone), window_end_us=midnight_us(last, time_zone)
        )
        .with_columns(slot_us="window_start_us")
    )
    return windows.join(bounds, on="first_day")
