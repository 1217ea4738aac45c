"""Classroom metrics (智慧课堂) out of the stored events of the lessons concerned. Formulas: ``schemas/metrics/classroom``.

One module a group of metrics; this one says in which order.
"""

import polars as pl

from schemas.metrics.rules import MetricRules
from streams.core.classroom import course, engagement, hands, participation, questions, sides, students, talk, waiting
from streams.core.classroom.lessons import MEASURED_COLUMNS, read, touched
from streams.core.codes import coded
from streams.core.rows import joined

#: The columns of a stored event that the metrics need, besides those every event has.
CACHED_COLUMNS = (
    "schoolid",
    "classid",
    "student_id",
    "prompt_id",
    "roster",
    "scheduled_start_us",
    "scheduled_end_us",
    *MEASURED_COLUMNS,
)


def rows(cached: pl.DataFrame, fresh: pl.DataFrame, rules: MetricRules) -> pl.DataFrame:
    """Return the metric rows that ``fresh`` events can have changed.

    ``cached`` holds every stored event of the lessons in ``fresh``, those of ``fresh`` included.
    """
    codes = cached.schema if isinstance(cached.schema["key"], pl.Categorical) else coded(cached.schema)
    lessons = read(cached.cast(codes))
    changed = touched(lessons, fresh.cast(codes))
    others = joined(
        [
            *talk.rows(lessons, changed),
            *waiting.rows(lessons),
            *questions.rows(lessons, changed),
            *participation.rows(lessons, changed),
            *hands.rows(lessons, changed),
            *course.rows(lessons),
            *students.rows(lessons, changed),
        ]
    )
    every = pl.concat([others, joined([engagement.rows(others, rules)])])
    return pl.concat([every.with_columns(lessons.spelled(pl.col("key"))), sides.rows(cached, rules)])
