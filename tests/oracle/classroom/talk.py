"""Metrics 1 to 4."""

from collections.abc import Sequence
from itertools import pairwise

from schemas.metrics.classroom.talk import CELL_US, COVERED_US, LONGEST_SEGMENT_US, SPEAKERS, ST_MODES
from schemas.metrics.metric import WINDOW_10M
from tests.oracle.classroom.lessons import Lesson
from tests.oracle.rows import Event, RowKey, Rows, quotient, window_starts

__all__ = ["talk_rows"]


def talk_rows(lesson: Lesson) -> Rows:
    """Metrics 1 to 4."""
    rows: Rows = {}
    speech = lesson.only("speech.recorded")
    coded = [segment for segment in speech if segment.get("fias_code") is not None]
    speakers = cells(speech, "speaker", SPEAKERS)
    codes = cells(coded, "fias_code", range(1, 11))
    for window, start_us, end_us in [*windows(speech), *(("lesson", lesson.start_us, lesson.end_us) for _ in speech[:1])]:
        heard = within(lesson, speakers, window, start_us, end_us)
        said = ["student" if speaker == "silence" else speaker for speaker in heard]
        changes = sum(one != other for one, other in pairwise(said))
        occupancy = said.count("teacher") + said.count("both") / 2
        told = {"teacher_occupancy": (occupancy, len(said)), "behaviour_conversion": (changes, len(said))}
        rows |= made(lesson, told, window, start_us, end_us)
        if window == "lesson":
            mode = mode_of(occupancy / len(said), changes / len(said)) if said else ""
            for item in ST_MODES:
                row = quotient(start_us, end_us, item == mode, bool(said), len(said))
                rows[RowKey("st_mode", window, lesson.key, item, 0)] = row
    for window, start_us, end_us in [*windows(coded), *(("lesson", lesson.start_us, lesson.end_us) for _ in coded[:1])]:
        found = within(lesson, codes, window, start_us, end_us)
        told = {
            "teacher_talk_share": (count(found, 1, 2, 3, 4, 5, 6, 7), len(found)),
            "student_talk_share": (count(found, 8, 9), len(found)),
            "silence_share": (count(found, 10), len(found)),
        }
        if window == "lesson":
            told["pupil_initiation_ratio"] = (count(found, 9), count(found, 8, 9))
            told["question_ratio"] = (count(found, 4), count(found, 4, 5))
            told["teacher_response_ratio"] = (count(found, 1, 2, 3), count(found, 1, 2, 3, 6, 7))
        rows |= made(lesson, told, window, start_us, end_us)
    return rows


def made(lesson: Lesson, told: dict[str, tuple[float, int]], window: str, start_us: int, end_us: int) -> Rows:
    """Return the rows of one window."""
    slot_us = 0 if window == "lesson" else start_us
    return {
        RowKey(metric, window, lesson.key, "", slot_us): quotient(start_us, end_us, numerator, denominator, denominator)
        for metric, (numerator, denominator) in told.items()
    }


def mode_of(rt: float, ch: float) -> str:
    """Return the S-T mode."""
    if rt <= 0.3:
        return "practice"
    if rt >= 0.7:
        return "lecture"
    return "dialogue" if ch >= 0.4 else "mixed"


def bounds(segment: Event) -> tuple[int, int]:
    """Return from when until when a segment lasts."""
    return segment["time_us"], segment["time_us"] + min(segment["duration_ms"] * 1000, LONGEST_SEGMENT_US)


def reached(segment: Event) -> range:
    """Return the cells that a segment reaches into; an empty one reaches into one."""
    start_us, end_us = bounds(segment)
    return range(start_us // CELL_US, max(start_us, end_us - 1) // CELL_US + 1)


def windows(segments: Sequence[Event]) -> list[tuple[str, int, int]]:
    """Return the hopping windows that any segment reaches into."""
    starts = window_starts((cell * CELL_US for segment in segments for cell in reached(segment)), WINDOW_10M)
    return [(WINDOW_10M.name, start_us, start_us + WINDOW_10M.size_us) for start_us in sorted(starts)]


def cells(segments: Sequence[Event], field: str, labels: Sequence[str] | range) -> dict[int, str | int]:
    """Return what fills most of each cell, of those that are covered for at least half; the earlier of equal labels."""
    found: dict[int, str | int] = {}
    for cell in sorted({cell for segment in segments for cell in reached(segment)}):
        start_us, end_us = cell * CELL_US, (cell + 1) * CELL_US
        covered: dict[str | int, int] = {}
        for label in labels:
            own = [bounds(segment) for segment in segments if segment[field] == label]
            covered[label] = union_us([(max(a, start_us), min(b, end_us)) for a, b in own])
        if sum(covered.values()) >= COVERED_US:
            found[cell] = max(covered, key=covered.__getitem__)  # the first of equal ones
    return found


def union_us(stretches: Sequence[tuple[int, int]]) -> int:
    """Return how long at least one of the stretches lasts."""
    total, until = 0, 0
    for start, end in sorted(stretches):
        total += max(0, end - max(start, until))
        until = max(until, end)
    return total


def within(lesson: Lesson, found: dict[int, str | int], window: str, start_us: int, end_us: int) -> list[str | int]:
    """Return the cells of a window, in order; of the lesson, those that reach into it."""
    if window == "lesson":
        start_us, end_us = start_us - CELL_US + 1, lesson.latest_us + 1
    return [label for cell, label in sorted(found.items()) if start_us <= cell * CELL_US < end_us]


def count(codes: Sequence[str | int], *wanted: int) -> int:
    """Return how many of the codes are among the wanted ones."""
    return sum(code in wanted for code in codes)
