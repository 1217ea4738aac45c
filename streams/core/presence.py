"""Presence: who was there, from when until when, out of joins and leaves that may repeat, be missing or come late."""

import polars as pl

#: End of an interval that nothing has closed yet (the year 10000), far enough to clip against anything.
FOREVER_US = 253_402_300_800_000_000

_PERSON = ["key", "person"]


def intervals(marks: pl.DataFrame, ends: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the intervals of presence ``[start_us, end_us)`` as columns ``key, person, start_us, end_us``.

    ``marks`` has ``key, person, time_us, joined`` (a boolean); ``ends`` has ``key, end_us``: where a lesson ended, every
    interval is cut. A repeated join or leave has no effect, a leave before any join is ignored, and a join that is
    followed by no leave goes on to ``FOREVER_US``. At the same instant a leave comes before a join.
    """
    ordered = marks.sort(*_PERSON, "time_us", "joined")
    same_person = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in _PERSON).fill_null(value=False)
    turns = ordered.filter(~same_person | (pl.col("joined") != pl.col("joined").shift(1)))
    next_is_same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in _PERSON).fill_null(value=False)
    found = turns.with_columns(
        start_us=pl.col("time_us"),
        end_us=pl.when(next_is_same).then(pl.col("time_us").shift(-1)).otherwise(FOREVER_US),
    ).filter("joined")
    if ends is not None:
        found = found.join(ends.rename({"end_us": "cut_us"}), on="key", how="left", maintain_order="left").with_columns(
            end_us=pl.min_horizontal("end_us", "cut_us")
        )
    return found.filter(pl.col("end_us") > pl.col("start_us")).select(*_PERSON, "start_us", "end_us")


def seconds_until(present: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    """Add ``present_us`` to ``moments`` (``key, at_us``): the presence of all persons of the key before ``at_us``, summed.

    The number present is a step function; its running integral is looked up at each moment, so the cost does not
    depend on how many persons overlap how many windows. The presence in a window is the difference of two moments.
    """
    starts = present.select("key", at_us="start_us", change=pl.lit(1, pl.Int64))
    stops = present.filter(pl.col("end_us") < FOREVER_US).select("key", at_us="end_us", change=pl.lit(-1, pl.Int64))
    steps = (
        pl.concat([starts, stops])
        .group_by("key", "at_us")
        .agg(pl.col("change").sum())
        .sort("key", "at_us")
        .with_columns(step_us="at_us", count=pl.col("change").cum_sum().over("key"))
        .with_columns(area=(pl.col("at_us").diff().over("key") * pl.col("count").shift(1).over("key")).fill_null(0))
        .with_columns(before_us=pl.col("area").cum_sum().over("key"))
        .sort("at_us")
    )
    looked_up = moments.sort("at_us").join_asof(
        steps.select("key", "at_us", "step_us", "count", "before_us"),
        on="at_us",
        by="key",
        strategy="backward",
        check_sortedness=False,
    )
    grown = pl.col("before_us") + pl.col("count") * (pl.col("at_us") - pl.col("step_us"))
    return looked_up.with_columns(present_us=grown.fill_null(0)).drop("step_us", "count", "before_us")


def overlap_us(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Microseconds of ``[start_us, end_us)`` that lie within ``[start, end)``; 0 where they do not meet."""
    inside = pl.min_horizontal(pl.col("end_us"), end) - pl.max_horizontal(pl.col("start_us"), start)
    return inside.clip(lower_bound=0)
