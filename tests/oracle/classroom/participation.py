"""Metrics 8 to 11."""

from collections.abc import Sequence
from dataclasses import replace

from schemas.metrics.classroom.lessons import INTERACTION_TYPES
from schemas.metrics.metric import WINDOW_1M, WINDOW_5M, WINDOW_10M
from tests.oracle.classroom.lessons import Lesson, hopping, inside
from tests.oracle.rows import Event, Metrics, RowKey, Rows, of_type, overlap_us, quotient

__all__ = ["participation_rows"]


def participation_rows(lesson: Lesson) -> Rows:
    """Metrics 8 to 11."""
    rows: Rows = {}
    for window in (WINDOW_1M, WINDOW_5M, WINDOW_10M):
        for start_us, end_us in hopping(lesson.events, window):
            present = lesson.audience(start_us, end_us)
            acts = [act for act in of_type(lesson.events, *INTERACTION_TYPES) if lesson.is_of_class(act)]
            events = inside(acts, start_us, end_us)
            for metric, row in part_taken(lesson, window.name, events, present, start_us, end_us).items():
                rows[RowKey(metric, window.name, lesson.key, "", start_us)] = row
    # Who comes at the last moment has come.
    everyone = lesson.audience(lesson.start_us, lesson.end_us + 1)
    told = part_taken(lesson, "lesson", lesson.interactions(), everyone, lesson.start_us, lesson.end_us)
    told["participation_breadth"] = replace(told["participation_breadth"], parts=(len(guests(lesson)),))
    students = everyone | {event["student_id"] for event in lesson.interactions()}
    counts = [sum(event["student_id"] == student for event in lesson.interactions()) for student in students]
    differences = sum(abs(one - other) for one in counts for other in counts)
    few = len(counts) > 1 and sum(counts) > 0
    corrected = differences / (2 * (len(counts) - 1) * sum(counts)) if few else None
    told["participation_gini"] = lesson.so_far(differences, 2 * len(counts) * sum(counts), len(counts), [corrected])
    return rows | {RowKey(metric, "lesson", lesson.key, "", 0): row for metric, row in told.items()}


def guests(lesson: Lesson) -> set[str]:
    """Return who was there or took part in the lesson so far, and is on no roster."""
    there = {stay.person for stay in lesson.stays if stay.start_us <= lesson.end_us and stay.end_us > lesson.start_us}
    acted = {event["student_id"] for event in of_type(lesson.events, *INTERACTION_TYPES) if lesson.holds(event)}
    return (there | acted) - lesson.roster if lesson.roster else set()


def part_taken(
    lesson: Lesson, window: str, acts: Sequence[Event], present: set[str], start_us: int, end_us: int
) -> dict[str, Metrics]:
    """Metrics 8, 10 and 11 of one window, as far as they are taken over windows of that name."""
    raised = len(of_type(acts, "classroom.hand.raised"))
    minutes = sum(overlap_us(stay, start_us, end_us) for stay in lesson.present) / 60e6
    told = {"interactions_per_student_minute": quotient(start_us, end_us, len(acts), minutes, int(minutes))}
    if window != WINDOW_1M.name:
        active = {event["student_id"] for event in acts}
        everyone = len(active | present)
        told["participation_breadth"] = quotient(start_us, end_us, len(active), everyone, everyone)
    if window in {WINDOW_10M.name, "lesson"}:
        told["hand_raises_per_student_minute"] = quotient(start_us, end_us, raised, minutes, int(minutes))
    return told
