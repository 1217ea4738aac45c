"""Metrics 1 to 4."""

from collections.abc import Sequence
from itertools import pairwise

from schemas.metrics.metric import WINDOW_10M
from tests.oracle.classroom.lessons import Lesson, hopping, inside
from tests.oracle.rows import RowKey, Rows, figures, in_order

__all__ = ["talk_rows"]


def talk_rows(lesson: Lesson) -> Rows:
    """Metrics 1 to 4."""
    speech = lesson.only("speech.recorded")
    rows: Rows = {}
    spans = [("10m/1m", *span) for span in hopping(speech, WINDOW_10M)]
    for window, start_us, end_us in [*spans, ("lesson", lesson.start_us, lesson.end_us)]:
        samples = in_order(speech if window == "lesson" else inside(speech, start_us, end_us))
        coded = [sample["fias_code"] for sample in samples if sample.get("fias_code") is not None]
        told: dict[str, tuple[float, int]] = {}
        if samples:
            speakers = [sample["speaker"] for sample in samples]
            runs = 1 + sum(one != other for one, other in pairwise(speakers))
            told["teacher_occupancy"] = (speakers.count("teacher") + speakers.count("both") / 2, len(samples))
            told["behaviour_conversion"] = (runs - 1, len(samples))
        if coded:
            told["teacher_talk_share"] = (count(coded, 1, 2, 3, 4, 5, 6, 7), len(coded))
            told["student_talk_share"] = (count(coded, 8, 9), len(coded))
            told["silence_share"] = (count(coded, 10), len(coded))
        if coded and window == "lesson":
            told["pupil_initiation_ratio"] = (count(coded, 9), count(coded, 8, 9))
            told["question_ratio"] = (count(coded, 4), count(coded, 4, 5))
            told["teacher_response_ratio"] = (count(coded, 1, 2, 3), count(coded, 1, 2, 3, 6, 7))
        slot_us = 0 if window == "lesson" else start_us
        for metric, (numerator, denominator) in told.items():
            row = figures(start_us, end_us, numerator, denominator, denominator)
            rows[RowKey(metric, window, lesson.key, "", slot_us)] = row
    return rows


def count(codes: Sequence[int], *wanted: int) -> int:
    """Return how many of the codes are among the wanted ones."""
    return sum(code in wanted for code in codes)
