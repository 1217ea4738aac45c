"""Who takes part, how many and how often: metrics 8 to 11. Formulas: ``schemas/metrics/classroom/participation.py``."""

import polars as pl

from schemas.metrics.classroom.lessons import CLASSROOM_PANE_US, INTERACTION_TYPES
from schemas.metrics.metric import MINUTE_US, WINDOW_1M, WINDOW_5M, WINDOW_10M, WINDOW_LESSON
from streams.core.classroom.hands import RAISED
from streams.core.classroom.lessons import Lessons, Touched
from streams.core.presence import overlap_us, persons_in, seconds_until, share_of_present, while_absent
from streams.core.rows import metric_rows
from streams.core.windows import pane_code, pane_of, windows_at

_BREADTH, _RATE = "participation_breadth", "interactions_per_student_minute"
_HANDS = "hand_raises_per_student_minute"
_COUNTS = ("interactions", "raised")
_WINDOW = ["key", "window_start_us", "window_end_us"]
#: They hop together.
_OF_BREADTH = (WINDOW_5M, WINDOW_10M)
_SIZE_US = pl.col("window_end_us") - pl.col("window_start_us")
#: The window that has the row's size.
_NAME = _SIZE_US.replace_strict({window.size_us: window.name for window in (WINDOW_1M, *_OF_BREADTH)})
_LESSON = pl.lit(WINDOW_LESSON.name)


def rows(lessons: Lessons, touched: Touched) -> list[pl.DataFrame]:
    """Return the rows of the metrics, over hopping windows and over the lesson so far."""
    acts = (
        lessons.of(INTERACTION_TYPES, "key", "person", "time_us", "guest", "inside")
        .filter(~pl.col("guest"))
        .select(
            "key",
            "person",
            "time_us",
            "inside",
            pane_us=pane_of(pl.col("time_us"), CLASSROOM_PANE_US),
            interactions=pl.lit(1, pl.UInt32),
            raised=(pl.col("type") == RAISED).cast(pl.UInt32),
        )
        .sort("person", "time_us")
    )
    windows = windows_at(touched.panes, *_OF_BREADTH)
    breadth = _breadth(lessons, acts, windows)
    rates = _rates(lessons, pl.concat([windows, windows_at(touched.panes, WINDOW_1M)]), acts)
    of_hands = rates.filter(WINDOW_10M.size_us == _SIZE_US)
    return [
        metric_rows(_BREADTH, _NAME, breadth),
        _rate_rows(_RATE, "interactions", _NAME, rates),
        _rate_rows(_HANDS, "raised", pl.lit(WINDOW_10M.name), of_hands),
        *_of_lessons(lessons, acts),
    ]


def _breadth(lessons: Lessons, acts: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    present = persons_in(lessons.audience, windows)
    return (
        _active(acts, present)
        .join(_absent(lessons, acts, windows), on=_WINDOW, how="left")
        .with_columns(denominator=pl.col("persons") + pl.col("absent").fill_null(0))
        .with_columns(sample_size="denominator")
    )


def _active(acts: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Add to ``windows`` how many persons acted in each (``numerator``); ``acts`` are ordered by person and time.

    Of all hops in which a person acted, a window counts the first inside it. So each hop counts for the windows that
    begin after the person's hop before and no later than itself: a step up and a step down. After its last step nobody
    is counted for a lesson, so the steps of all lessons are added up in one go.
    """
    hop_us = _OF_BREADTH[0].hop_us
    hops = acts.select("key", "person", hop=pane_of(pl.col("time_us"), hop_us))
    same, hop = pl.col("person").eq_missing(pl.col("person").shift(1)), pl.col("hop")
    hops = hops.with_columns(before_us=pl.when(same).then(hop.shift(1))).filter(~same | (hop != pl.col("before_us")))
    downs = _counted(hops.select(pane_code=pane_code("key", hop + hop_us, hop_us)), -1)
    found = []
    for window in _OF_BREADTH:
        first_us = pl.max_horizontal("before_us", hop - window.size_us) + hop_us
        ups = _counted(hops.select(pane_code=pane_code("key", first_us, hop_us)), 1)
        steps = pl.concat([ups, downs]).group_by("pane_code").agg(pl.col("change").sum()).sort("pane_code")
        found.append(
            windows.filter(window.size_us == _SIZE_US)
            .with_columns(pane_code=pane_code("key", pl.col("window_start_us"), hop_us))
            .sort("pane_code")
            .join_asof(steps.select("pane_code", numerator=pl.col("change").cum_sum()), on="pane_code")
            .with_columns(pl.col("numerator").fill_null(0))
            .drop("pane_code")
        )
    return pl.concat(found)


def _counted(panes: pl.DataFrame, change: int) -> pl.DataFrame:
    return panes.group_by("pane_code").agg(change=pl.len().cast(pl.Int64) * change)


def _absent(lessons: Lessons, acts: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Return of each window how many acted in it without being present at any moment of it (``absent``)."""
    strays = while_absent(acts, lessons.audience).select(
        "key", "person", pane_us=pane_of(pl.col("time_us"), _OF_BREADTH[0].hop_us)
    )
    placed = windows_at(strays, *_OF_BREADTH, by="person").join(windows, on=_WINDOW, how="semi")
    there = placed.join(lessons.audience.select("person", "start_us", "end_us"), on="person").filter(
        (pl.col("start_us") < pl.col("window_end_us")) & (pl.col("end_us") > pl.col("window_start_us"))
    )
    away = placed.join(there, on=["person", "window_start_us", "window_end_us"], how="anti")
    return away.group_by(_WINDOW).agg(absent=pl.len())


def _rates(lessons: Lessons, windows: pl.DataFrame, acts: pl.DataFrame) -> pl.DataFrame:
    """Add to ``windows`` the counts of ``acts`` in them, and the presence of all students (``present_us``).

    What happened before a moment is looked up at the window's two edges: the difference is what happened inside.
    """
    sums = ("present_us", *_COUNTS)
    # All lessons are added up in one go: what those before have drops out of the difference.
    grown = (
        acts.select(*_COUNTS, pane_code=pane_code("key", pl.col("pane_us"), CLASSROOM_PANE_US))
        .group_by("pane_code")
        .agg(pl.col(_COUNTS).sum())
        .sort("pane_code")
        .with_columns(pl.col(_COUNTS).cast(pl.Int64).cum_sum())
    )
    edges = pl.concat(
        [windows.select("key", at_us="window_start_us"), windows.select("key", at_us="window_end_us")]
    ).unique()
    known = (
        seconds_until(lessons.present, edges)
        .with_columns(pane_code=pane_code("key", pl.col("at_us"), CLASSROOM_PANE_US))
        .sort("pane_code")
        # The pane that begins at the edge is not before it.
        .join_asof(grown, on="pane_code", allow_exact_matches=False)
        .with_columns(pl.col(sums).fill_null(0))
        .drop("pane_code")
    )
    start = known.select("key", pl.col(sums).name.prefix("before_"), window_start_us="at_us")
    return (
        windows.join(start, on=["key", "window_start_us"])
        .join(known.rename({"at_us": "window_end_us"}), on=["key", "window_end_us"])
        .with_columns(pl.col(name) - pl.col(f"before_{name}") for name in sums)
    )


def _rate_rows(metric: str, count: str, window: pl.Expr, rates: pl.DataFrame) -> pl.DataFrame:
    minutes = pl.col("present_us") / MINUTE_US
    return metric_rows(metric, window, rates, numerator=count, denominator=minutes, sample_size=minutes.floor())


def _of_lessons(lessons: Lessons, acts: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the rows of the lesson so far."""
    whole = lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us")
    inside = acts.filter("inside").select("key", "person", *_COUNTS)
    acted = inside.group_by("person").agg(pl.col("key").first(), pl.col(_COUNTS).sum())
    breadth = share_of_present(whole, ["key"], acted, _within(lessons.audience, whole)).join(
        _guests(lessons, whole), on="key", how="left"
    )
    inside_us = overlap_us(pl.col("window_start_us"), pl.col("window_end_us"))
    presence = lessons.present.join(whole, on="key").group_by("key").agg(present_us=inside_us.sum())
    counts = acted.group_by("key").agg(pl.col(_COUNTS).sum())
    rates = (
        whole.join(counts, on="key", how="left")
        .join(presence, on="key", how="left")
        .with_columns(pl.col(*_COUNTS, "present_us").fill_null(0))
    )
    with_guests = breadth.with_columns(parts=pl.concat_list(pl.col("guests").fill_null(0).cast(pl.Float64)))
    return [
        metric_rows(_BREADTH, WINDOW_LESSON.name, with_guests),
        metric_rows("participation_gini", WINDOW_LESSON.name, _gini(breadth, acted)),
        _rate_rows(_RATE, "interactions", _LESSON, rates),
        _rate_rows(_HANDS, "raised", _LESSON, rates),
    ]


def _within(stays: pl.DataFrame, whole: pl.DataFrame) -> pl.DataFrame:
    """Return the stays that touch the lesson so far."""
    touching = (pl.col("start_us") <= pl.col("window_end_us")) & (pl.col("end_us") > pl.col("window_start_us"))
    return stays.join(whole, on="key").filter(touching)


def _guests(lessons: Lessons, whole: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, guests``: how many were there or took part, and are on no roster."""
    acted = lessons.of(INTERACTION_TYPES, "key", "person", "guest", "inside").filter("guest", "inside")
    there = _within(lessons.stays.join(lessons.present, on="person", how="anti"), whole)
    every = pl.concat([acted.select("key", "person"), there.select("key", "person")]).unique()
    return every.group_by("key").agg(guests=pl.len())


def _gini(breadth: pl.DataFrame, acted: pl.DataFrame) -> pl.DataFrame:
    """Make metric 9 of the number of students in ``breadth`` and what each of those who ``acted`` did.

    In ascending order the student of rank r differs from all others together by what is r - 1 times added and n - r
    times taken away; those who did nothing hold the lowest ranks and add nothing.
    """
    count = pl.col("interactions").cast(pl.Int64)
    ranked = acted.select("key", count, rank=count.rank("ordinal").over("key").cast(pl.Int64))
    from_top = pl.col("acted") - pl.col("rank")
    sums = (
        ranked.join(breadth.select("key", students=pl.col("sample_size").cast(pl.Int64)), on="key")
        .with_columns(acted=pl.len().over("key").cast(pl.Int64))
        .group_by("key")
        .agg(
            differences=2 * (count * (pl.col("students") - 1 - 2 * from_top)).sum(),
            interactions=count.sum(),
        )
    )
    students = pl.col("sample_size").cast(pl.Int64)
    told = (
        breadth.drop("numerator", "denominator")
        .join(sums, on="key", how="left")
        .with_columns(
            numerator=pl.col("differences").fill_null(0),
            denominator=2 * students * pl.col("interactions").fill_null(0),
        )
    )
    few = (students > 1) & (pl.col("denominator") > 0)
    corrected = pl.when(few).then(pl.col("numerator") / pl.col("denominator") * students / (students - 1))
    return told.with_columns(parts=pl.concat_list(corrected))
