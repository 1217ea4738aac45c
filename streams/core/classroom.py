"""Classroom figures (智慧课堂) out of the facts of the lessons concerned. Formulas: ``schemas/figures_classroom.py``.

One module a group of figures; this one says in which order.
"""

import polars as pl

from schemas.figure_rules import FigureRules
from streams.core import course, engagement, participation, questions, students, talk
from streams.core.lessons import read, touched

#: The columns of a stored event that the figures need, besides those every event has.
FACT_COLUMNS = (
    "schoolid", "classid", "student_id", "prompt_id", "roster", "scheduled_start_us", "scheduled_end_us", "speaker",
    "fias_code", "strategy", "platform", "duration_ms", "latency_ms", "correct", "score", "progress",
)  # fmt: skip


def rows(facts: pl.DataFrame, fresh: pl.DataFrame, rules: FigureRules) -> pl.DataFrame:
    """Return the metric rows that ``fresh`` events can have changed.

    ``facts`` holds every stored event of the lessons in ``fresh``, those of ``fresh`` included.
    """
    lessons = read(facts)
    changed = touched(lessons, fresh)
    found = [
        *talk.rows(lessons, changed),
        *questions.rows(lessons, changed),
        *participation.rows(lessons, changed),
        *course.rows(lessons),
        *students.rows(lessons, changed),
    ]
    every = pl.concat([*found, *engagement.rows(found, rules)])
    # The number of a lesson is its place among the names.
    return every.with_columns(key=lessons.names["name"].gather(every["key"]))
