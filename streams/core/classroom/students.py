"""Each student's part in a lesson, what metrics of persons are merged from.

Formulas: ``schemas/metrics/classroom/students.py``.

A row rests on the student's own events, on the lesson's starts and ends, and on whether attendance is taken at all. Hence
its window is the lesson so far as those tell it, and a stay is presence once a leave or the end of the lesson has closed
it: what one student does need not write the rows of all others again. Attendance is that of the class (``course.py``): a
stay that nothing closes lasts until the lesson was to end.
"""

import polars as pl

from schemas.metrics.classroom.lessons import INTERACTION_TYPES
from schemas.metrics.classroom.students import STUDENT_PARTS
from schemas.metrics.metric import MINUTE_US, SECOND_US, WINDOW_STUDENT
from streams.core.classroom.hands import CALLED, RAISED
from streams.core.classroom.lessons import ANSWERED, ENDED, STARTED, Lessons, Touched, first_taken
from streams.core.codes import lower_of
from streams.core.presence import overlap_us
from streams.core.rows import metric_rows

ASSESSED, PROGRESSED = "classroom.assessment.completed", "classroom.plan.progressed"


def rows(lessons: Lessons, touched: Touched) -> list[pl.DataFrame]:
    """Return the rows of the students with a fresh event of their own, of all where a lesson started or ended."""
    fresh = touched.fresh
    everybody = pl.concat(
        [fresh.filter(pl.col("type").is_in([STARTED, ENDED]))["key"], first_taken(lessons, fresh)]
    ).implode()
    of_lessons = [
        frame.filter(frame["key"].is_in(everybody)).select("key", "person") for frame in (lessons.named, lessons.cached)
    ]
    students = pl.concat([fresh.select("key", "person"), *of_lessons]).drop_nulls().unique("person")
    if students.is_empty():
        return []
    parts = (
        students.with_columns(item=lessons.spelled(lower_of(pl.col("person"))))
        .join(_expected(lessons, students), on="person", how="left")
        .join(lessons.spans.select("key", "started_us", "ended_us", "cut_us"), on="key", how="left")
        .join(_acts(lessons, students), on="person", how="left")
        .join(_presence(lessons, students), on="person", how="left")
        # Of presence within the timetable only that of the roster counts.
        .with_columns(attended_seconds=pl.when(pl.col("scheduled_seconds").is_not_null()).then("attended_seconds"))
        .with_columns(pl.col(STUDENT_PARTS).fill_null(0).cast(pl.Float64))
    )
    # Without this a minimum would find the latest end possible for those who have no event of their own.
    last_us = pl.when(pl.col("last_us").is_not_null()).then(pl.min_horizontal("last_us", "cut_us"))
    computed = parts.with_columns(
        window_start_us=pl.coalesce("started_us", "first_us"),
        numerator="interactions",
        denominator=pl.col("present_us").fill_null(0) / MINUTE_US,
        sample_size=pl.col("present_us").fill_null(0) // MINUTE_US,
        parts=pl.concat_arr(STUDENT_PARTS).arr.to_list(),
    ).with_columns(window_end_us=pl.coalesce("ended_us", pl.max_horizontal(last_us, "window_start_us")))
    return [metric_rows("student_lesson", WINDOW_STUDENT.name, computed)]


def _expected(lessons: Lessons, students: pl.DataFrame) -> pl.DataFrame:
    """Return ``person, scheduled_seconds`` of those on a roster that counts."""
    length_us = pl.col("scheduled_end_us") - pl.col("scheduled_start_us")
    rosters = lessons.started.filter("measured").select(person="persons", scheduled_seconds=length_us / SECOND_US)
    return _those(rosters.explode("person"), students).drop_nulls()


def _acts(lessons: Lessons, students: pl.DataFrame) -> pl.DataFrame:
    """Return ``person``, their earliest and latest event, and what they did, named as in ``STUDENT_PARTS``."""
    own = _those(lessons.cached.select("person", "type", "time_us", "correct", "score", "progress", "inside"), students)
    # Of events outside the lesson only the time is told.
    kind, correct = pl.when("inside").then("type"), pl.col("correct")
    answered, assessed, progressed = kind == ANSWERED, kind == ASSESSED, kind == PROGRESSED
    return own.group_by("person").agg(
        first_us=pl.col("time_us").min(),
        last_us=pl.col("time_us").max(),
        interactions=kind.is_in(INTERACTION_TYPES).sum(),
        answers=answered.sum(),
        graded_answers=(answered & correct.is_not_null()).sum(),
        correct_answers=(answered & correct).sum(),
        hands_raised=(kind == RAISED).sum(),
        hands_called=(kind == CALLED).sum(),
        assessments=assessed.sum(),
        assessment_score_sum=pl.col("score").filter(assessed).sum(),
        plan_steps=progressed.sum(),
        plan_progress=pl.col("progress").filter(progressed).max(),
    )


def _presence(lessons: Lessons, students: pl.DataFrame) -> pl.DataFrame:
    """Return ``person, present_us, present_seconds`` of the stays that are closed, ``attended_seconds`` of all."""
    stays = _those(lessons.stays, students)
    timetable = lessons.started.select("key", "scheduled_start_us", "scheduled_end_us")
    # A maximum ignores what is NULL: without a start every stay counts from its own beginning.
    lasted_us = (pl.col("end_us") - pl.max_horizontal("start_us", "started_us")).clip(lower_bound=0)
    inside_us = overlap_us(pl.col("scheduled_start_us"), pl.col("scheduled_end_us"))
    # A minimum ignores what is NULL: without a timetable a whole stay would be inside it.
    attended_us = pl.when(pl.col("scheduled_end_us").is_not_null()).then(inside_us).sum()
    present_us = lasted_us.filter("closed").sum()
    return (
        stays.join(timetable, on="key", how="left")
        .join(lessons.spans.select("key", "started_us"), on="key", how="left")
        .group_by("person")
        .agg(present_us=present_us, present_seconds=present_us / SECOND_US, attended_seconds=attended_us / SECOND_US)
    )


def _those(frame: pl.DataFrame, students: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of ``students``; among few persons they are found faster than by a join."""
    return frame.filter(frame["person"].is_in(students["person"].implode()))
