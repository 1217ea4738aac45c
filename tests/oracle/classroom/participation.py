"""Metrics 8 to 11."""

from collections.abc import Sequence

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
            present = {stay.person for stay in lesson.stays if stay.start_us < end_us and stay.end_us > start_us}
            events = inside(lesson.events, start_us, end_us)
            for metric, row in part_taken(lesson, window.name, events, present, start_us, end_us).items():
                rows[RowKey(metric, window.name, lesson.key, "", start_us)] = row
    everyone = {stay.person for stay in lesson.stays}
    told = part_taken(lesson, "lesson", lesson.events, everyone, lesson.start_us, lesson.end_us)
    students = everyone | {event["student_id"] for event in lesson.interactions()}
    counts = [sum(event["student_id"] == student for event in lesson.interactions()) for student in students]
    differences = sum(abs(one - other) for one in counts for other in counts)
    told["participation_gini"] = lesson.so_far(differences, 2 * len(counts) * sum(counts), len(counts))
    return rows | {RowKey(metric, "lesson", lesson.key, "", 0): row for metric, row in told.items()}


def part_taken(
    lesson: Lesson, window: str, events: Sequence[Event], present: set[str], start_us: int, end_us: int
) -> dict[str, Metrics]:
    """Metrics 8, 10 and 11 of one window, as far as they are taken over windows of that name."""
    acts = of_type(events, *INTERACTION_TYPES)
    raised = len(of_type(events, "classroom.hand.raised"))
    minutes = sum(overlap_us(stay, start_us, end_us) for stay in lesson.stays) / 60e6
    told = {"interactions_per_student_minute": quotient(start_us, end_us, len(acts), minutes, int(minutes))}
    if window != WINDOW_1M.name:
        active = {event["student_id"] for event in acts}
        everyone = len(active | present)
        told["participation_breadth"] = quotient(start_us, end_us, len(active), everyone, everyone)
    if window in {WINDOW_10M.name, "lesson"}:
        told["hand_raises_per_student_minute"] = quotient(start_us, end_us, raised, minutes, int(minutes))
    return told
