"""The course of a lesson: attendance, strategies, tools: 12, 13 and 14.

Formulas: ``schemas/metrics/classroom/course.py``.
"""

import math

import polars as pl

from schemas.metrics.classroom.course import STRATEGIES
from schemas.metrics.metric import SECOND_US, WINDOW_LESSON
from streams.core.classroom.lessons import Lessons
from streams.core.codes import lower_of, pair
from streams.core.presence import overlap_us
from streams.core.rows import metric_rows

CHANGED, USED = "classroom.strategy.changed", "classroom.tool.used"

_LESSON = WINDOW_LESSON.name
#: A lesson and a platform in one number, counted from 1.
_ANY_PLATFORM = pair(pl.col("key"), pl.lit(0, pl.UInt32)).alias("code")


def rows(lessons: Lessons) -> list[pl.DataFrame]:
    """Return the rows of the metrics over the lesson so far."""
    spans = lessons.spans.select("key", "ended_us", window_start_us="start_us", window_end_us="end_us")
    return [*_attendance(lessons, spans), *_strategies(lessons, spans), _tools(lessons, spans)]


def _attendance(lessons: Lessons, spans: pl.DataFrame) -> list[pl.DataFrame]:
    started = lessons.started.join(spans, on="key")
    length_us = pl.col("scheduled_end_us") - pl.col("scheduled_start_us")
    inside_us = overlap_us(pl.col("scheduled_start_us"), pl.col("scheduled_end_us"))
    attended = (
        lessons.present.join(lessons.started.select(person="persons").explode("person"), on="person", how="semi")
        # A minimum ignores what is NULL: without a timetable a whole stay would be inside it.
        .join(started.filter(length_us.is_not_null()).select("key", "scheduled_start_us", "scheduled_end_us"), on="key")
        .group_by("key")
        .agg(numerator=inside_us.sum() / SECOND_US)
    )
    expected_us = pl.when("measured").then(pl.col("roster") * length_us).fill_null(0)
    rate = started.join(attended, on="key", how="left").with_columns(
        pl.col("numerator").fill_null(0.0), denominator=expected_us / SECOND_US, sample_size="roster"
    )
    known = length_us.is_not_null()
    one = {"denominator": known, "sample_size": known}
    # Who begins after the lesson was to end has missed it, whatever the clock says; the same for an end before the start.
    delay_us = (pl.col("time_us") - pl.col("scheduled_start_us")).clip(0, length_us).fill_null(0)
    early_us = (pl.col("scheduled_end_us") - pl.col("window_end_us")).clip(0, length_us).fill_null(0)
    over = started.filter(pl.col("ended_us").is_not_null())
    return [
        metric_rows("attendance_rate", _LESSON, rate),
        metric_rows("delayed_start_seconds", _LESSON, started, numerator=delay_us / SECOND_US, **one),
        metric_rows("early_stop_seconds", _LESSON, over, numerator=early_us / SECOND_US, **one),
    ]


def _strategies(lessons: Lessons, spans: pl.DataFrame) -> list[pl.DataFrame]:
    changes = lessons.of([CHANGED], "key", "time_us", "source", "id", "strategy").sort("key", "time_us", "source", "id")
    if changes.is_empty():
        return []
    next_us = pl.when(pl.col("key") == pl.col("key").shift(-1)).then(pl.col("time_us").shift(-1))
    stretches = changes.select("key", "strategy", start_us="time_us", next_us=next_us).join(spans, on="key")
    under = (
        stretches.with_columns(end_us=pl.coalesce("next_us", "window_end_us"))
        .with_columns(seconds=overlap_us(pl.col("window_start_us"), pl.col("window_end_us")) / SECOND_US)
        .group_by("key")
        .agg(
            pl.col("window_start_us", "window_end_us").first(),
            sample_size=pl.len(),
            **{name: pl.col("seconds").filter(pl.col("strategy") == name).sum() for name in STRATEGIES},
        )
        .with_columns(seconds=pl.sum_horizontal(STRATEGIES))
    )
    kept = ["key", "window_start_us", "window_end_us", "sample_size", "seconds"]
    shares = under.unpivot(STRATEGIES, index=kept, variable_name="item", value_name="numerator")
    balance = under.with_columns(
        numerator=pl.sum_horizontal(_surprise(name) for name in STRATEGIES),
        denominator=pl.when(pl.col("seconds") > 0).then(math.log(len(STRATEGIES))).otherwise(0.0),
        parts=pl.concat_arr(STRATEGIES).arr.to_list(),
    )
    return [
        metric_rows("strategy_share", _LESSON, shares, denominator="seconds"),
        metric_rows("strategy_balance", _LESSON, balance),
    ]


def _surprise(strategy: str) -> pl.Expr:
    """Return the strategy's part of the entropy; 0 where it had no time."""
    share = pl.col(strategy) / pl.col("seconds")
    return pl.when(pl.col(strategy) > 0).then(-share * share.log()).otherwise(0.0)


def _tools(lessons: Lessons, spans: pl.DataFrame) -> pl.DataFrame:
    used = lessons.of([USED], "key", "platform", "time_us", "duration_ms").select(
        "key",
        code=pair(pl.col("key"), pl.col("platform").to_physical() + 1),
        start_us="time_us",
        end_us=pl.col("time_us") + pl.col("duration_ms") * 1000,
    )
    uses = pl.concat([used.with_columns(_ANY_PLATFORM), used]).join(spans, on="key")
    start_us = pl.max_horizontal("start_us", "window_start_us")
    end_us = pl.max_horizontal(start_us, pl.min_horizontal("end_us", "window_end_us"))
    # Overlapping uses count once: each moment counts while any is on. What ends is over before another platform begins.
    steps = pl.concat(
        [
            uses.select("key", "code", at_us=start_us, change=pl.lit(1)),
            uses.select("key", "code", at_us=end_us, change=pl.lit(-1)),
        ]
    ).sort("code", "at_us")
    in_use_us = pl.when(pl.col("change").cum_sum() > 0).then(pl.col("at_us").shift(-1) - pl.col("at_us"))
    in_use = (
        steps.with_columns(in_use_us=in_use_us)
        .group_by("code")
        .agg(
            pl.col("key").first(),
            numerator=pl.col("in_use_us").sum() / SECOND_US,
            sample_size=(pl.col("change") > 0).sum(),
        )
    )
    platform = lower_of(pl.col("code"))
    computed = (
        pl.concat([spans.select("key", _ANY_PLATFORM), in_use.filter(platform > 0).select("key", "code")])
        .join(in_use.drop("key"), on="code", how="left")
        .with_columns(
            pl.col("numerator", "sample_size").fill_null(0),
            item=lessons.spelled(pl.when(platform > 0).then(platform - 1)),
        )
        .join(spans, on="key")
        .with_columns(denominator=(pl.col("window_end_us") - pl.col("window_start_us")).clip(lower_bound=0) / SECOND_US)
    )
    return metric_rows("tool_share", _LESSON, computed)
