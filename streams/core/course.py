"""The course of a lesson: attendance, strategies, tools: 12, 13 and 14. Formulas: ``schemas/figures_classroom.py``."""

import math

import polars as pl

from schemas.figures_classroom import STRATEGIES
from schemas.metric import SECOND_US, WINDOW_LESSON
from streams.core.lessons import Lessons
from streams.core.presence import overlap_us
from streams.core.rows import metric_rows

CHANGED, USED = "classroom.strategy.changed", "classroom.tool.used"

_LESSON = WINDOW_LESSON.name
_ANY_PLATFORM = ""


def rows(lessons: Lessons) -> list[pl.DataFrame]:
    """Return the rows of the figures over the lesson so far."""
    spans = lessons.spans.select("key", "ended_us", window_start_us="start_us", window_end_us="end_us")
    return [*_attendance(lessons, spans), *_strategies(lessons, spans), _tools(lessons, spans)]


def _attendance(lessons: Lessons, spans: pl.DataFrame) -> list[pl.DataFrame]:
    started = lessons.started.join(spans, on="key")
    length_us = (pl.col("scheduled_end_us") - pl.col("scheduled_start_us")).clip(lower_bound=0)
    from_us = pl.max_horizontal("scheduled_start_us", "window_start_us")
    until_us = pl.min_horizontal("scheduled_end_us", "window_end_us")
    attended = (
        started.explode("persons")
        .rename({"persons": "person"})
        .join(lessons.present, on=["key", "person"])
        .group_by("key")
        .agg(numerator=overlap_us(from_us, until_us).sum() / SECOND_US)
    )
    rate = (
        started.join(attended, on="key", how="left")
        .with_columns(pl.col("numerator").fill_null(0.0), sample_size="roster")
        .with_columns(denominator=pl.col("roster") * (length_us / SECOND_US))
    )
    one = {"denominator": pl.lit(1), "sample_size": pl.lit(1)}
    delay_us = (pl.col("time_us") - pl.col("scheduled_start_us")).clip(lower_bound=0)
    early_us = (pl.col("scheduled_end_us") - pl.col("window_end_us")).clip(lower_bound=0)
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
        .group_by("key", "window_start_us", "window_end_us")
        .agg(
            sample_size=pl.len(),
            **{name: pl.col("seconds").filter(pl.col("strategy") == name).sum() for name in STRATEGIES},
        )
        .with_columns(seconds=pl.sum_horizontal(STRATEGIES))
    )
    shares = pl.concat(
        [under.with_columns(item=pl.lit(name), numerator=name, denominator="seconds") for name in STRATEGIES]
    )
    balance = under.with_columns(
        numerator=pl.sum_horizontal(_surprise(name) for name in STRATEGIES),
        denominator=pl.when(pl.col("seconds") > 0).then(math.log(len(STRATEGIES))).otherwise(0.0),
        parts=pl.concat_arr(STRATEGIES).arr.to_list(),
    )
    return [metric_rows("strategy_share", _LESSON, shares), metric_rows("strategy_balance", _LESSON, balance)]


def _surprise(strategy: str) -> pl.Expr:
    """Return the strategy's part of the entropy; 0 where it had no time."""
    share = pl.col(strategy) / pl.col("seconds")
    return pl.when(pl.col(strategy) > 0).then(-share * share.log()).otherwise(0.0)


def _tools(lessons: Lessons, spans: pl.DataFrame) -> pl.DataFrame:
    place = ["key", "item"]
    used = lessons.of([USED], "key", "platform", "time_us", "duration_ms").select(
        "key",
        item=pl.col("platform").cast(pl.String),
        start_us="time_us",
        end_us=pl.col("time_us") + pl.col("duration_ms") * 1000,
    )
    uses = pl.concat([used.with_columns(item=pl.lit(_ANY_PLATFORM)), used]).join(spans, on="key")
    ordered = uses.select(
        *place,
        start_us=pl.max_horizontal("start_us", "window_start_us"),
        end_us=pl.min_horizontal("end_us", "window_end_us"),
    ).sort(*place, "start_us")
    # What an earlier use reaches into is counted with that one.
    reached_us = pl.col("end_us").cum_max().shift(1).over(place)
    in_use = (
        ordered.with_columns(from_us=pl.max_horizontal("start_us", reached_us))
        .group_by(place)
        .agg(numerator=(pl.col("end_us") - pl.col("from_us")).clip(lower_bound=0).sum() / SECOND_US, sample_size=pl.len())
    )
    every = spans.select("key", item=pl.lit(_ANY_PLATFORM))
    figures = (
        pl.concat([every, in_use.filter(pl.col("item") != _ANY_PLATFORM).select(place)])
        .join(in_use, on=place, how="left")
        .join(spans, on="key")
        .with_columns(
            pl.col("numerator", "sample_size").fill_null(0),
            denominator=(pl.col("window_end_us") - pl.col("window_start_us")).clip(lower_bound=0) / SECOND_US,
        )
    )
    return metric_rows("tool_share", _LESSON, figures)
