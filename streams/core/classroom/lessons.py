"""Lessons as their events tell them: who was expected, who was there, from when until when.

The rules are those at the top of ``schemas/metrics/classroom/__init__.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from schemas.metrics.classroom.lessons import CLASSROOM_PANE_US, LESSON_GRACE_US, LONGEST_LESSON_US
from streams.core.codes import pair
from streams.core.presence import FOREVER_US, cut, intervals
from streams.core.windows import pane_of

STARTED, ENDED = "classroom.lesson.started", "classroom.lesson.ended"
JOINED, LEFT = "classroom.attendance.joined", "classroom.attendance.left"
ASKED, CLOSED = "classroom.question.asked", "classroom.question.closed"
ANSWERED = "classroom.answer.submitted"

#: The columns of an event that the metrics take as they are, besides those that every event has.
MEASURED_COLUMNS: Final = (
    "kind",
    "speaker",
    "fias_code",
    "strategy",
    "platform",
    "duration_ms",
    "latency_ms",
    "correct",
    "score",
    "progress",
)


@dataclass(frozen=True, slots=True)
class Lessons:
    """What the events of some lessons say, in the shapes the metrics need.

    ``key`` is the lesson's code; ``person`` and ``prompt`` are the codes of a student and of a question together with the
    lesson's, NULL where an event names none.
    """

    #: ``key, person, prompt``, and the columns that the metrics are made of: every event. ``guest``: of a student on no
    #: roster that counts, where there is one. ``inside``: in the lesson so far, or, as long as it has no end, after it.
    cached: pl.DataFrame
    #: ``key, start_us, end_us``, ``started_us`` and ``ended_us`` (NULL without such an event), ``cut_us`` (nobody is
    #: present later; NULL where no end is known).
    spans: pl.DataFrame
    #: ``key, time_us, roster`` (number of students), ``persons``, ``scheduled_start_us, scheduled_end_us`` (NULL for a
    #: timetable that cannot be), ``measured`` (whether attendance is): one row a lesson that has started.
    started: pl.DataFrame
    #: ``key, person, start_us, end_us, closed``: the stays of all students; ``closed`` by a leave or by lesson.ended.
    stays: pl.DataFrame
    #: ``key, person, start_us, end_us``: those of the class, without guests.
    present: pl.DataFrame
    #: The same of who may take part: those present, and the whole roster at any time where nobody takes attendance.
    audience: pl.DataFrame
    #: ``key, person``: those of any roster.
    named: pl.DataFrame
    #: The dictionary of all codes.
    code: pl.DataType

    def of(self, types: Sequence[str], *columns: str) -> pl.DataFrame:
        """Return these columns of the events of some types."""
        return self.cached.select("type", *columns).filter(pl.col("type").is_in(types))

    def spelled(self, codes: pl.Expr) -> pl.Expr:
        """Return the text of each code."""
        return codes.cat.to(self.code).cast(pl.String)


@dataclass(frozen=True, slots=True)
class Touched:
    """What fresh events can have changed."""

    #: The fresh events, numbered as ``Lessons.cached``.
    fresh: pl.DataFrame
    #: ``key, pane_us``: the panes whose windows must be written again, whatever the metric.
    panes: pl.DataFrame

    def panes_of(self, *types: str) -> pl.DataFrame:
        """Return the panes (``key, pane_us``) in which fresh events of ``types`` lie."""
        own = self.fresh.filter(pl.col("type").is_in(types))
        return own.select("key", pane_us=pane_of(pl.col("time_us"), CLASSROOM_PANE_US)).unique()


def read(cached: pl.DataFrame, *, open_without_roster: bool = True) -> Lessons:
    """Read the lessons out of ``cached``, which holds every stored event of each; its text must be coded.

    Of a lesson whose rosters name nobody, all students are the class, or with ``open_without_roster`` false nobody is.
    """
    numbered = _numbered(cached)
    starts = (
        cached.filter(pl.col("type") == STARTED)
        # What an event does not name is NULL as it comes, and empty as it is read back.
        .with_columns(pl.col("schoolid", "classid").fill_null(""))
        .sort("time_us", "source", "id")
        .with_columns(pl.col("key").to_physical())
    )
    # Those of a start that does not count keep their row: what was written once must not go stale.
    named = _of_rosters(starts)
    started = _started(starts, named)
    spans = _spans(numbered, started)
    guest = _is_guest(started if not open_without_roster else started.filter(pl.col("roster") > 0))
    numbered = _placed(numbered, guest, spans)
    marks = numbered.select("type", "key", "person", "time_us", "guest").filter(pl.col("type").is_in([JOINED, LEFT]))
    stays = _stays(marks.select("key", "person", "time_us", joined=pl.col("type") == JOINED), spans)
    taken = marks.filter(~pl.col("guest") & (pl.col("type") == JOINED)).select("key", measured=pl.lit(value=True)).unique()
    started = started.join(taken, on="key", how="left").with_columns(pl.col("measured").fill_null(value=False))
    present = stays.filter(~guest).drop("closed")
    unmeasured = started.filter(~pl.col("measured")).select("key", person="persons").explode("person").drop_nulls()
    audience = pl.concat([present, unmeasured.with_columns(start_us=-FOREVER_US, end_us=FOREVER_US)])
    return Lessons(numbered, spans, started, stays, present, audience, named, cached.schema["key"])


def touched(lessons: Lessons, fresh: pl.DataFrame) -> Touched:
    """Return what the ``fresh`` events can have changed.

    An event touches its own pane. What happens to a question also touches every pane it was asked in. A join or leave
    touches every later pane of the lesson, since presence reaches across panes; its start or end touches all of them, and
    so do the first joins, from which on attendance is taken.
    """
    numbered = _numbered(fresh)
    pane = pane_of(pl.col("time_us"), CLASSROOM_PANE_US).alias("pane_us")
    kind = pl.col("type")
    questions = numbered.filter(kind.is_in([ASKED, ANSWERED, CLOSED])).select("prompt").unique()
    put = lessons.of([ASKED], "key", "prompt", "time_us").join(questions, on="prompt", how="semi").select("key", pane)
    reaching = (
        numbered.filter(kind.is_in([JOINED, LEFT, STARTED, ENDED]))
        .with_columns(
            pl.when(kind.is_in([STARTED, ENDED]) | pl.col("key").is_in(first_taken(lessons, numbered).implode()))
            .then(0)
            .otherwise(pane)
            .alias("from_us")
        )
        .group_by("key")
        .agg(pl.col("from_us").min())
    )
    later = (
        lessons.cached.select("key", pane)
        .join(reaching, on="key")
        .filter(pl.col("pane_us") >= pl.col("from_us"))
        .select("key", "pane_us")
    )
    return Touched(numbered, pl.concat([numbered.select("key", pane), put, later]).unique())


def first_taken(lessons: Lessons, fresh: pl.DataFrame) -> pl.Series:
    """Return the lessons whose attendance is taken from the ``fresh`` events on: until then nobody's of the class was."""
    marks = lessons.of([JOINED], "key", "person", "guest")
    every = marks.filter(~pl.col("guest")).group_by("key").agg(every=pl.len())
    own = fresh.filter(pl.col("type") == JOINED).join(marks.filter("guest"), on="person", how="anti")
    counted = own.group_by("key").agg(fresh=pl.len()).join(every, on="key")
    return counted.filter(pl.col("fresh") >= pl.col("every"))["key"]


def _is_guest(with_roster: pl.DataFrame) -> pl.Expr:
    """Tell of a row with ``key, person`` whether the lesson has a roster that does not name the student."""
    named = with_roster["persons"].explode().drop_nulls()
    strange = ~pl.col("person").is_in(named.implode()) & pl.col("key").is_in(with_roster["key"].implode())
    return strange.fill_null(value=False)


def _placed(numbered: pl.DataFrame, guest: pl.Expr, spans: pl.DataFrame) -> pl.DataFrame:
    """Add ``guest`` and ``inside``."""
    before, after = pl.col("time_us") < pl.col("started_us"), pl.col("time_us") > pl.col("cut_us")
    return (
        numbered.join(spans.select("key", "started_us", "cut_us"), on="key", how="left", maintain_order="left")
        .with_columns(inside=~(before.fill_null(value=False) | after.fill_null(value=False)), guest=guest)
        .drop("started_us", "cut_us")
    )


def _numbered(cached: pl.DataFrame) -> pl.DataFrame:
    key, student, prompt = (pl.col(name) for name in ("key", "student_id", "prompt_id"))
    return cached.select(
        key.to_physical(),
        # What an event does not name is NULL as it comes, and empty as it is read back.
        pl.when(student != "").then(pair(key, student)).alias("person"),
        pair(key, prompt).alias("prompt"),
        "type",
        "source",
        "id",
        "time_us",
        *MEASURED_COLUMNS,
    )


def _of_rosters(starts: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, person`` of the rosters."""
    students = starts.select("key", student_id="roster").explode("student_id").filter(pl.col("student_id") != "")
    return students.select("key", person=pair(pl.col("key"), pl.col("student_id"))).unique("person")


def _started(starts: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """Return the lessons that have started, out of ``starts``, the earliest first; ``named`` are those of their rosters.

    Of each school and class the earliest counts: two of them are the two sides of a dual-teacher lesson.
    """
    counted = starts.unique(["key", "schoolid", "classid"], keep="first", maintain_order=True)
    of_counted = named if counted.height == starts.height else _of_rosters(counted)
    rosters = of_counted.group_by("key").agg(persons=pl.col("person"))
    length_us = pl.col("scheduled_end_us") - pl.col("scheduled_start_us")
    return (
        starts.unique("key", keep="first", maintain_order=True)
        .select("key", "time_us", "scheduled_start_us", "scheduled_end_us")
        .join(rosters, on="key", how="left")
        .with_columns(roster=pl.col("persons").list.len().fill_null(0))
        .with_columns(
            pl.when(length_us.is_between(0, LONGEST_LESSON_US, closed="right")).then(pl.col(name)).alias(name)
            for name in ("scheduled_start_us", "scheduled_end_us")
        )
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


def _spans(cached: pl.DataFrame, started: pl.DataFrame) -> pl.DataFrame:
    kind, time_us = pl.col("type"), pl.col("time_us")
    due_us = pl.col("scheduled_end_us") + LESSON_GRACE_US
    edges = (
        cached.select("type", "key", "time_us")
        .filter(kind.is_in([STARTED, ENDED]))
        .select("key", started_us=pl.when(kind == STARTED).then(time_us), ended_us=pl.when(kind == ENDED).then(time_us))
        .group_by("key")
        .agg(pl.col("started_us").min(), pl.col("ended_us").max())
    )
    return (
        cached.select("key", "time_us")
        .group_by("key")
        .agg(first_us=time_us.min(), last_us=time_us.max())
        .join(edges, on="key", how="left")
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
