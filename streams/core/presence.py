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
    stays = found.filter(pl.col("end_us") > pl.col("start_us")).select(*_PERSON, "start_us", "end_us")
    return stays if ends is None else cut(stays, ends)


def cut(stays: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """Return ``stays`` as they are when nobody stays beyond the end of the key in ``ends`` (``key, end_us``)."""
    return (
        stays.join(ends.rename({"end_us": "cut_us"}), on="key", how="left", maintain_order="left")
        .with_columns(end_us=pl.min_horizontal("end_us", "cut_us"))
        .filter(pl.col("end_us") > pl.col("start_us"))
        .drop("cut_us")
    )


def seconds_until(present: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    """Add ``present_us`` to ``moments`` (``key, at_us``): the presence of all persons of the key before ``at_us``, summed.

    The number present is a step function; its running integral is looked up at each moment, so the cost does not
    depend on how many persons overlap how many windows. The presence in a window is the difference of two moments.
    """
    starts = present.select("key", at_us="start_us", change=pl.lit(1, pl.Int64))
    stops = present.filter(pl.col("end_us") < FOREVER_US).select("key", at_us="end_us", change=pl.lit(-1, pl.Int64))
    steps = (
        pl.concat([starts, stops])
        # Of several changes at one moment the last is found, with all of them added up.
        .sort("at_us")
        .with_columns(step_us="at_us", count=pl.col("change").cum_sum().over("key"))
        .with_columns(area=(pl.col("at_us").diff().over("key") * pl.col("count").shift(1).over("key")).fill_null(0))
        .with_columns(before_us=pl.col("area").cum_sum().over("key"))
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


def persons_at(present: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    """Add ``persons`` to ``moments`` (``key, at_us``): how many were there. A person's stays must not overlap."""
    came = present.select("key", at_us="start_us", change=pl.lit(1, pl.Int64))
    gone = present.select("key", at_us="end_us", change=pl.lit(-1, pl.Int64))
    # Of several changes at one moment the last is found, with all of them added up. Everybody leaves in the end, so the
    # changes of all keys are added up in one go.
    steps = pl.concat([came, gone]).sort("at_us").sort("key", maintain_order=True)
    return (
        moments.sort("at_us")
        .join_asof(
            steps.select("key", "at_us", persons=pl.col("change").cum_sum()), on="at_us", by="key", check_sortedness=False
        )
        .with_columns(pl.col("persons").fill_null(0))
    )


def persons_in(present: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Add ``persons`` to ``windows`` (``key, window_start_us, window_end_us``): how many were there at any moment of it.

    Those whose first interval begins before the window's end, less those whose last one ended before its start, less
    those away for the whole window. No person meets a window in a join, but for the few who left and returned.
    """
    stays = present.group_by("key", "person").agg(first_us=pl.col("start_us").min(), last_us=pl.col("end_us").max())
    came = _running_count(stays, "first_us")
    gone = _running_count(stays, "last_us")
    ordered = present.sort("key", "person", "start_us")
    returned = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in _PERSON)
    gaps = ordered.with_columns(away_us="end_us", back_us=pl.col("start_us").shift(-1)).filter(returned)
    away = (
        windows.join(gaps.select("key", "away_us", "back_us"), on="key")
        .filter((pl.col("away_us") <= pl.col("window_start_us")) & (pl.col("back_us") >= pl.col("window_end_us")))
        .group_by("key", "window_start_us", "window_end_us")
        .agg(away=pl.len().cast(pl.Int64))
    )
    return (
        windows.sort("window_end_us")
        .join_asof(
            came,
            left_on="window_end_us",
            right_on="at_us",
            by="key",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .rename({"total": "came"})
        .sort("window_start_us")
        .join_asof(gone, left_on="window_start_us", right_on="at_us", by="key", check_sortedness=False)
        .rename({"total": "gone"})
        .join(away, on=["key", "window_start_us", "window_end_us"], how="left")
        .with_columns(persons=pl.col("came").fill_null(0) - pl.col("gone").fill_null(0) - pl.col("away").fill_null(0))
        .select(*windows.columns, "persons")
    )


def _running_count(moments: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return ``key, at_us, total``: how many of the key's moments lie at or before each; of equal ones the last has all."""
    ordered = moments.select("key", at_us=column).sort("at_us")
    return ordered.with_columns(total=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("key"))


def while_absent(actions: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of ``actions`` (``person, time_us``) at a time outside every interval of the person.

    Nobody may be of two keys.
    """
    return (
        actions.sort("time_us")
        .join_asof(
            present.select("person", stay_end_us="end_us", time_us="start_us").sort("time_us"),
            on="time_us",
            by="person",
            strategy="backward",
            check_sortedness=False,
        )
        .filter(pl.col("stay_end_us").is_null() | (pl.col("stay_end_us") <= pl.col("time_us")))
        .drop("stay_end_us")
    )


def share_of_present(places: pl.DataFrame, on: list[str], some: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Add to ``places`` the number of persons in ``some`` and the number in ``some`` or ``others``."""
    every = pl.concat([some.select(*on, "person"), others.select(*on, "person")]).unique()
    counted = (
        places.join(some.group_by(on).agg(numerator=pl.len()), on=on, how="left")
        .join(every.group_by(on).agg(denominator=pl.len()), on=on, how="left")
        .with_columns(pl.col("numerator", "denominator").fill_null(0))
    )
    return counted.with_columns(sample_size="denominator")


def overlap_us(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Microseconds of ``[start_us, end_us)`` that lie within ``[start, end)``; 0 where they do not meet."""
    inside = pl.min_horizontal(pl.col("end_us"), end) - pl.max_horizontal(pl.col("start_us"), start)
    return inside.clip(lower_bound=0)
