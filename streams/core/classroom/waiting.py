"""How long the teacher waits: metric 5. Formulas: ``schemas/metrics/classroom/waiting.py``."""

from typing import Any, Final

import polars as pl

from schemas.metrics.classroom.waiting import LONG_WAIT_US
from schemas.metrics.metric import SECOND_US, WINDOW_LESSON
from streams.core.classroom.lessons import ASKED, Lessons
from streams.core.classroom.talk import SPOKEN, united, until_us
from streams.core.rows import metric_rows

_OPEN: Final = "open"
_BY_LESSON: Final[dict[str, Any]] = {"by": "key", "check_sortedness": False}


def rows(lessons: Lessons) -> list[pl.DataFrame]:
    """Return the rows of the metrics over the lesson so far, where oral questions were asked and speech was recorded."""
    asked = lessons.of([ASKED], "key", "prompt", "time_us", "kind", "inside")
    asked = asked.filter(pl.col("kind").cast(pl.String) == _OPEN)
    speech = lessons.of([SPOKEN], "key", "speaker", "time_us", "duration_ms", "inside")
    whole = (
        lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us")
        .join(asked, on="key", how="semi")
        .join(speech, on="key", how="semi")
    )
    if whole.is_empty():
        return []
    segments = speech.filter("inside").select(
        "key", label=pl.col("speaker").cast(pl.String), start_us="time_us", end_us=until_us()
    )
    recorded = segments.group_by("key").agg(recorded_until_us=pl.col("end_us").max())
    ended = _ended(_questions(asked).join(recorded, on="key"), segments)
    first, second = _told(whole, _first(ended, segments)), _told(whole, _second(ended, segments))
    return [
        _medians("wait_time_seconds", first),
        metric_rows(
            "long_wait_share",
            WINDOW_LESSON.name,
            first.drop("parts"),
            numerator="long",
            denominator="waits",
            sample_size="waits",
        ),
        _medians("second_wait_time_seconds", second),
    ]


def _questions(asked: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, asked_us, next_us``: the questions of each lesson, and when the next one was asked."""
    once = asked.filter("inside").group_by("prompt").agg(pl.col("key").first(), asked_us=pl.col("time_us").min())
    return once.sort("key", "asked_us").select("key", "asked_us", next_us=pl.col("asked_us").shift(-1).over("key"))


def _stretches(segments: pl.DataFrame, *speakers: str) -> pl.DataFrame:
    """Return ``key, start_us, end_us``, by start: when any of the speakers speaks."""
    own = segments.filter(pl.col("label").is_in(speakers)).with_columns(label=0)
    return united(own).sort("start_us").select("key", "start_us", "end_us")


def _ended(questions: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """Add ``from_us``: when the teacher, who speaks as the question is asked, stops; otherwise when it is asked."""
    teacher = _stretches(segments, "teacher")
    found = questions.sort("asked_us").join_asof(teacher, left_on="asked_us", right_on="start_us", **_BY_LESSON)
    # A maximum ignores what is NULL.
    return found.with_columns(from_us=pl.max_horizontal("asked_us", "end_us")).drop("start_us", "end_us").sort("from_us")


def _first(ended: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, wait_us`` until anybody speaks: 0 where others do already; to the end of the record else."""
    others = _stretches(segments, "student", "both")
    words = pl.concat([others, _stretches(segments, "teacher")]).sort("start_us").select("key", word_us="start_us")
    found = (
        ended.join_asof(
            others.select("key", "start_us", other_until_us="end_us"), left_on="from_us", right_on="start_us", **_BY_LESSON
        )
        .drop("start_us")
        .join_asof(words, left_on="from_us", right_on="word_us", strategy="forward", **_BY_LESSON)
    )
    speaks = (pl.col("other_until_us") > pl.col("from_us")).fill_null(value=False)
    until_us = pl.when(speaks).then("from_us").otherwise(pl.coalesce("word_us", "recorded_until_us"))
    return _waits(found.with_columns(since_us="from_us", until_us=until_us, heard=speaks | pl.col("word_us").is_not_null()))


def _second(ended: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, wait_us`` from the end of the first answer to the teacher's next word, or to the end of the record."""
    students = _stretches(segments, "student")
    teacher = _stretches(segments, "teacher", "both").select("key", word_us="start_us")
    running = students.select("key", "start_us", running_until_us="end_us")
    found = (
        ended.join_asof(running, left_on="from_us", right_on="start_us", **_BY_LESSON)
        .rename({"start_us": "running_us"})
        .join_asof(
            students.select("key", "start_us"), left_on="from_us", right_on="start_us", strategy="forward", **_BY_LESSON
        )
    )
    # Who speaks as the question ends has answered before it ended.
    speaks = (pl.col("running_until_us") > pl.col("from_us")).fill_null(value=False)
    answer_us = pl.when(speaks).then("running_us").otherwise("start_us")
    of_question = pl.col("next_us").is_null() | (pl.col("answer_us") < pl.col("next_us"))
    answered = (
        found.with_columns(answer_us=answer_us)
        .filter(pl.col("answer_us").is_not_null() & of_question)
        .drop("start_us")
        .sort("answer_us")
        .join_asof(teacher, left_on="answer_us", right_on="word_us", strategy="forward", **_BY_LESSON)
        # The last student who began before the teacher did.
        .with_columns(before_us=pl.coalesce(pl.col("word_us") - 1, pl.max_horizontal("recorded_until_us", "answer_us")))
        .with_columns(before_us=pl.max_horizontal("before_us", "answer_us"))
        .sort("before_us")
        .join_asof(students.rename({"end_us": "since_us"}), left_on="before_us", right_on="start_us", **_BY_LESSON)
    )
    heard = pl.col("word_us").is_not_null()
    # Who is interrupted had not finished: no wait at all.
    until_us = pl.when(heard).then(pl.max_horizontal("word_us", "since_us")).otherwise("recorded_until_us")
    return _waits(answered.with_columns(until_us=until_us, heard=heard))


def _waits(found: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, wait_us``, without those of which nothing was recorded."""
    wait_us = pl.col("until_us") - pl.col("since_us")
    return found.select("key", "heard", wait_us=wait_us).filter(pl.col("heard") | (pl.col("wait_us") > 0))


def _told(whole: pl.DataFrame, waits: pl.DataFrame) -> pl.DataFrame:
    wait_us = pl.col("wait_us")
    told = waits.group_by("key").agg(
        waits=pl.len(),
        long=(wait_us >= LONG_WAIT_US).sum(),
        median=wait_us.median() / SECOND_US,
        parts=wait_us.sort() / SECOND_US,
    )
    return whole.join(told, on="key", how="left").with_columns(pl.col("waits", "long", "median").fill_null(0))


def _medians(metric: str, told: pl.DataFrame) -> pl.DataFrame:
    return metric_rows(
        metric,
        WINDOW_LESSON.name,
        told,
        numerator="median",
        denominator=pl.col("waits") > 0,
        sample_size="waits",
    )
