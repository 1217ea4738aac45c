"""Questions and answers: metrics 5, 6 and 7. Formulas: ``schemas/metrics/classroom/questions.py``."""

from dataclasses import dataclass

import polars as pl

from schemas.metrics.classroom.lessons import CLASSROOM_PANE_US
from schemas.metrics.metric import SECOND_US, WINDOW_10M, WINDOW_LESSON, WINDOW_PROMPT
from streams.core.classroom.lessons import ANSWERED, ASKED, CLOSED, Lessons, Touched
from streams.core.codes import lower_of, pair, upper_of
from streams.core.presence import persons_at
from streams.core.rows import metric_rows
from streams.core.sketch import sketches
from streams.core.windows import pane_code, pane_of, windows_at, windows_of

_QUANTILES = {"answer_latency_p50_ms": 0.5, "answer_latency_p90_ms": 0.9}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked and answered; ``prompt`` is a question's code with its lesson's."""

    #: ``key, prompt, nth, asked_us, pane_us, window_start_us, window_end_us``: one row a question asked, numbered;
    #: ``inside``: asked in the lesson.
    prompts: pl.DataFrame
    #: ``key, pane_us``: where a question was asked again.
    again_in: pl.DataFrame
    #: ``key, prompt, person, time_us, latency_ms, correct``: every answer, whether its question was asked or not;
    #: ``counts``: of the class, and not too late.
    answers: pl.DataFrame
    #: ``nth, asked_us, person, time_us``: the answers that count to questions that were asked.
    answered: pl.DataFrame


def rows(lessons: Lessons, touched: Touched) -> list[pl.DataFrame]:
    """Return the rows of the metrics, by prompt, over hopping windows and over the lesson so far."""
    found = _read(lessons)
    if found is None:
        return []
    whole = lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us")
    prompts = found.prompts.join(touched.panes, on=["key", "pane_us"], how="semi").with_columns(
        item=lessons.spelled(lower_of(pl.col("prompt")))
    )
    return [
        _first_answers(found, whole),
        *_response_rates(lessons, found, prompts, whole, touched),
        *_answers(found, prompts, whole),
    ]


def _read(lessons: Lessons) -> _Asked | None:
    kind, time_us = pl.col("type"), pl.col("time_us")
    about = lessons.of(
        [ASKED, CLOSED, ANSWERED], "key", "prompt", "person", "time_us", "latency_ms", "correct", "guest", "inside"
    )
    if about.is_empty():
        return None
    asked = about.filter(kind == ASKED).select("key", "prompt", "time_us", pane_us=pane_of(time_us, CLASSROOM_PANE_US))
    closed = about.filter(kind == CLOSED).group_by("prompt").agg(closed_us=time_us.max())
    ends = lessons.spans.select("key", "started_us", "cut_us")
    # A maximum and a minimum ignore what is NULL: answers count until the question closes, or the lesson ends.
    closed_us = pl.when(pl.col("closed_us").is_not_null()).then(pl.max_horizontal("asked_us", "closed_us"))
    until_us = pl.min_horizontal(closed_us, "cut_us")
    before, after = pl.col("asked_us") < pl.col("started_us"), pl.col("asked_us") > pl.col("cut_us")
    prompts = (
        asked.group_by("prompt")
        .agg(pl.col("key").first(), pl.col("pane_us").min(), asked_us=time_us.min())
        .join(closed, on="prompt", how="left")
        .join(ends, on="key", how="left")
        .with_columns(until_us=until_us, inside=~(before | after).fill_null(value=False))
        .with_columns(window_start_us="asked_us", window_end_us=pl.max_horizontal("asked_us", "until_us"))
        .drop("closed_us", "started_us", "cut_us")
        .with_row_index("nth")
    )
    in_time = (time_us <= pl.coalesce("until_us", "cut_us")).fill_null(value=True)
    answers = (
        about.filter(kind == ANSWERED)
        .join(prompts.select("prompt", "nth", "asked_us", "until_us"), on="prompt", how="left")
        .join(ends, on="key", how="left")
        .with_columns(counts=in_time & ~pl.col("guest"))
    )
    return _Asked(
        prompts.drop("until_us"),
        asked.filter(pl.col("prompt").is_duplicated()).select("key", "pane_us"),
        answers,
        answers.filter("counts", pl.col("nth").is_not_null()).select("nth", "asked_us", "person", "time_us"),
    )


def _first_answers(found: _Asked, whole: pl.DataFrame) -> pl.DataFrame:
    wait_us = pl.col("wait_us")
    inside = found.prompts.filter("inside").select("nth")
    first = (
        found.answered.select("nth", wait_us=pl.col("time_us") - pl.col("asked_us"))
        .filter(wait_us >= 0)
        .join(inside, on="nth", how="semi")
        .group_by("nth")
        .agg(wait_us.min())
    )
    waits = (
        first.select("wait_us", key=found.prompts["key"][first["nth"]])
        .group_by("key")
        .agg(waits=pl.len(), median=wait_us.median() / SECOND_US, parts=wait_us.sort() / SECOND_US)
    )
    asked = whole.join(found.prompts, on="key", how="semi").join(waits, on="key", how="left")
    filled = asked.with_columns(pl.col("waits", "median").fill_null(0))
    return metric_rows(
        "first_answer_seconds",
        WINDOW_LESSON.name,
        filled,
        numerator="median",
        denominator=pl.col("waits") > 0,
        sample_size="waits",
    )


def _response_rates(
    lessons: Lessons, found: _Asked, prompts: pl.DataFrame, whole: pl.DataFrame, touched: Touched
) -> list[pl.DataFrame]:
    rates = _responses(lessons, found)
    of_prompts = prompts.join(rates.select("nth", "numerator", "denominator"), on="nth")
    rate = pl.when(pl.col("denominator") > 0).then(pl.col("numerator") / pl.col("denominator"))
    known = rates.select("key", "pane_us", rate=rate)
    # A question asked twice counts where it was asked first; the later window keeps its row, so that none goes stale.
    again = found.again_in.with_columns(rate=pl.lit(None, pl.Float64))
    hopping = windows_of(pl.concat([known, again]), WINDOW_10M).group_by(_hop_code("start_us")).agg(_means(pl.col("rate")))
    windows = windows_at(touched.panes, WINDOW_10M).with_columns(_hop_code("slot_us"))
    return [
        metric_rows("response_rate", WINDOW_PROMPT.name, of_prompts, sample_size="denominator"),
        metric_rows("response_rate", WINDOW_10M.name, windows.join(hopping, on="code"), sample_size="denominator"),
        metric_rows(
            "response_rate",
            WINDOW_LESSON.name,
            whole.join(rates.group_by("key").agg(_means(rate.filter("inside"))), on="key"),
            sample_size="denominator",
        ),
    ]


def _means(rate: pl.Expr) -> list[pl.Expr]:
    return [rate.sum().alias("numerator"), rate.count().alias("denominator")]


def _hop_code(start_us: str) -> pl.Expr:
    return pane_code("key", pl.col(start_us), WINDOW_10M.hop_us).alias("code")


def _responses(lessons: Lessons, found: _Asked) -> pl.DataFrame:
    """Add to the prompts who answered (``numerator``), and who was there or answered (``denominator``)."""
    responders = _responders(found)
    there = responders.join(lessons.audience.select("person", "start_us", "end_us"), on="person").filter(
        (pl.col("start_us") <= pl.col("time_us")) & (pl.col("time_us") < pl.col("end_us"))
    )
    return (
        persons_at(lessons.audience, found.prompts.with_columns(at_us="asked_us"))
        .join(responders.group_by("nth").agg(numerator=pl.len()), on="nth", how="left")
        .join(there.group_by("nth").agg(there=pl.len()), on="nth", how="left")
        .with_columns(pl.col("numerator", "there").fill_null(0))
        .with_columns(denominator=pl.col("persons") + pl.col("numerator") - pl.col("there"))
    )


def _responders(found: _Asked) -> pl.DataFrame:
    """Return ``nth, person, time_us``: who answered each question, once, and when it was asked."""
    # To order single numbers is the fastest way to tell those that are there twice.
    answers = found.answered.select(pair(pl.col("nth"), lower_of(pl.col("person")))).to_series().sort()
    once = answers.filter(answers.ne_missing(answers.shift(1))).alias("answer").to_frame()
    numbered = once.select(nth=upper_of(pl.col("answer")).set_sorted(), student=lower_of(pl.col("answer")))
    asked = found.prompts.select("key", time_us="asked_us")[numbered["nth"]]
    return numbered.hstack(asked).select("nth", "time_us", person=pair(pl.col("key"), pl.col("student")))


def _answers(found: _Asked, prompts: pl.DataFrame, whole: pl.DataFrame) -> list[pl.DataFrame]:
    of_lessons = whole.join(_told(found.answers, "key"), on="key").join(
        sketches(found.answers.filter("counts").drop_nulls("latency_ms"), "latency_ms"), on="key", how="left"
    )
    answers = found.answers.join(prompts.select("prompt"), on="prompt", how="semi")
    of_prompts = prompts.join(_told(answers, "prompt"), on="prompt", how="left")
    by_window = {WINDOW_PROMPT.name: of_prompts, WINDOW_LESSON.name: of_lessons}
    return [frame for window, told in by_window.items() for frame in _answer_rows(window, told)]


def _told(answers: pl.DataFrame, by: str) -> pl.DataFrame:
    latency_ms, correct = (pl.col(name).filter("counts") for name in ("latency_ms", "correct"))
    return answers.group_by(by).agg(
        timed=latency_ms.count(),
        graded=correct.count(),
        correct=correct.sum(),
        **{name: latency_ms.quantile(share, "linear") for name, share in _QUANTILES.items()},
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
