"""What a declaration of a metric says, and the windows metrics are taken over.

Windows are half-open, ``[start, end)``, and aligned to the Unix epoch (hopping windows) or to local midnight in the
district's time zone (days and weeks).
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "DAY_US",
    "MINUTE_US",
    "SECOND_US",
    "WINDOWS",
    "WINDOW_1M",
    "WINDOW_5M",
    "WINDOW_7D",
    "WINDOW_10M",
    "WINDOW_28D",
    "WINDOW_ACTIVITY",
    "WINDOW_ISO_WEEK",
    "WINDOW_LESSON",
    "WINDOW_PARTICIPANT",
    "WINDOW_PLACE",
    "WINDOW_PROMPT",
    "WINDOW_STUDENT",
    "Merge",
    "Metric",
    "Window",
]

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
DAY_US: Final = 24 * 60 * MINUTE_US


@dataclass(frozen=True, slots=True)
class Window:
    """Where a metric is taken. ``size_us`` and ``hop_us`` are 0 unless the window hops through event time."""

    name: str
    meaning: str
    size_us: int = 0
    hop_us: int = 0


WINDOW_1M: Final = Window("1m/10s", "1 minute, every 10 seconds", MINUTE_US, 10 * SECOND_US)
WINDOW_5M: Final = Window("5m/1m", "5 minutes, every minute", 5 * MINUTE_US, MINUTE_US)
WINDOW_10M: Final = Window("10m/1m", "10 minutes, every minute", 10 * MINUTE_US, MINUTE_US)
WINDOW_LESSON: Final = Window("lesson", "the lesson so far (L)")
WINDOW_PLACE: Final = Window("place", "the lesson so far, of one class of a lesson in several places (双师)")
WINDOW_PROMPT: Final = Window("prompt", "one question of the lesson")
WINDOW_STUDENT: Final = Window("student", "one student in the lesson")
WINDOW_7D: Final = Window("7d/1d", "7 local days, every day")
WINDOW_28D: Final = Window("28d/1d", "28 local days, every day")
WINDOW_ISO_WEEK: Final = Window("iso_week", "Monday to Sunday, local time")
WINDOW_ACTIVITY: Final = Window("activity", "one research activity")
WINDOW_PARTICIPANT: Final = Window("participant", "one teacher in a research activity")

WINDOWS: Final = (
    WINDOW_1M,
    WINDOW_5M,
    WINDOW_10M,
    WINDOW_LESSON,
    WINDOW_PLACE,
    WINDOW_PROMPT,
    WINDOW_STUDENT,
    WINDOW_7D,
    WINDOW_28D,
    WINDOW_ISO_WEEK,
    WINDOW_ACTIVITY,
    WINDOW_PARTICIPANT,
)

#: How the metric of several lessons, teachers or activities comes from theirs; never as a mean of means.
#: ratio: sum of numerators / sum of denominators. values: exact quantile of the joined ``parts``. sketch: quantile of the
#: summed DDSketch in ``parts``. gini: of the persons' sums, from the rows of the window ``participant``. blend: of the
#: merged metrics it is made of.
Merge = Literal["ratio", "values", "sketch", "gini", "blend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric. ``value = numerator / denominator``; a zero denominator gives NULL, never 0.

    A value lies between 0 and ``highest`` (None: there is no bound that holds for all); ``classpulse verify`` reports any
    that does not.

    On-time events up to ``evidence_us`` after the end of its window may change a row: until then it is not closed.

    ``module`` names the group of metrics that it is computed with. ``parts`` says what the array stored beside the value
    holds; empty where there is none. ``item`` says what the column of that name holds; empty where it is.
    """

    name: str
    number: int
    chinese: str
    english: str
    family: Literal["classroom", "prep", "research"]
    module: str
    unit: str
    highest: float | None
    numerator: str
    denominator: str
    sample: str
    exists: str
    windows: tuple[Window, ...]
    direction: Literal["higher", "lower", "context"]
    events: tuple[str, ...]
    source: str
    merge: Merge = "ratio"
    quantile: float = 0.0
    item: str = ""
    parts: str = ""
    evidence_us: int = 0

    @property
    def path(self) -> str:
        """The group's path in the four trees of ``schemas/metrics/catalogue.py``, without a suffix."""
        return f"{self.family}/{self.module}"
