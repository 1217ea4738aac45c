"""Raised hands, and who is called: metric 10. Formulas: ``schemas/metrics/classroom/hands.py``."""

import polars as pl

from schemas.metrics.metric import SECOND_US, WINDOW_10M, WINDOW_LESSON
from streams.core.classroom.lessons import STARTED, Lessons, Touched
from streams.core.rows import metric_rows
from streams.core.windows import pane_of, windows_at, windows_of

RAISED, CALLED = "classroom.hand.raised", "classroom.hand.called"

_WINDOW = ["key", "slot_us"]


def rows(lessons: Lessons, touched: Touched) -> list[pl.DataFrame]:
    """Return the rows of the metrics, over hopping windows and over the lesson so far.

    A fresh raise or call may change which call answers which raise, so all windows of the student's raises are written
    again; a fresh start may change who is of the class, so all windows of the lesson are.
    """
    hands = lessons.of([RAISED, CALLED], "key", "person", "time_us", "inside", "guest").with_columns(
        pl.col("inside") & ~pl.col("guest")
    )
    if hands.is_empty():
        return []
    answered, calls = _answered(hands)
    kind = touched.fresh["type"]
    started = hands.join(touched.fresh.filter(kind == STARTED), on="key", how="semi")
    fresh = pl.concat(
        [touched.fresh.filter(kind.is_in([RAISED, CALLED])).select("person"), started.select("person")]
    ).unique()
    return [_hopping(answered, fresh), *_so_far(lessons, answered, calls)]


def _answered(hands: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the raises (``key, person, time_us, delay_us``, NULL without an answer), and the calls (``key, cold``).

    Both have ``inside``: of the class, and in the lesson so far. Raises have ``guest``.

    Of each student, in the order of time with raises first, a raise counts 1 and a call -1. A call is cold where the sum
    falls below all sums before it (and below 0); the n-th call that is not cold answers the n-th raise.
    """
    call = pl.col("type") == CALLED
    level = pl.when(call).then(-1).otherwise(1).cum_sum().over("person")
    lowest = pl.min_horizontal(level.cum_min().over("person"), 0)
    before = pl.col("lowest").shift(1).over("person").fill_null(0)
    ordered = (
        hands.with_columns(call=call)
        .sort("person", "time_us", "call")
        .with_columns(lowest=lowest)
        .with_columns(cold=pl.col("call") & (pl.col("lowest") < before))
    )
    raises = ordered.filter(~pl.col("call")).with_columns(nth=pl.int_range(pl.len()).over("person"))
    answers = ordered.filter(pl.col("call") & ~pl.col("cold")).with_columns(nth=pl.int_range(pl.len()).over("person"))
    answered = raises.join(answers.select("person", "nth", called_us="time_us"), on=["person", "nth"], how="left").select(
        "key", "person", "time_us", "inside", "guest", delay_us=pl.col("called_us") - pl.col("time_us")
    )
    return answered, ordered.filter(pl.col("call")).select("key", "cold", "inside")


def _hopping(raises: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    hop_us = pane_of(pl.col("time_us"), WINDOW_10M.hop_us).alias("pane_us")
    windows = windows_at(raises.join(fresh, on="person", how="semi").select("key", hop_us), WINDOW_10M)
    own = ~pl.col("guest")
    hops = raises.group_by("key", hop_us).agg(raised=own.sum(), answered=pl.col("delay_us").filter(own).count())
    placed = windows_of(hops, WINDOW_10M).rename({"start_us": "slot_us"}).join(windows, on=_WINDOW)
    counted = placed.group_by(*_WINDOW, "window_start_us", "window_end_us").agg(pl.col("raised", "answered").sum())
    return metric_rows(
        "call_through_rate", WINDOW_10M.name, counted, numerator="answered", denominator="raised", sample_size="raised"
    )


def _so_far(lessons: Lessons, raises: pl.DataFrame, calls: pl.DataFrame) -> list[pl.DataFrame]:
    delay_us = pl.col("delay_us").filter("inside")
    of_raises = raises.group_by("key").agg(
        raised=pl.col("inside").sum(),
        answered=delay_us.count(),
        waited_us=delay_us.sum(),
        parts=(delay_us.drop_nulls() / SECOND_US).sort(),
    )
    of_calls = calls.group_by("key").agg(called=pl.col("inside").sum(), cold=(pl.col("cold") & pl.col("inside")).sum())
    counts = ("raised", "answered", "waited_us", "called", "cold")
    whole = (
        lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us")
        .join(of_raises.join(of_calls, on="key", how="full", coalesce=True), on="key")
        .with_columns(pl.col(counts).fill_null(0), pl.col("parts").fill_null([]))
    )
    plain, window = whole.drop("parts"), WINDOW_LESSON.name
    longest = pl.col("parts").list.max().fill_null(0)
    return [
        metric_rows("call_through_rate", window, plain, numerator="answered", denominator="raised", sample_size="raised"),
        metric_rows("cold_call_share", window, plain, numerator="cold", denominator="called", sample_size="called"),
        metric_rows(
            "call_delay_seconds",
            window,
            plain,
            numerator=pl.col("waited_us") / SECOND_US,
            denominator="answered",
            sample_size="answered",
        ),
        metric_rows(
            "longest_call_delay_seconds",
            window,
            whole,
            numerator=longest,
            denominator=pl.col("answered") > 0,
            sample_size="answered",
        ),
    ]
