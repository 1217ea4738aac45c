"""Every figure that leaves, declared once: name, formula, windows, unit, source.

The documents, the contract tests and the column lists are made from here. The stream computes a figure in
``streams/core``; ``classpulse verify`` recomputes it from the stored events in SQL of its own.

Windows are half-open, ``[start, end)``, and aligned to the Unix epoch (hopping windows) or to local midnight in the
district's time zone (days and weeks).
"""

from dataclasses import dataclass
from typing import Final, Literal

#: Raised by one whenever a formula below changes its meaning; stored in every row.
CATALOGUE_VERSION: Final = 1

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US


@dataclass(frozen=True, slots=True)
class Window:
    """Where a figure is taken. ``size_us`` and ``hop_us`` are 0 unless the window hops through event time."""

    name: str
    meaning: str
    size_us: int = 0
    hop_us: int = 0


WINDOW_1M: Final = Window("1m/10s", "1 minute, every 10 seconds", MINUTE_US, 10 * SECOND_US)
WINDOW_5M: Final = Window("5m/1m", "5 minutes, every minute", 5 * MINUTE_US, MINUTE_US)
WINDOW_10M: Final = Window("10m/1m", "10 minutes, every minute", 10 * MINUTE_US, MINUTE_US)
WINDOW_LESSON: Final = Window("lesson", "the lesson so far (L)")
WINDOW_PROMPT: Final = Window("prompt", "one question of the lesson")
WINDOW_7D: Final = Window("7d/1d", "7 local days, every day")
WINDOW_ISO_WEEK: Final = Window("iso_week", "Monday to Sunday, local time")
WINDOW_ACTIVITY: Final = Window("activity", "one research activity")

#: Classroom figures are merged from panes of this length; every hop and size above is a multiple of it.
CLASSROOM_PANE_US: Final = 10 * SECOND_US
#: A longer silence ends a stretch of preparation.
PREP_GAP_US: Final = 5 * MINUTE_US
#: Who stays for this share of the minutes took part effectively; a whole number, so that the comparison is exact.
EFFECTIVE_PERCENT: Final = 80

#: The event types that are a student's interaction (figures 8 and 11).
INTERACTION_TYPES: Final = (
    "classroom.answer.submitted",
    "classroom.hand.raised",
    "classroom.interaction.recorded",
)
#: The event types that are a teacher's own preparation (figure 16).
PREP_ACTIVITY_TYPES: Final = (
    "prep.plan.opened",
    "prep.heartbeat.recorded",
    "prep.plan.edited",
    "prep.resource.attached",
    "prep.plan.shared",
    "prep.plan.completed",
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. ``value = numerator / denominator``; a zero denominator gives NULL, never 0."""

    name: str
    number: int
    chinese: str
    family: Literal["classroom", "prep", "research"]
    unit: str
    numerator: str
    denominator: str
    sample: str
    exists: str
    windows: tuple[Window, ...]
    direction: Literal["higher", "lower", "context"]
    events: tuple[str, ...]
    source: str


METRICS: Final = (
    Metric(
        "response_rate",
        6,
        "应答率",
        "classroom",
        "share",
        "prompt: distinct students who answered it, at any time. 10m/1m: sum of the rates of the prompts asked in "
        "the window",
        "prompt: students present at the moment it was asked, and those who answered it. 10m/1m: number of those "
        "prompts (a prompt with nobody present and nobody answering is left out)",
        "prompt: the denominator. 10m/1m: number of prompts",
        "prompt: when a `question.asked` is stored (asked twice: the earliest counts). 10m/1m: when any "
        "`question.asked` lies in the window",
        (WINDOW_PROMPT, WINDOW_10M),
        "higher",
        ("question.asked", "answer.submitted", "attendance.joined", "attendance.left", "lesson.ended"),
        "Opportunity-to-respond research; Kounin's group alerting",
    ),
    Metric(
        "participation_breadth",
        8,
        "参与广度",
        "classroom",
        "share",
        "distinct students with at least one interaction in the window",
        "distinct students present at any moment of the window, and those who interacted in it",
        "the denominator",
        "when any event of the lesson lies in the window",
        (WINDOW_5M, WINDOW_10M, WINDOW_LESSON),
        "higher",
        ("answer.submitted", "hand.raised", "interaction.recorded", "attendance.*", "lesson.ended"),
        "District catalogue, figure 8",
    ),
    Metric(
        "interactions_per_student_minute",
        11,
        "人均互动频次",
        "classroom",
        "interactions per student and minute",
        "interactions in the window",
        "minutes of presence of all students in the window, added up",
        "the numerator",
        "when any event of the lesson lies in the window",
        (WINDOW_1M, WINDOW_5M, WINDOW_10M),
        "higher",
        ("answer.submitted", "hand.raised", "interaction.recorded", "attendance.*", "lesson.ended"),
        "Person-time incidence rate",
    ),
    Metric(
        "attendance_rate",
        12,
        "出勤率",
        "classroom",
        "share",
        "seconds the students of the roster were present, within the scheduled time and the lesson so far",
        "students of the roster x scheduled seconds",
        "students of the roster",
        "when a `lesson.started` is stored (twice: the earliest counts)",
        (WINDOW_LESSON,),
        "higher",
        ("lesson.started", "lesson.ended", "attendance.joined", "attendance.left"),
        "District catalogue, figure 12",
    ),
    Metric(
        "delayed_start_seconds",
        12,
        "延迟上课",
        "classroom",
        "seconds",
        "start of the lesson - scheduled start, 0 if early",
        "1",
        "1",
        "when a `lesson.started` is stored",
        (WINDOW_LESSON,),
        "lower",
        ("lesson.started",),
        "District catalogue, figure 12",
    ),
    Metric(
        "early_stop_seconds",
        12,
        "提前下课",
        "classroom",
        "seconds",
        "scheduled end - end of the lesson, 0 if late",
        "1",
        "1",
        "when a `lesson.started` and a `lesson.ended` are stored (ended twice: the latest counts)",
        (WINDOW_LESSON,),
        "lower",
        ("lesson.started", "lesson.ended"),
        "District catalogue, figure 12",
    ),
    Metric(
        "active_prep_minutes",
        16,
        "有效备课时长",
        "prep",
        "minutes",
        "minutes between consecutive activities of the teacher that are at most 5 minutes apart; a gap over the "
        "window's edge counts with the part inside",
        "1",
        "activities in the window",
        "when an activity of the teacher lies in the window",
        (WINDOW_7D, WINDOW_ISO_WEEK),
        "context",
        tuple(name.removeprefix("prep.") for name in PREP_ACTIVITY_TYPES),
        "Sessionisation with a 5 minute gap; the district's average is 12 h a week",
    ),
    Metric(
        "participation_rate",
        22,
        "参与率",
        "research",
        "share",
        "invited teachers who joined",
        "teachers invited",
        "teachers invited",
        "when an `activity.published` is stored (twice: the earliest counts)",
        (WINDOW_ACTIVITY,),
        "higher",
        ("activity.published", "participant.joined"),
        "District catalogue, figure 22",
    ),
    Metric(
        "effective_participation_rate",
        22,
        "有效参与率",
        "research",
        "share",
        "invited teachers present for at least 80 % of the scheduled time",
        "teachers invited",
        "teachers invited",
        "when an `activity.published` is stored",
        (WINDOW_ACTIVITY,),
        "higher",
        ("activity.published", "participant.joined", "participant.left"),
        "District catalogue, figure 22",
    ),
)

#: Columns of ``metric_rows`` that identify a row, then those that carry its figure.
ROW_KEY: Final = ("metric", "window", "key", "item", "slot")
ROW_FIGURE: Final = ("window_start", "window_end", "value", "numerator", "denominator", "sample_size")
