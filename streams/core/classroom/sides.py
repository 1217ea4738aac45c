"""Lessons in two places (双师, dual-teacher): the metrics of each class, of its own students.

A side is a school and class in which the lesson was started. The metrics of a side are those of a lesson whose roster is
the side's own: everybody else is a guest in it. They have the window ``place`` and the item ``school/class``.
"""

from typing import Final

import polars as pl

from schemas.metrics.classroom.lessons import OF_CLASS
from schemas.metrics.metric import WINDOW_LESSON, WINDOW_PLACE
from schemas.metrics.rules import MetricRules
from streams.core.classroom import course, engagement, hands, participation, questions
from streams.core.classroom.lessons import STARTED, read, touched
from streams.core.codes import coded, spelled
from streams.core.rows import ROW_SCHEMA, joined

#: In the key of a side, between the lesson and the side; no id holds it.
_BETWEEN: Final = "\x1f"
_SIDE: Final = ["key", "schoolid", "classid"]


def rows(cached: pl.DataFrame, rules: MetricRules) -> pl.DataFrame:
    """Return the rows of the sides of all lessons in ``cached`` that have several."""
    starts = cached.filter(pl.col("type") == STARTED).select(_SIDE)
    if starts.height < 2:
        return pl.DataFrame(schema=ROW_SCHEMA)
    sides = starts.with_columns(pl.col(_SIDE).cast(pl.String).fill_null("")).unique()
    sides = sides.filter(pl.len().over("key") > 1)
    if sides.is_empty():
        return pl.DataFrame(schema=ROW_SCHEMA)
    of_sides = _of_sides(cached, sides)
    lessons = read(of_sides, open_without_roster=False)
    nothing = touched(lessons, of_sides.clear())
    others = joined(
        [
            *questions.rows(lessons, nothing),
            *participation.rows(lessons, nothing),
            *hands.rows(lessons, nothing),
            *course.rows(lessons),
        ]
    )
    every = pl.concat([others, joined([engagement.rows(others, rules)])])
    own = every.filter(pl.col("window") == WINDOW_LESSON.name, pl.col("metric").is_in(OF_CLASS))
    told = own.with_columns(lessons.spelled(pl.col("key"))).with_columns(
        pl.col("key").str.split_exact(_BETWEEN, 1).struct.rename_fields(["lesson", "side"]).alias("place")
    )
    # Who is of the other side is no guest of the lesson.
    breadth = pl.col("metric") == "participation_breadth"
    return told.with_columns(
        key=pl.col("place").struct.field("lesson"),
        item=pl.col("place").struct.field("side"),
        window=pl.lit(WINDOW_PLACE.name),
        parts=pl.when(breadth).then(pl.lit([], ROW_SCHEMA["parts"])).otherwise("parts"),
    ).select(list(ROW_SCHEMA))


def _of_sides(cached: pl.DataFrame, sides: pl.DataFrame) -> pl.DataFrame:
    """Return the events once for each side of their lesson, with its key; another side's start names nobody."""
    plain = spelled(cached)
    named = sides.select("key", side=pl.concat_str("schoolid", pl.lit("/"), "classid"))
    own = pl.concat_str(pl.col("schoolid").fill_null(""), pl.lit("/"), pl.col("classid").fill_null("")) == pl.col("side")
    copies = plain.join(named, on="key").with_columns(
        key=pl.concat_str("key", pl.lit(_BETWEEN), "side"),
        roster=pl.when(own).then("roster"),
    )
    chosen = copies.select(cached.columns)
    return chosen.cast(coded(chosen.schema))
