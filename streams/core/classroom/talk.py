"""Who speaks: metrics 1 to 4. Formulas: ``schemas/metrics/classroom/talk.py``."""

import polars as pl

from schemas.metrics.metric import WINDOW_10M, WINDOW_LESSON
from streams.core.classroom.lessons import Lessons, Touched
from streams.core.codes import pair
from streams.core.rows import metric_rows
from streams.core.windows import windows_at

SPOKEN = "classroom.speech.recorded"

#: FIAS codes that are added up: the columns the metrics are made of.
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
_CODED = {name: pl.col("fias_code").is_in(codes) for name, codes in _CODES.items()}
_COUNTS = ("halves", "samples", "changes", *_CODES)
_SO_FAR = tuple(f"{name}_so_far" for name in _COUNTS)
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
    """Return the rows of the metrics, over the windows with fresh speech and over the lesson so far."""
    speech = lessons.of([SPOKEN], "key", "time_us", "source", "id", "speaker", "fias_code").drop("type")
    if speech.is_empty():
        return []
    slices = _slices(_in_order(speech))
    whole = lessons.spans.select("key", window_start_us="start_us", window_end_us="end_us", first="key", last="key")
    windows = windows_at(touched.panes_of(SPOKEN), WINDOW_10M).with_columns(
        first=_hop(pl.col("window_start_us")), last=_hop(pl.col("window_end_us") - WINDOW_10M.hop_us)
    )
    return [
        *_rows(_counted(slices, "key", whole), WINDOW_LESSON.name, _SHARES | _RATIOS),
        *_rows(_counted(slices, "hop", windows), WINDOW_10M.name, _SHARES),
    ]


def _hop(time_us: pl.Expr) -> pl.Expr:
    """Return the key and the hop of the window that holds ``time_us``, in one number."""
    return pair(pl.col("key"), (time_us // WINDOW_10M.hop_us).cast(pl.UInt32))


def _in_order(speech: pl.DataFrame) -> pl.DataFrame:
    """Order ``speech`` by key, time, source and id.

    Two sorts by one number each cost a fraction of one by all four, and hardly two samples of a lesson are of one moment.
    """
    ordered = speech.sort("time_us").sort("key", maintain_order=True).with_row_index("nth")
    as_before = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in ("key", "time_us"))
    tied = ordered.filter(as_before | as_before.shift(-1))
    if tied.is_empty():
        return ordered
    return ordered[ordered["nth"].scatter(tied["nth"], tied.sort("key", "time_us", "source", "id")["nth"])]


def _slices(samples: pl.DataFrame) -> pl.DataFrame:
    """Return the samples of each hop of the window counted, in order: ``hop`` is the key and the hop in one number.

    ``changes`` counts the samples whose speaker is not that of the sample before; not the slice's first sample, since a
    window that begins with the slice does not see the one before. The sums up to and with the slice, ``.._so_far``, count
    that one too.
    """
    same_lesson = pl.col("key") == pl.col("key").shift(1)
    speaker = pl.col("speaker")
    return (
        samples.select(
            "key",
            hop=_hop(pl.col("time_us")),
            # Half samples are kept whole, so that sums are exact in whatever order they are made.
            halves=2 * (speaker == "teacher").cast(pl.Int64) + (speaker == "both"),
            changes=(same_lesson & (speaker != speaker.shift(1))).fill_null(value=False),
            **_CODED,
        )
        .group_by("hop", maintain_order=True)
        .agg(
            pl.col("key").first(),
            pl.col("halves", "changes", *_CODES).sum(),
            samples=pl.len(),
            change_at_head=pl.col("changes").first(),
        )
        .with_columns(pl.col(_COUNTS).cast(pl.Int64))
        .with_columns(
            pl.col(_COUNTS).cum_sum().name.suffix("_so_far"), changes=pl.col("changes") - pl.col("change_at_head")
        )
    )


def _counted(slices: pl.DataFrame, by: str, windows: pl.DataFrame) -> pl.DataFrame:
    """Add to ``windows`` the sums of the slices whose ``by`` is from ``first`` to ``last``; without any it is left out.

    The slices of all lessons are added up in one go: what was before a window drops out of the difference.
    """
    since, after = slices[by].search_sorted(windows["first"], "left"), slices[by].search_sorted(windows["last"], "right")
    held = windows.with_columns(since=since, after=after).filter(pl.col("since") < pl.col("after"))
    first, last = slices[held["since"]], slices[held["after"] - 1]
    return held.hstack(first.select(_COUNTS) + (last.select(_SO_FAR) - first.select(_SO_FAR)))


def _rows(merged: pl.DataFrame, window: str, ratios: dict[str, tuple[str, str]]) -> list[pl.DataFrame]:
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
