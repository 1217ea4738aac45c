"""Questions and answers: figures 5, 6 and 7. Formulas: ``schemas/figures_classroom.py``."""

from dataclasses import dataclass

import polars as pl

from schemas.figures_classroom import CLASSROOM_PANE_US, LONG_WAIT_US
from schemas.metric import SECOND_US, WINDOW_10M, WINDOW_LESSON, WINDOW_PROMPT
from streams.core.codes import lower_of
from streams.core.lessons import ANSWERED, ASKED, CLOSED, Lessons, Touched
from streams.core.panes import pane_of, windows_at, windows_of
from streams.core.presence import persons_at, while_absent
from streams.core.rows import metric_rows
from streams.core.sketch import sketches

_QUANTILES = {"answer_latency_p50_ms": 0.5, "answer_latency_p90_ms": 0.9}
_BOUNDS = ("window_start_us", "window_end_us")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked and answered; ``prompt`` is a question's code with its lesson's."""

    #: ``key, prompt, asked_us, pane_us, window_start_us, window_end_us``: one row a question asked.
    prompts: pl.DataFrame
    #: ``key, pane_us``: where a question was asked, those asked again included.
    asked_in: pl.DataFrame
    #: ``key, prompt, person, time_us, latency_ms, correct``: every answer, whether its question was asked or not.
    answers: pl.DataFrame


def rows(lessons: Lessons, touched: Touched) -> list[pl.DataFrame]:
    """Return the rows of the figures, by prompt, over hopping windows and over the lesson so far."""
    found = _read(lessons)
    if found is None:
        return []
    whole = lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us")
    prompts = found.prompts.join(touched.panes, on=["key", "pane_us"], how="semi").with_columns(
        item=lessons.spelled(lower_of(pl.col("prompt")))
    )
    return [
        *_waits(found, whole),
        *_response_rates(lessons, found, prompts, whole, touched),
        *_answers(found, prompts, whole),
    ]


def _read(lessons: Lessons) -> _Asked | None:
    kind, time_us = pl.col("type"), pl.col("time_us")
    about = lessons.of([ASKED, CLOSED, ANSWERED], "key", "prompt", "person", "time_us", "latency_ms", "correct")
    if about.is_empty():
        return None
    asked = about.filter(kind == ASKED)
    closed = about.filter(kind == CLOSED).group_by("prompt").agg(closed_us=time_us.max())
    prompts = (
        asked.group_by("key", "prompt")
        .agg(asked_us=time_us.min())
        .join(closed, on="prompt", how="left")
        .with_columns(
            pane_us=pane_of(pl.col("asked_us"), CLASSROOM_PANE_US),
            window_start_us="asked_us",
            window_end_us=pl.max_horizontal("asked_us", "closed_us"),
        )
        .drop("closed_us")
    )
    return _Asked(
        prompts,
        asked.select("key", pane_us=pane_of(time_us, CLASSROOM_PANE_US)).unique(),
        about.filter(kind == ANSWERED),
    )


def _waits(found: _Asked, whole: pl.DataFrame) -> list[pl.DataFrame]:
    wait_us = pl.col("first_us") - pl.col("asked_us")
    waits = (
        found.answers.join(found.prompts.select("prompt", "asked_us"), on="prompt")
        .filter(pl.col("time_us") >= pl.col("asked_us"))
        .group_by("key", "prompt", "asked_us")
        .agg(first_us=pl.col("time_us").min())
        .group_by("key")
        .agg(
            waits=pl.len(),
            long=(wait_us >= LONG_WAIT_US).sum(),
            median=wait_us.median() / SECOND_US,
            parts=wait_us.sort() / SECOND_US,
        )
    )
    asked = whole.join(found.prompts, on="key", how="semi").join(waits, on="key", how="left")
    filled = asked.with_columns(pl.col("waits", "long", "median").fill_null(0))
    return [
        metric_rows(
            "wait_time_seconds",
            WINDOW_LESSON.name,
            filled,
            numerator="median",
            denominator=pl.col("waits") > 0,
            sample_size="waits",
        ),
        metric_rows(
            "long_wait_share",
            WINDOW_LESSON.name,
            filled.drop("parts"),
            numerator="long",
            denominator="waits",
            sample_size="waits",
        ),
    ]


def _response_rates(
    lessons: Lessons, found: _Asked, prompts: pl.DataFrame, whole: pl.DataFrame, touched: Touched
) -> list[pl.DataFrame]:
    rates = _responses(lessons, found)
    of_prompts = rates.join(prompts.select("prompt", "item"), on="prompt")
    rate = pl.when(pl.col("denominator") > 0).then(pl.col("numerator") / pl.col("denominator"))
    known = rates.select("key", "pane_us", rate=rate)
    means = [pl.col("rate").sum().alias("numerator"), pl.col("rate").count().alias("denominator")]
    # A question asked twice counts where it was asked first; the later window keeps its row, so that none goes stale.
    windows = windows_at(touched.panes, WINDOW_10M).join(
        windows_of(found.asked_in, WINDOW_10M).select("key", slot_us="start_us"), on=["key", "slot_us"], how="semi"
    )
    hopping = windows_of(known, WINDOW_10M).group_by("key", slot_us="start_us").agg(means)
    return [
        metric_rows("response_rate", WINDOW_PROMPT.name, of_prompts, sample_size="denominator"),
        metric_rows(
            "response_rate",
            WINDOW_10M.name,
            windows.join(hopping, on=["key", "slot_us"], how="left").fill_null(0),
            sample_size="denominator",
        ),
        metric_rows(
            "response_rate",
            WINDOW_LESSON.name,
            whole.join(known.group_by("key").agg(means), on="key"),
            sample_size="denominator",
        ),
    ]


def _responses(lessons: Lessons, found: _Asked) -> pl.DataFrame:
    """Add to the prompts who answered (``numerator``), and who was there or answered (``denominator``)."""
    responders = (
        found.answers.select("prompt", "person")
        .unique()
        .join(found.prompts.select("key", "prompt", time_us="asked_us"), on="prompt")
    )
    absent = while_absent(responders, lessons.present)
    return (
        persons_at(lessons.present, found.prompts.with_columns(at_us="asked_us"))
        .join(responders.group_by("prompt").agg(numerator=pl.len()), on="prompt", how="left")
        .join(absent.group_by("prompt").agg(absent=pl.len()), on="prompt", how="left")
        .with_columns(pl.col("numerator", "absent").fill_null(0))
        .with_columns(denominator=pl.col("persons") + pl.col("absent"))
    )


def _answers(found: _Asked, prompts: pl.DataFrame, whole: pl.DataFrame) -> list[pl.DataFrame]:
    of_lessons = whole.join(_told(found.answers, "key"), on="key").join(
        sketches(found.answers.drop_nulls("latency_ms"), "latency_ms"), on="key", how="left"
    )
    answers = found.answers.join(prompts.select("prompt"), on="prompt", how="semi")
    of_prompts = prompts.join(_told(answers, "prompt"), on="prompt", how="left")
    places = {WINDOW_PROMPT.name: of_prompts, WINDOW_LESSON.name: of_lessons}
    return [frame for window, told in places.items() for frame in _answer_rows(window, told)]


def _told(answers: pl.DataFrame, place: str) -> pl.DataFrame:
    return answers.group_by(place).agg(
        timed=pl.col("latency_ms").count(),
        graded=pl.col("correct").count(),
        correct=pl.col("correct").sum(),
        **{name: pl.col("latency_ms").quantile(share, "linear") for name, share in _QUANTILES.items()},
    )


def _answer_rows(window: str, told: pl.DataFrame) -> list[pl.DataFrame]:
    filled = told.with_columns(pl.col("timed", "graded", "correct", *_QUANTILES).fill_null(0))
    graded = filled.drop("parts", strict=False)
    return [
        metric_rows("correct_rate", window, graded, numerator="correct", denominator="graded", sample_size="graded"),
        *(
            metric_rows(name, window, filled, numerator=name, denominator=pl.col("timed") > 0, sample_size="timed")
            for name in _QUANTILES
        ),
    ]
