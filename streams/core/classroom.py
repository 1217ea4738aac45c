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
from streams.core.presence import intervals, overlap_us, persons_in, seconds_until, while_absent
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
    """What the facts of some lessons say, in the shapes the figures need; lessons and students are small numbers."""

    spans: pl.DataFrame  # key, start_us, end_us, ended_us (NULL while it goes on)
    started: pl.DataFrame  # key, time_us, roster (persons), scheduled_start_us, scheduled_end_us
    present: pl.DataFrame  # key, person, start_us, end_us
    interactions: pl.DataFrame  # key, person, pane_us, count
    strays: pl.DataFrame  # key, person, pane_us, count: interactions of students who were not present then
    asked: pl.DataFrame  # key, item, pane_us: one row for each pane a question was asked in
    prompts: pl.DataFrame  # key, item, asked_us (the earliest), closed_us, pane_us
    answers: pl.DataFrame  # key, item, person


def rows(facts: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Return the metric rows that ``fresh`` events can have changed.

    ``facts`` holds every stored event of the lessons in ``fresh``, those of ``fresh`` included.
    """
    # Joins and groups on numbers cost a fraction of those on text.
    lesson_names = facts.select(name="key").unique().with_row_index("key")
    students = facts.select("key", "student_id").drop_nulls().unique().with_row_index("person")
    lessons = _read(_numbered(facts, lesson_names, students), _rosters(facts, lesson_names, students))
    touched = _touched_panes(
        _numbered(facts, lesson_names, None), _numbered(fresh, lesson_names, None), lessons.asked
    )
    of_1m, of_5m, of_10m = (_touched_windows(touched, window) for window in (WINDOW_1M, WINDOW_5M, WINDOW_10M))
    # The two longer windows hop together, and the longer one reaches further.
    short_hops = _hops(lessons.interactions, of_1m, WINDOW_1M)
    long_hops = _hops(lessons.interactions, of_10m, WINDOW_10M)
    found = pl.concat(
        [
            _breadth(lessons, of_5m, WINDOW_5M, long_hops),
            _breadth(lessons, of_10m, WINDOW_10M, long_hops),
            _breadth_of_lesson(lessons),
            _interaction_rate(lessons, of_1m, WINDOW_1M, short_hops),
            _interaction_rate(lessons, of_5m, WINDOW_5M, long_hops),
            _interaction_rate(lessons, of_10m, WINDOW_10M, long_hops),
            *_response_rates(lessons, touched, of_10m),
            *_attendance(lessons),
        ]
    )
    return found.join(lesson_names, on="key").with_columns(key="name").drop("name")


def _numbered(facts: pl.DataFrame, lesson_names: pl.DataFrame, students: pl.DataFrame | None) -> pl.DataFrame:
    """Replace the lesson's name by its number, and add the student's number as ``person`` where asked for."""
    if students is not None:
        facts = facts.join(students, on=["key", "student_id"], how="left", maintain_order="left")
    return facts.rename({"key": "name"}).join(lesson_names, on="name", maintain_order="left").drop("name")


def _rosters(facts: pl.DataFrame, lesson_names: pl.DataFrame, students: pl.DataFrame) -> pl.DataFrame:
    """Return the earliest start of each lesson; ``roster`` counts its students, ``persons`` numbers those seen."""
    started = (
        facts.filter(pl.col("type") == _STARTED)
        .sort("time_us", "source", "id")
        .unique("key", keep="first", maintain_order=True)
        .select("key", "time_us", "roster", "scheduled_start_us", "scheduled_end_us")
    )
    expected = started.select("key", student_id="roster").explode("student_id").drop_nulls("student_id").unique()
    persons = (
        expected.join(students, on=["key", "student_id"], how="left")
        .group_by("key")
        .agg(roster=pl.len(), persons=pl.col("person").drop_nulls())
    )
    numbered = started.drop("roster").join(persons, on="key", how="left").with_columns(pl.col("roster").fill_null(0))
    return _numbered(numbered, lesson_names, None)


def _read(facts: pl.DataFrame, started: pl.DataFrame) -> _Lessons:
    kind, time_us = pl.col("type"), pl.col("time_us")
    spans = facts.group_by("key").agg(
        start_us=pl.coalesce(time_us.filter(kind == _STARTED).min(), time_us.min()),
        ended_us=time_us.filter(kind == _ENDED).max(),
        last_us=time_us.max(),
    )
    marks = facts.filter(kind.is_in([_JOINED, _LEFT])).select("key", "person", "time_us", joined=kind == _JOINED)
    ends = spans.filter(pl.col("ended_us").is_not_null()).select("key", end_us="ended_us")
    present = intervals(marks, ends)
    interactions = facts.filter(kind.is_in(INTERACTION_TYPES)).select(
        "key", "person", "time_us", pane_us=pane_of(time_us, CLASSROOM_PANE_US)
    )
    asked = facts.filter(kind == _ASKED).select("key", "time_us", item="prompt_id")
    earliest = asked.group_by("key", "item").agg(asked_us=time_us.min())
    closed = facts.filter(kind == _CLOSED).group_by("key", item="prompt_id").agg(closed_us=time_us.max())
    return _Lessons(
        spans=spans.with_columns(end_us=pl.coalesce("ended_us", "last_us")),
        started=started,
        present=present,
        interactions=interactions.group_by("key", "person", "pane_us").agg(count=pl.len()),
        strays=while_absent(interactions, present).group_by("key", "person", "pane_us").agg(count=pl.len()),
        asked=asked.select("key", "item", pane_us=pane_of(time_us, CLASSROOM_PANE_US)).unique(),
        prompts=earliest.join(closed, on=["key", "item"], how="left").with_columns(
            pane_us=pane_of(pl.col("asked_us"), CLASSROOM_PANE_US)
        ),
        answers=facts.filter(kind == _ANSWERED).select("key", "person", item="prompt_id").unique(),
    )


def _touched_panes(facts: pl.DataFrame, fresh: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """Return the panes (``key, pane_us``) whose windows must be written again.

    An event touches its own pane. What happens to a question also touches every pane it was asked in. A join or leave
    touches every later pane of the lesson, and the end of a lesson all of them, since presence reaches across panes.
    """
    pane = pane_of(pl.col("time_us"), CLASSROOM_PANE_US).alias("pane_us")
    own = fresh.select("key", pane)
    questions = (
        fresh.filter(pl.col("type").is_in([_ASKED, _ANSWERED, _CLOSED])).select("key", item="prompt_id").unique()
    )
    put = asked.join(questions, on=["key", "item"], how="semi").select("key", "pane_us")
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
    return pl.concat([own, put, later]).unique()


def _touched_windows(touched: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Return ``key, slot_us, window_start_us, window_end_us`` of the windows the touched panes belong to."""
    starts = windows_of(touched, window).select("key", "start_us").unique()
    return starts.select(
        "key", slot_us="start_us", window_start_us="start_us", window_end_us=pl.col("start_us") + window.size_us
    )


def _hops(panes: pl.DataFrame, windows: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Merge panes into hops of the window, as far as ``windows`` reach: ``key, person, pane_us, count``."""
    reach = windows.group_by("key").agg(from_us=pl.col("window_start_us").min(), to_us=pl.col("window_end_us").max())
    return (
        panes.join(reach, on="key")
        .filter((pl.col("pane_us") >= pl.col("from_us")) & (pl.col("pane_us") < pl.col("to_us")))
        .group_by("key", "person", pane_us=pane_of(pl.col("pane_us"), window.hop_us))
        .agg(pl.col("count").sum())
    )


def _in_windows(hops: pl.DataFrame, windows: pl.DataFrame, window: Window, who: list[str]) -> pl.DataFrame:
    """Return how often ``who`` of ``hops`` acted in each of ``windows``: ``key, slot_us``, ``who`` and ``count``."""
    if not who:
        hops = hops.group_by("key", "pane_us").agg(pl.col("count").sum())
    placed = windows_of(hops, window).rename({"start_us": "slot_us"})
    return (
        placed.join(windows.select("key", "slot_us"), on=["key", "slot_us"], how="semi")
        .group_by("key", "slot_us", *who)
        .agg(pl.col("count").sum())
    )


def _breadth(lessons: _Lessons, windows: pl.DataFrame, window: Window, hops: pl.DataFrame) -> pl.DataFrame:
    place = ["key", "slot_us"]
    active = _in_windows(hops, windows, window, ["person"]).group_by(place).agg(numerator=pl.len())
    strays = _in_windows(_hops(lessons.strays, windows, window), windows, window, ["person"])
    absent = strays.join(
        strays.join(windows, on=place)
        .join(lessons.present, on=["key", "person"])
        .filter((pl.col("start_us") < pl.col("window_end_us")) & (pl.col("end_us") > pl.col("window_start_us"))),
        on=[*place, "person"],
        how="anti",
    )
    figures = (
        persons_in(lessons.present, windows)
        .join(active, on=place, how="left")
        .join(absent.group_by(place).agg(absent=pl.len()), on=place, how="left")
        .with_columns(
            pl.col("numerator").fill_null(0), denominator=pl.col("persons") + pl.col("absent").fill_null(0)
        )
        .with_columns(sample_size="denominator")
    )
    return metric_rows("participation_breadth", window.name, figures)


def _breadth_of_lesson(lessons: _Lessons) -> pl.DataFrame:
    whole = lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us")
    active = lessons.interactions.select("key", "person").unique()
    figures = _share(whole, ["key"], active, lessons.present.select("key", "person"))
    return metric_rows("participation_breadth", "lesson", figures)


def _share(places: pl.DataFrame, on: list[str], some: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Add to ``places`` the number of persons in ``some`` and the number in ``some`` or ``others``."""
    every = pl.concat([some.select(*on, "person"), others.select(*on, "person")]).unique()
    counted = (
        places.join(some.group_by(on).agg(numerator=pl.len()), on=on, how="left")
        .join(every.group_by(on).agg(denominator=pl.len()), on=on, how="left")
        .with_columns(pl.col("numerator", "denominator").fill_null(0))
    )
    return counted.with_columns(sample_size="denominator")


def _interaction_rate(lessons: _Lessons, windows: pl.DataFrame, window: Window, hops: pl.DataFrame) -> pl.DataFrame:
    counts = _in_windows(hops, windows, window, []).rename({"count": "numerator"})
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


def _response_rates(lessons: _Lessons, touched: pl.DataFrame, windows: pl.DataFrame) -> list[pl.DataFrame]:
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
    # A question asked twice counts where it was asked first; the later window keeps its row, so that none goes stale.
    holding = windows.join(
        windows_of(lessons.asked, WINDOW_10M).select("key", slot_us="start_us"), on=["key", "slot_us"], how="semi"
    )
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
        metric_rows("response_rate", WINDOW_10M.name, holding.join(means, on=["key", "slot_us"], how="left").fill_null(0)),
    ]


def _attendance(lessons: _Lessons) -> list[pl.DataFrame]:
    spans = lessons.spans.select("key", "ended_us", window_start_us="start_us", window_end_us="end_us")
    started = lessons.started.join(spans, on="key")
    length_us = (pl.col("scheduled_end_us") - pl.col("scheduled_start_us")).clip(lower_bound=0)
    until_us = pl.min_horizontal("scheduled_end_us", "window_end_us")
    attended = (
        started.explode("persons")
        .rename({"persons": "person"})
        .join(lessons.present, on=["key", "person"])
        .group_by("key")
        .agg(numerator=overlap_us(pl.col("scheduled_start_us"), until_us).sum() / float(SECOND_US))
    )
    rate = (
        started.join(attended, on="key", how="left")
        .with_columns(pl.col("numerator").fill_null(0.0), sample_size="roster")
        .with_columns(denominator=pl.col("roster") * (length_us / float(SECOND_US)))
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
