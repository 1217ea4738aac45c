"""Who speaks: metrics 1 to 4. Formulas: ``schemas/metrics/classroom/talk.py``."""

from collections.abc import Callable

import polars as pl

from schemas.metrics.classroom.talk import (
    CELL_US,
    COVERED_US,
    LONGEST_SEGMENT_US,
    SPEAKERS,
    ST_MODES,
)
from schemas.metrics.metric import WINDOW_10M, WINDOW_LESSON
from streams.core.classroom.lessons import Lessons, Touched
from streams.core.rows import metric_rows
from streams.core.windows import pane_code, windows_at

SPOKEN = "classroom.speech.recorded"

#: Room for a label below the microseconds that it covers.
_LABELS = 16
_SPEAKERS = {name: rank for rank, name in enumerate(SPEAKERS)}
#: Categories that are added up: the columns the metrics are made of.
_CODES = {
    "coded": range(1, 11),
    "teacher_talk": range(1, 8),
    "student_talk": (8, 9),
    "silence": (10,),
    "initiation": (9,),
    "question": (4,),
    "lecture_or_question": (4, 5),
    "response": (1, 2, 3),
    "response_or_direction": (1, 2, 3, 6, 7),
}
_BEHAVIOUR = ("halves", "changes", "samples")
#: Name: numerator, denominator.
_SHARES = {
    "teacher_talk_share": ("teacher_talk", "coded"),
    "student_talk_share": ("student_talk", "coded"),
    "silence_share": ("silence", "coded"),
}
_RATIOS = {
    "pupil_initiation_ratio": ("initiation", "student_talk"),
    "question_ratio": ("question", "lecture_or_question"),
    "teacher_response_ratio": ("response", "response_or_direction"),
}


def rows(lessons: Lessons, touched: Touched) -> list[pl.DataFrame]:
    """Return the rows of the metrics, over the windows that fresh speech reaches into and over the lesson so far."""
    segments = _segments(lessons.of([SPOKEN], "key", "time_us", "duration_ms", "speaker", "fias_code"))
    if segments.is_empty():
        return []
    fresh = _segments(touched.fresh.filter(pl.col("type") == SPOKEN))
    return [*_of_behaviour(lessons, segments, fresh), *_of_categories(lessons, *map(_coded, (segments, fresh)))]


def _of_behaviour(lessons: Lessons, segments: pl.DataFrame, fresh: pl.DataFrame) -> list[pl.DataFrame]:
    speaker = pl.col("speaker").cast(pl.String).replace_strict(_SPEAKERS)
    cells = _cells(segments.with_columns(label=speaker))
    so_far = _so_far(lessons, segments, cells, _behaviour_by_hop, _BEHAVIOUR)
    hopping = _counted(_behaviour_by_hop(cells), "hop", _windows_of(fresh), _BEHAVIOUR)
    return [
        *_behaviour_rows(so_far, WINDOW_LESSON.name),
        *_behaviour_rows(hopping, WINDOW_10M.name),
        _modes(so_far),
    ]


def _of_categories(lessons: Lessons, segments: pl.DataFrame, fresh: pl.DataFrame) -> list[pl.DataFrame]:
    cells = _cells(segments.with_columns(label="fias_code"))
    so_far = _so_far(lessons, segments, cells, _categories_by_hop, tuple(_CODES))
    hopping = _counted(_categories_by_hop(cells), "hop", _windows_of(fresh), tuple(_CODES))
    return [
        *_ratio_rows(so_far, WINDOW_LESSON.name, _SHARES | _RATIOS),
        *_ratio_rows(hopping, WINDOW_10M.name, _SHARES),
    ]


def _categories_by_hop(cells: pl.DataFrame) -> pl.DataFrame:
    return _by_hop(cells, {name: pl.col("label").is_in(codes) for name, codes in _CODES.items()})


def _so_far(
    lessons: Lessons,
    segments: pl.DataFrame,
    cells: pl.DataFrame,
    by_hop: Callable[[pl.DataFrame], pl.DataFrame],
    names: tuple[str, ...],
) -> pl.DataFrame:
    """Return the lessons with such segments and the sums of ``names`` over the cells that reach into the lesson so far."""
    at_us = pl.col("cell") * CELL_US
    before, after = at_us <= pl.col("started_us") - CELL_US, at_us > pl.col("cut_us")
    bounds = lessons.spans.select("key", "started_us", "cut_us")
    placed = cells.join(bounds, on="key", how="left", maintain_order="left")
    inside = placed.filter(~(before.fill_null(value=False) | after.fill_null(value=False))).select(cells.columns)
    # A lesson that nothing cuts is the rule.
    counted = by_hop(cells if inside.height == cells.height else inside)
    return _counted(counted, "key", _lessons_of(lessons, segments), names)


def _coded(segments: pl.DataFrame) -> pl.DataFrame:
    return segments.filter(pl.col("fias_code").is_not_null())


def _lessons_of(lessons: Lessons, segments: pl.DataFrame) -> pl.DataFrame:
    """Return the lessons with such segments, as windows."""
    whole = lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us", first="key", last="key")
    return whole.join(segments.select("key"), on="key", how="semi")


def _windows_of(segments: pl.DataFrame) -> pl.DataFrame:
    """Return the hopping windows that the segments reach into."""
    return windows_at(_hops(segments), WINDOW_10M).with_columns(
        first=_hop(pl.col("window_start_us")), last=_hop(pl.col("window_end_us") - WINDOW_10M.hop_us)
    )


def until_us() -> pl.Expr:
    """Return when the speech of an event ended."""
    return pl.col("time_us") + pl.min_horizontal(pl.col("duration_ms") * 1000, LONGEST_SEGMENT_US)


def _segments(speech: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, speaker, fias_code, start_us, end_us`` of the speech."""
    return speech.select("key", "speaker", "fias_code", start_us="time_us", end_us=until_us())


def _through(length_us: int) -> pl.Expr:
    """Return the numbers of the stretches of ``length_us`` that a segment reaches into; an empty one into one."""
    last_us = pl.max_horizontal("start_us", pl.col("end_us") - 1)
    return pl.int_ranges(pl.col("start_us") // length_us, last_us // length_us + 1)


def _hops(segments: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, pane_us``: the hops of the window that segments reach into."""
    hops = segments.select("key", pane_us=_through(WINDOW_10M.hop_us)).explode("pane_us")
    return hops.with_columns(pl.col("pane_us") * WINDOW_10M.hop_us).unique()


def _cells(segments: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, cell, label`` in order: what fills most of each cell that is covered for long enough.

    ``segments`` has ``label``, a number below 16. Segments of one label that overlap cover a moment once.
    """
    stretches = united(segments.select("key", pl.col("label").cast(pl.Int64), "start_us", "end_us"))
    start_us, end_us = pl.col("cell") * CELL_US, (pl.col("cell") + 1) * CELL_US
    inside_us = pl.min_horizontal("end_us", end_us) - pl.max_horizontal("start_us", start_us)
    return (
        stretches.with_columns(cell=_through(CELL_US))
        .explode("cell")
        .group_by("key", "cell", "label")
        .agg(covered_us=inside_us.sum())
        .group_by("key", "cell")
        # Of labels that cover the same time the lowest counts.
        .agg(
            most=(pl.col("covered_us") * _LABELS + (_LABELS - 1 - pl.col("label"))).max(),
            covered_us=pl.col("covered_us").sum(),
        )
        .filter(pl.col("covered_us") >= COVERED_US)
        .select("key", "cell", label=_LABELS - 1 - pl.col("most") % _LABELS)
        .sort("key", "cell")
    )


def united(segments: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, label, start_us, end_us``: the segments of each label, those that overlap or touch as one."""
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in ("key", "label")).fill_null(value=False)
    return (
        segments.sort("key", "label", "start_us")
        .with_columns(until_us=pl.col("end_us").cum_max().over("key", "label"))
        .with_columns(begins=~same | (pl.col("start_us") > pl.col("until_us").shift(1)))
        .group_by(pl.col("begins").cum_sum())
        .agg(pl.col("key", "label", "start_us").first(), end_us=pl.col("until_us").last())
        .drop("begins")
    )


def _hop(time_us: pl.Expr) -> pl.Expr:
    return pane_code("key", time_us, WINDOW_10M.hop_us)


def _behaviour_by_hop(cells: pl.DataFrame) -> pl.DataFrame:
    """Return the samples of each hop counted, in order.

    ``changes`` counts the samples whose behaviour is not that of the sample before; not the hop's first sample, since a
    window that begins with the hop does not see the one before. The sums up to and with the hop, ``.._so_far``, count
    that one too.
    """
    same_lesson = pl.col("key") == pl.col("key").shift(1)
    teacher, both = _SPEAKERS["teacher"], _SPEAKERS["both"]
    # What is neither the teacher's nor common is the students' behaviour: silence and quiet work too.
    behaviour = pl.min_horizontal(pl.col("label"), _SPEAKERS["student"])
    changes = (same_lesson & (behaviour != behaviour.shift(1))).fill_null(value=False)
    # Half samples are kept whole, so that sums are exact in whatever order they are made.
    halves = 2 * (pl.col("label") == teacher).cast(pl.Int64) + (pl.col("label") == both)
    return _by_hop(cells, {"halves": halves, "changes": changes, "samples": pl.lit(1)}).with_columns(
        changes=pl.col("changes") - pl.col("change_at_head")
    )


def _by_hop(cells: pl.DataFrame, counts: dict[str, pl.Expr]) -> pl.DataFrame:
    names = list(counts)
    return (
        cells.select("key", hop=_hop(pl.col("cell") * CELL_US), **counts)
        .with_columns(pl.col(names).cast(pl.Int64))
        .group_by("hop", maintain_order=True)
        .agg(
            pl.col("key").first(),
            pl.col(names).sum(),
            **({"change_at_head": pl.col("changes").first()} if "changes" in counts else {}),
        )
        .with_columns(pl.col(names).cum_sum().name.suffix("_so_far"))
    )


def _counted(slices: pl.DataFrame, by: str, windows: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Add to ``windows`` the sums of the slices whose ``by`` is from ``first`` to ``last``; 0 without any.

    The slices of all lessons are added up in one go: what was before a window drops out of the difference.
    """
    since, after = slices[by].search_sorted(windows["first"], "left"), slices[by].search_sorted(windows["last"], "right")
    placed = windows.with_columns(since=since, after=after)
    held = placed.filter(pl.col("since") < pl.col("after"))
    so_far = [f"{name}_so_far" for name in names]
    first, last = slices[held["since"]], slices[held["after"] - 1]
    sums = held.hstack(first.select(names) + (last.select(so_far) - first.select(so_far)))
    return pl.concat([sums, placed.filter(pl.col("since") >= pl.col("after"))], how="diagonal").with_columns(
        pl.col(names).fill_null(0)
    )


def _behaviour_rows(merged: pl.DataFrame, window: str) -> list[pl.DataFrame]:
    samples = {"denominator": "samples", "sample_size": "samples"}
    return [
        metric_rows("teacher_occupancy", window, merged, numerator=pl.col("halves") / 2, **samples),
        metric_rows("behaviour_conversion", window, merged, numerator="changes", **samples),
    ]


def _modes(merged: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the mode: one for each, of which one has the value 1."""
    halves, changes, samples = (pl.col(name) for name in _BEHAVIOUR)
    # In whole numbers: Rt <= 0.3, Rt >= 0.7, Ch >= 0.4.
    mode = (
        pl.when(5 * halves <= 3 * samples)
        .then(pl.lit("practice"))
        .when(5 * halves >= 7 * samples)
        .then(pl.lit("lecture"))
        .when(5 * changes >= 2 * samples)
        .then(pl.lit("dialogue"))
        .otherwise(pl.lit("mixed"))
    )
    every = merged.with_columns(mode=mode).join(pl.DataFrame({"item": ST_MODES}), how="cross")
    known = samples > 0
    return metric_rows(
        "st_mode",
        WINDOW_LESSON.name,
        every,
        numerator=known & (pl.col("mode") == pl.col("item")),
        denominator=known,
        sample_size="samples",
    )


def _ratio_rows(merged: pl.DataFrame, window: str, ratios: dict[str, tuple[str, str]]) -> list[pl.DataFrame]:
    return [
        metric_rows(name, window, merged, numerator=upper, denominator=lower, sample_size=lower)
        for name, (upper, lower) in ratios.items()
    ]
