"""Lessons as their facts tell them: who was expected, who was there, from when until when.

The rules are those at the top of ``schemas/figures_classroom.py``. Lessons and students are small numbers in here, since
joins and groups on numbers cost a fraction of those on text.
"""

from dataclasses import dataclass

import polars as pl

from schemas.figures_classroom import CLASSROOM_PANE_US, LESSON_GRACE_US
from schemas.metric import Window
from streams.core.panes import pane_of, windows_of
from streams.core.presence import FOREVER_US, cut, intervals

STARTED, ENDED = "classroom.lesson.started", "classroom.lesson.ended"
JOINED, LEFT = "classroom.attendance.joined", "classroom.attendance.left"
ASKED, CLOSED = "classroom.question.asked", "classroom.question.closed"
ANSWERED = "classroom.answer.submitted"


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the facts of some lessons say, in the shapes the figures need."""

    #: Every fact; ``key`` is the lesson's number, ``person`` the student's (NULL where the event names none).
    facts: pl.DataFrame
    #: ``key, start_us, end_us``, ``started_us`` and ``ended_us`` (NULL without such an event), ``cut_us`` (nobody is
    #: present later; NULL where no end is known).
    spans: pl.DataFrame
    #: ``key, time_us, roster`` (number of students), ``persons`` (those with a number), ``scheduled_start_us,
    #: scheduled_end_us``: one row a lesson that has started.
    started: pl.DataFrame
    #: ``key, person, start_us, end_us, closed``: the stays of the students; ``closed`` by a leave or by lesson.ended.
    present: pl.DataFrame
    #: ``key, name``: the lessons by number.
    names: pl.DataFrame
    #: ``key, person, student_id``: the students by number, those of any roster and those with an event of their own.
    students: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Touched:
    """What fresh events can have changed."""

    #: The fresh events, numbered as ``Lessons.facts``.
    fresh: pl.DataFrame
    #: ``key, pane_us``: the panes whose windows must be written again, whatever the figure.
    panes: pl.DataFrame

    def panes_of(self, *types: str) -> pl.DataFrame:
        """Return the panes (``key, pane_us``) in which fresh events of ``types`` lie."""
        own = self.fresh.filter(pl.col("type").is_in(types))
        return own.select("key", pane_us=pane_of(pl.col("time_us"), CLASSROOM_PANE_US)).unique()


def windows_at(panes: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return ``key, slot_us, window_start_us, window_end_us`` of the windows that the panes belong to."""
    starts = windows_of(panes.select("key", "pane_us"), window).select("key", "start_us").unique()
    return starts.select(
        "key", slot_us="start_us", window_start_us="start_us", window_end_us=pl.col("start_us") + window.size_us
    )


def read(facts: pl.DataFrame) -> Lessons:
    """Read the lessons out of ``facts``, which holds every stored event of each."""
    names = facts.select(name="key").unique().with_row_index("key")
    starts = (
        facts.filter(pl.col("type") == STARTED)
        # What an event does not name is NULL as it comes, and empty as it is read back.
        .with_columns(pl.col("schoolid", "classid").fill_null(""))
        .sort("time_us", "source", "id")
    )
    # Those of a start that does not count keep their number and their row: what was written once must not go stale.
    named = starts.select("key", student_id="roster").explode("student_id")
    students = (
        pl.concat([named, facts.select("key", "student_id")])
        .filter(pl.col("student_id") != "")
        .unique()
        .with_row_index("person")
    )
    numbered = _numbered(facts.join(students, on=["key", "student_id"], how="left", maintain_order="left"), names)
    students = _numbered(students, names)
    started = _started(_numbered(starts, names), students)
    spans = _spans(numbered, started)
    marks = numbered.filter(pl.col("type").is_in([JOINED, LEFT])).select(
        "key", "person", "time_us", joined=pl.col("type") == JOINED
    )
    return Lessons(numbered, spans, started, _stays(marks, spans), names, students)


def touched(lessons: Lessons, fresh: pl.DataFrame) -> Touched:
    """Return what the ``fresh`` events can have changed.

    An event touches its own pane. What happens to a question also touches every pane it was asked in. A join or leave
    touches every later pane of the lesson, and its start or end all of them, since presence reaches across panes.
    """
    numbered = _numbered(fresh, lessons.names).join(lessons.students, on=["key", "student_id"], how="left")
    pane = pane_of(pl.col("time_us"), CLASSROOM_PANE_US).alias("pane_us")
    kind = pl.col("type")
    questions = numbered.filter(kind.is_in([ASKED, ANSWERED, CLOSED])).select("key", "prompt_id").unique()
    put = (
        lessons.facts.filter(kind == ASKED)
        .select("key", "prompt_id", pane)
        .join(questions, on=["key", "prompt_id"], how="semi")
        .select("key", "pane_us")
    )
    reaching = (
        numbered.filter(kind.is_in([JOINED, LEFT, STARTED, ENDED]))
        .with_columns(pl.when(kind.is_in([STARTED, ENDED])).then(0).otherwise(pane).alias("from_us"))
        .group_by("key")
        .agg(pl.col("from_us").min())
    )
    later = (
        lessons.facts.select("key", pane)
        .unique()
        .join(reaching, on="key")
        .filter(pl.col("pane_us") >= pl.col("from_us"))
        .select("key", "pane_us")
    )
    return Touched(numbered, pl.concat([numbered.select("key", pane), put, later]).unique())


def _numbered(frame: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Replace the lesson's name in ``key`` by its number."""
    return frame.rename({"key": "name"}).join(names, on="name", maintain_order="left").drop("name")


def _started(starts: pl.DataFrame, students: pl.DataFrame) -> pl.DataFrame:
    """Return the lessons that have started, out of ``starts``, the earliest first.

    Of each school and class the earliest counts: two of them are the two sides of a dual-teacher lesson.
    """
    rosters = (
        starts.unique(["key", "schoolid", "classid"], keep="first", maintain_order=True)
        .select("key", student_id="roster")
        .explode("student_id")
        .drop_nulls()
        .unique()
        .join(students, on=["key", "student_id"])
        .group_by("key")
        .agg(persons=pl.col("person"))
    )
    return (
        starts.unique("key", keep="first", maintain_order=True)
        .select("key", "time_us", "scheduled_start_us", "scheduled_end_us")
        .join(rosters, on="key", how="left")
        .with_columns(roster=pl.col("persons").list.len().fill_null(0))
    )


def _stays(marks: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    ended = spans.filter(pl.col("ended_us").is_not_null()).select("key", ended=pl.lit(value=True))
    stays = (
        intervals(marks)
        .join(ended, on="key", how="left")
        .with_columns(closed=pl.col("ended").fill_null(value=False) | (pl.col("end_us") < FOREVER_US))
        .drop("ended")
    )
    return cut(stays, spans.filter(pl.col("cut_us").is_not_null()).select("key", end_us="cut_us"))


def _spans(facts: pl.DataFrame, started: pl.DataFrame) -> pl.DataFrame:
    kind, time_us = pl.col("type"), pl.col("time_us")
    due_us = pl.col("scheduled_end_us") + LESSON_GRACE_US
    return (
        facts.group_by("key")
        .agg(
            started_us=time_us.filter(kind == STARTED).min(),
            first_us=time_us.min(),
            ended_us=time_us.filter(kind == ENDED).max(),
            last_us=time_us.max(),
        )
        .join(started.select("key", "scheduled_end_us"), on="key", how="left")
        .with_columns(start_us=pl.coalesce("started_us", "first_us"))
        .with_columns(
            # A maximum ignores what is NULL, so without a timetable the start alone would be left.
            due_us=pl.when(pl.col("scheduled_end_us").is_not_null()).then(pl.max_horizontal("start_us", due_us))
        )
        .with_columns(
            end_us=pl.coalesce("ended_us", pl.min_horizontal("last_us", "due_us")), cut_us=pl.coalesce("ended_us", "due_us")
        )
        .select("key", "start_us", "end_us", "started_us", "ended_us", "cut_us")
    )
