"""Classroom figures (智慧课堂) out of the facts of the lessons concerned. Formulas: ``schemas/figures.py``."""

from dataclasses import dataclass

import polars as pl

from schemas.figures import (
    CLASSROOM_PANE_US,
    INTERACTION_TYPES,
    MINUTE_US,
    SECOND_US,
    WINDOW_1M,
    WINDOW_5M,
    WINDOW_10M,
    Window,
)
from streams.core.panes import pane_of, windows_of
from streams.core.presence import intervals, overlap_us, seconds_until
from streams.core.rows import metric_rows

#: The columns of a stored event that the figures need.
FACT_COLUMNS = ("student_id", "prompt_id", "roster", "scheduled_start_us", "scheduled_end_us")

_STARTED, _ENDED = "classroom.lesson.started", "classroom.lesson.ended"
_JOINED, _LEFT = "classroom.attendance.joined", "classroom.attendance.left"
_ASKED, _CLOSED, _ANSWERED = (
    "classroom.question.asked",
    "classroom.question.closed",
    "classroom.answer.submitted",
)


@dataclass(frozen=True, slots=True)
class _Lessons:
    """What the facts of some lessons say, in the shapes the figures need."""

    spans: pl.DataFrame  # key, start_us, end_us, ended_us (NULL while it goes on)
    started: pl.DataFrame  # key, time_us, roster, scheduled_start_us, scheduled_end_us
    present: pl.DataFrame  # key, person, start_us, end_us
    interactions: pl.DataFrame  # key, person, pane_us, count
    prompts: pl.DataFrame  # key, item, asked_us, closed_us, pane_us
    answers: pl.DataFrame  # key, item, person


def rows(facts: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Return the metric rows that ``fresh`` events can have changed.

    ``facts`` holds every stored event of the lessons in ``fresh``, those of ``fresh`` included.
    """
    lessons = _read(facts)
    touched = _touched_panes(facts, fresh, lessons.prompts)
    return pl.concat(
        [
            *(_breadth(lessons, touched, window) for window in (WINDOW_5M, WINDOW_10M)),
            _breadth_of_lesson(lessons),
            *(_interaction_rate(lessons, touched, window) for window in (WINDOW_1M, WINDOW_5M, WINDOW_10M)),
            *_response_rates(lessons, touched),
            *_attendance(lessons),
        ]
    )


def _read(facts: pl.DataFrame) -> _Lessons:
    kind, time_us = pl.col("type"), pl.col("time_us")
    spans = facts.group_by("key").agg(
        start_us=pl.coalesce(time_us.filter(kind == _STARTED).min(), time_us.min()),
        ended_us=time_us.filter(kind == _ENDED).max(),
        last_us=time_us.max(),
    )
    spans = spans.with_columns(end_us=pl.coalesce("ended_us", "last_us"))
    marks = facts.filter(kind.is_in([_JOINED, _LEFT])).select(
        "key", "time_us", person="student_id", joined=kind == _JOINED
    )
    ends = spans.filter(pl.col("ended_us").is_not_null()).select("key", end_us="ended_us")
    asked = facts.filter(kind == _ASKED).group_by("key", item="prompt_id").agg(asked_us=time_us.min())
    closed = facts.filter(kind == _CLOSED).group_by("key", item="prompt_id").agg(closed_us=time_us.max())
    return _Lessons(
        spans=spans,
        started=facts.filter(kind == _STARTED)
        .sort("time_us", "source", "id")
        .unique("key", keep="first", maintain_order=True)
        .select("key", "time_us", "roster", "scheduled_start_us", "scheduled_end_us"),
        present=intervals(marks, ends),
        interactions=facts.filter(kind.is_in(INTERACTION_TYPES))
        .group_by("key", person="student_id", pane_us=pane_of(time_us, CLASSROOM_PANE_US))
        .agg(count=pl.len()),
        prompts=asked.join(closed, on=["key", "item"], how="left").with_columns(
            pane_us=pane_of(pl.col("asked_us"), CLASSROOM_PANE_US)
        ),
        answers=facts.filter(kind == _ANSWERED).select("key", item="prompt_id", person="student_id").unique(),
    )


def _touched_panes(facts: pl.DataFrame, fresh: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Return the panes (``key, pane_us``) whose windows must be written again.

    An event touches its own pane. An answer, and the closing of a question, also touch the pane the question was
    asked in. A join or leave touches every later pane of the lesson, and the end of a lesson all of them, since
    presence reaches across panes.
    """
    pane = pane_of(pl.col("time_us"), CLASSROOM_PANE_US).alias("pane_us")
    own = fresh.select("key", pane)
    asked = (
        fresh.filter(pl.col("type").is_in([_ANSWERED, _CLOSED]))
        .select("key", item="prompt_id")
        .unique()
        .join(prompts, on=["key", "item"])
        .select("key", "pane_us")
    )
    reaching = (
        fresh.filter(pl.col("type").is_in([_JOINED, _LEFT, _ENDED]))
        .with_columns(pl.when(pl.col("type") == _ENDED).then(0).otherwise(pane).alias("from_us"))
        .group_by("key")
        .agg(pl.col("from_us").min())
    )
    later = (
        facts.select("key", pane)
        .unique()
        .join(reaching, on="key")
        .filter(pl.col("pane_us") >= pl.col("from_us"))
        .select("key", "pane_us")
    )
    return pl.concat([own, asked, later]).unique()


def _touched_windows(touched: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return ``key, slot_us, window_start_us, window_end_us`` of the windows the touched panes belong to."""
    starts = windows_of(touched, window).select("key", "start_us").unique()
    return starts.select(
        "key", slot_us="start_us", window_start_us="start_us", window_end_us=pl.col("start_us") + window.size_us
    )


def _in_windows(interactions: pl.DataFrame, windows: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return the interactions that lie in ``windows``: ``key, slot_us, person, count``."""
    return (
        windows_of(interactions, window)
        .rename({"start_us": "slot_us"})
        .join(windows.select("key", "slot_us"), on=["key", "slot_us"], how="semi")
    )


def _breadth(lessons: _Lessons, touched: pl.DataFrame, window: Window) -> pl.DataFrame:
    windows = _touched_windows(touched, window)
    place = ["key", "slot_us"]
    active = _in_windows(lessons.interactions, windows, window).select(*place, "person").unique()
    present = (
        windows.join(lessons.present, on="key")
        .filter((pl.col("start_us") < pl.col("window_end_us")) & (pl.col("end_us") > pl.col("window_start_us")))
        .select(*place, "person")
    )
    return metric_rows("participation_breadth", window.name, _share(windows, place, active, present))


def _breadth_of_lesson(lessons: _Lessons) -> pl.DataFrame:
    whole = lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us")
    active = lessons.interactions.select("key", "person").unique()
    figures = _share(whole, ["key"], active, lessons.present.select("key", "person"))
    return metric_rows("participation_breadth", "lesson", figures)


def _share(places: pl.DataFrame, on: list[str], some: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Add to ``places`` the number of persons in ``some`` and the number in ``some`` or ``others``."""
    every = pl.concat([some, others]).unique()
    counted = (
        places.join(some.group_by(on).agg(numerator=pl.len()), on=on, how="left")
        .join(every.group_by(on).agg(denominator=pl.len()), on=on, how="left")
        .with_columns(pl.col("numerator", "denominator").fill_null(0))
    )
    return counted.with_columns(sample_size="denominator")


def _interaction_rate(lessons: _Lessons, touched: pl.DataFrame, window: Window) -> pl.DataFrame:
    windows = _touched_windows(touched, window)
    counts = (
        _in_windows(lessons.interactions, windows, window).group_by("key", "slot_us").agg(numerator=pl.col("count").sum())
    )
    edges = pl.concat(
        [windows.select("key", at_us="window_start_us"), windows.select("key", at_us="window_end_us")]
    ).unique()
    presence = seconds_until(lessons.present, edges)
    figures = (
        windows.join(counts, on=["key", "slot_us"], how="left")
        .join(presence.rename({"present_us": "from"}), left_on=["key", "window_start_us"], right_on=["key", "at_us"])
        .join(presence.rename({"present_us": "to"}), left_on=["key", "window_end_us"], right_on=["key", "at_us"])
        .with_columns(
            pl.col("numerator").fill_null(0), denominator=(pl.col("to") - pl.col("from")) / float(MINUTE_US)
        )
        .with_columns(sample_size="numerator")
    )
    return metric_rows("interactions_per_student_minute", window.name, figures)


def _response_rates(lessons: _Lessons, touched: pl.DataFrame) -> list[pl.DataFrame]:
    place = ["key", "item"]
    answered = lessons.answers.join(lessons.prompts.select(place), on=place, how="semi")
    present = (
        lessons.prompts.join(lessons.present, on="key")
        .filter((pl.col("start_us") <= pl.col("asked_us")) & (pl.col("asked_us") < pl.col("end_us")))
        .select(*place, "person")
    )
    bounds = lessons.prompts.with_columns(
        window_start_us="asked_us", window_end_us=pl.max_horizontal("asked_us", "closed_us")
    )
    prompts = _share(bounds, place, answered, present)
    windows = _touched_windows(touched, WINDOW_10M)
    rate = pl.when(pl.col("denominator") > 0).then(pl.col("numerator") / pl.col("denominator"))
    means = (
        windows_of(prompts.with_columns(rate=rate), WINDOW_10M)
        .sort("item")
        .group_by("key", slot_us="start_us")
        .agg(numerator=pl.col("rate").sum(), denominator=pl.col("rate").count())
        .with_columns(sample_size="denominator")
    )
    return [
        metric_rows("response_rate", "prompt", prompts.join(touched, on=["key", "pane_us"], how="semi")),
        metric_rows("response_rate", WINDOW_10M.name, windows.join(means, on=["key", "slot_us"])),
    ]


def _attendance(lessons: _Lessons) -> list[pl.DataFrame]:
    spans = lessons.spans.select("key", "ended_us", window_start_us="start_us", window_end_us="end_us")
    started = lessons.started.join(spans, on="key")
    length_us = (pl.col("scheduled_end_us") - pl.col("scheduled_start_us")).clip(lower_bound=0)
    until_us = pl.min_horizontal("scheduled_end_us", "window_end_us")
    roster = started.select("key", person=pl.col("roster")).explode("person").drop_nulls("person").unique()
    attended = (
        roster.join(lessons.present, on=["key", "person"])
        .join(started.select("key", "scheduled_start_us", until_us=until_us), on="key")
        .group_by("key")
        .agg(numerator=overlap_us(pl.col("scheduled_start_us"), pl.col("until_us")).sum() / float(SECOND_US))
    )
    rate = (
        started.join(attended, on="key", how="left")
        .join(roster.group_by("key").agg(sample_size=pl.len()), on="key", how="left")
        .with_columns(pl.col("numerator").fill_null(0.0), pl.col("sample_size").fill_null(0))
        .with_columns(denominator=pl.col("sample_size") * (length_us / float(SECOND_US)))
    )
    one = {"denominator": pl.lit(1), "sample_size": pl.lit(1)}
    delay_us = (pl.col("time_us") - pl.col("scheduled_start_us")).clip(lower_bound=0)
    early_us = (pl.col("scheduled_end_us") - pl.col("ended_us")).clip(lower_bound=0)
    over = started.filter(pl.col("ended_us").is_not_null())
    return [
        metric_rows("attendance_rate", "lesson", rate),
        metric_rows(
            "delayed_start_seconds", "lesson", started.with_columns(numerator=delay_us / float(SECOND_US), **one)
        ),
        metric_rows("early_stop_seconds", "lesson", over.with_columns(numerator=early_us / float(SECOND_US), **one)),
    ]
