"""What the metrics of a lesson have in common; the package says what it means."""

from typing import Final

from schemas.events.consistency import LONGEST_LESSON_US
from schemas.metrics.metric import MINUTE_US, SECOND_US

__all__ = [
    "CLASSROOM_PANE_US",
    "INTERACTION_EVENTS",
    "INTERACTION_TYPES",
    "LESSON_GRACE_US",
    "LONGEST_LESSON_US",
    "OF_CLASS",
    "PRESENCE_EVENTS",
]

#: Classroom metrics are merged from panes of this length; every hop and size of their windows is a multiple of it.
CLASSROOM_PANE_US: Final = 10 * SECOND_US
#: A lesson without ``lesson.ended`` ends at the latest so long after its scheduled end.
LESSON_GRACE_US: Final = 30 * MINUTE_US

#: The metrics of a class: of a lesson in two places each class has its own.
OF_CLASS: Final = (
    "first_answer_seconds",
    "response_rate",
    "answer_latency_p50_ms",
    "answer_latency_p90_ms",
    "correct_rate",
    "participation_breadth",
    "participation_gini",
    "hand_raises_per_student_minute",
    "interactions_per_student_minute",
    "call_through_rate",
    "cold_call_share",
    "call_delay_seconds",
    "longest_call_delay_seconds",
    "attendance_rate",
    "engagement_index",
)
#: The event types that are a student's interaction (metrics 8, 9 and 11).
INTERACTION_TYPES: Final = (
    "classroom.answer.submitted",
    "classroom.hand.raised",
    "classroom.interaction.recorded",
)
#: The same, and the types that tell of presence, as declarations name them: without the family.
INTERACTION_EVENTS: Final = tuple(name.removeprefix("classroom.") for name in INTERACTION_TYPES)
PRESENCE_EVENTS: Final = ("attendance.joined", "attendance.left", "lesson.started", "lesson.ended")
