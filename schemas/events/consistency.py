"""Fields of one event that contradict each other, or its time, though each of them is sound by itself."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.events.fields import timestamp_us

__all__ = [
    "CODES_OF_SPEAKER",
    "LATE_ENDS_US",
    "LONGEST_ACTIVITY_US",
    "LONGEST_LESSON_US",
    "SCHEDULES_US",
    "SPEECH",
    "contradictions",
]

_HOUR_US: Final = 3_600_000_000
#: A timetable of no length, or of a longer one, is a typing error.
LONGEST_LESSON_US: Final = 12 * _HOUR_US
LONGEST_ACTIVITY_US: Final = 7 * 24 * _HOUR_US

#: Event type -> the longest time from ``scheduled_start`` to ``scheduled_end``.
SCHEDULES_US: Final = {
    "classroom.lesson.started": LONGEST_LESSON_US,
    "research.activity.published": LONGEST_ACTIVITY_US,
}
#: Event type -> how long after the event ``lesson_end`` may be.
LATE_ENDS_US: Final = {"research.feedback.given": LONGEST_LESSON_US}
SPEECH: Final = "classroom.speech.recorded"
#: The categories of Flanders' interaction analysis that can be said of each speaker; 10 is silence or confusion.
CODES_OF_SPEAKER: Final = {
    "teacher": (1, 2, 3, 4, 5, 6, 7, 10),
    "student": (8, 9, 10),
    "both": tuple(range(1, 11)),
    "silence": (10,),
}


def contradictions(name: str, time_us: int, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield field and explanation of each contradiction in ``data``, the sound fields of an event of type ``name``."""
    if name in SCHEDULES_US and {"scheduled_start", "scheduled_end"} <= data.keys():
        length_us = timestamp_us(data["scheduled_end"]) - timestamp_us(data["scheduled_start"])
        if not 0 < length_us <= SCHEDULES_US[name]:
            most = f"at most {SCHEDULES_US[name] // _HOUR_US} hours after scheduled_start"
            yield "scheduled_end", f"expected a time {most}, got {length_us / 1e6:.0f} s after it"
    if name in LATE_ENDS_US and "lesson_end" in data:
        ahead_us = timestamp_us(data["lesson_end"]) - time_us
        if ahead_us > LATE_ENDS_US[name]:
            most = f"at most {LATE_ENDS_US[name] // _HOUR_US} hours after the event's time"
            yield "lesson_end", f"expected a time {most}, got {ahead_us / 1e6:.0f} s after it"
    if name == SPEECH and data.get("fias_code") is not None and "speaker" in data:
        codes = CODES_OF_SPEAKER[data["speaker"]]
        if data["fias_code"] not in codes:
            said = ", ".join(map(str, codes))
            yield "fias_code", f"expected a category of the speaker {data['speaker']} ({said}), got {data['fias_code']}"
