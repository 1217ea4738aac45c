"""Who speaks: figures 1 to 4. Formulas: ``schemas/figures_classroom.py``."""

import polars as pl

from schemas.metric import WINDOW_10M, WINDOW_LESSON
from streams.core.lessons import Lessons, Touched
from streams.core.panes import pane_of, windows_at, windows_of
from streams.core.rows import metric_rows

SPOKEN = "classroom.speech.recorded"

#: FIAS codes that are added up: the columns the figures are made of.
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
    """Return the rows of the figures, over the windows with fresh speech and over the lesson so far."""
    slices = _slices(lessons)
    if slices.is_empty():
        return []
    whole = _merged(slices, "key").join(
        lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us"), on="key"
    )
    windows = windows_at(touched.panes_of(SPOKEN), WINDOW_10M)
    placed = windows_of(slices, WINDOW_10M).rename({"start_us": "slot_us"})
    hopping = _merged(placed.join(windows, on=["key", "slot_us"]), "key", "slot_us", "window_start_us", "window_end_us")
    return [
        *_figures(whole, WINDOW_LESSON.name, _SHARES | _RATIOS),
        *_figures(hopping, WINDOW_10M.name, _SHARES),
    ]


def _slices(lessons: Lessons) -> pl.DataFrame:
    """Return the samples of each hop of the window, ``key, pane_us``, counted.

    ``changes`` counts the samples whose speaker is not that of the sample before, ``change_at_head`` says whether the
    slice's first sample is among them: a window that begins with the slice does not see the sample before.
    """
    speech = lessons.of([SPOKEN], "key", "time_us", "source", "id", "speaker", "fias_code")
    samples = speech.sort("key", "time_us", "source", "id")
    same_lesson = pl.col("key") == pl.col("key").shift(1)
    speaker, code = pl.col("speaker"), pl.col("fias_code")
    return (
        samples.select(
            "key",
            pane_us=pane_of(pl.col("time_us"), WINDOW_10M.hop_us),
            # Half samples are kept whole, so that sums are exact in whatever order they are made.
            halves=2 * (speaker == "teacher").cast(pl.Int64) + (speaker == "both"),
            changed=(same_lesson & (speaker != speaker.shift(1))).fill_null(value=False),
            **{name: code.is_in(codes) for name, codes in _CODES.items()},
        )
        .group_by("key", "pane_us", maintain_order=True)
        .agg(
            pl.col("halves", *_CODES).sum(),
            samples=pl.len(),
            changes=pl.col("changed").sum(),
            change_at_head=pl.col("changed").first(),
        )
    )


def _merged(slices: pl.DataFrame, *place: str) -> pl.DataFrame:
    """Add up the slices of each place."""
    head = pl.col("change_at_head").get(pl.col("pane_us").arg_min())
    return slices.group_by(place).agg(
        pl.col("halves", "samples", *_CODES).sum().cast(pl.Int64),
        changes=pl.col("changes").sum().cast(pl.Int64) - head.cast(pl.Int64),
    )


def _figures(merged: pl.DataFrame, window: str, ratios: dict[str, tuple[str, str]]) -> list[pl.DataFrame]:
    samples = {"denominator": "samples", "sample_size": "samples"}
    coded = merged.filter(pl.col("coded") > 0)
    return [
        metric_rows("teacher_occupancy", window, merged, numerator=pl.col("halves") / 2, **samples),
        metric_rows("behaviour_conversion", window, merged, numerator="changes", **samples),
        *(
            metric_rows(name, window, coded, numerator=upper, denominator=lower, sample_size=lower)
            for name, (upper, lower) in ratios.items()
        ),
    ]
