"""Which metrics an evaluation may refer to: those that exist as roll-ups of an ISO week, and for whom they exist."""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Final

from schemas.metrics.catalogue import METRICS
from schemas.metrics.classroom.course import PLATFORMS, STRATEGIES
from schemas.metrics.classroom.lessons import INTERACTION_TYPES
from schemas.metrics.classroom.talk import ST_MODES
from schemas.metrics.metric import WINDOW_ACTIVITY, WINDOW_ISO_WEEK, WINDOW_LESSON, Metric
from schemas.metrics.persons import PERSON_METRICS, PersonMetric

__all__ = ["PART_EVENTS", "IndicatorMetric", "exists_for", "indicator_metric", "indicator_metrics"]

#: The windows roll-ups are merged from.
_MERGED: Final = (WINDOW_LESSON, WINDOW_ISO_WEEK, WINDOW_ACTIVITY)
_SHARES: Final = ("share", "0 to 1")
#: What the column ``item`` of a metric can hold; of all others it is empty.
_ITEMS: Final = {
    "strategy_share": STRATEGIES,
    "st_mode": ST_MODES,
    "tool_share": ("", *PLATFORMS),
    "reuse_rate": ("", *PLATFORMS),
}
#: A lesson has a class, a teacher and a school; preparation has no class, an activity neither class nor one teacher.
_MISSING: Final = {"classroom": (), "prep": ("class",), "research": ("class", "teacher")}
#: From whose rows a Gini coefficient and the metrics of persons are merged, and for whom there are none.
_OF_PERSONS: Final = {"classroom": "student_lesson", "research": "participant_activity"}
_PRESENCE: Final = ("lesson.started", "lesson.ended", "attendance.joined", "attendance.left")
_MEETING: Final = ("activity.published", "participant.joined", "participant.left")
#: What the parts of the rows of persons are counted from.
PART_EVENTS: Final = {
    "scheduled_seconds": ("lesson.started",),
    "attended_seconds": _PRESENCE,
    "present_seconds": _PRESENCE,
    "interactions": tuple(name.removeprefix("classroom.") for name in INTERACTION_TYPES),
    "answers": ("answer.submitted",),
    "graded_answers": ("answer.submitted",),
    "correct_answers": ("answer.submitted",),
    "hands_raised": ("hand.raised",),
    "hands_called": ("hand.called",),
    "assessments": ("assessment.completed",),
    "assessment_score_sum": ("assessment.completed",),
    "plan_steps": ("plan.progressed",),
    "plan_progress": ("plan.progressed",),
    "invited": ("activity.published",),
    "joined": ("participant.joined",),
    "effective": _MEETING,
    "attended_seconds of participant_activity": _MEETING,
    "contributions": ("contribution.posted",),
    "observations": ("lesson.observed",),
    "feedback_items": ("feedback.given",),
    "improvements": ("improvement.linked",),
}
_PERSONS_MISSING: Final = {"student_lesson": (), "participant_activity": ("class",)}


@dataclass(frozen=True, slots=True)
class IndicatorMetric:
    """What an indicator must know of a metric. ``source``: name of the declared metric whose rows it is merged from.

    ``events``: the event types that are read, without the family.
    """

    name: str
    chinese: str
    english: str
    unit: str
    family: str
    direction: str
    items: tuple[str, ...]
    source: str
    events: tuple[str, ...]
    missing_for: tuple[str, ...]

    @property
    def is_share(self) -> bool:
        """Whether its value lies between 0 and 1."""
        return self.unit in _SHARES


@cache
def indicator_metrics() -> dict[str, IndicatorMetric]:
    """Return every metric that roll-ups hold, by name."""
    found = [_of_metric(metric) for metric in METRICS if set(metric.windows) & set(_MERGED)]
    found += [_of_persons(metric) for metric in PERSON_METRICS]
    return {item.name: item for item in found}


def indicator_metric(metric: str, item: str = "") -> IndicatorMetric:
    """Return one metric. Raises ``ValueError`` with what may have been meant if there is none of this name and item."""
    known = indicator_metrics()
    if metric not in known:
        close = get_close_matches(metric, known, n=3, cutoff=0.5)
        meant = f"did you mean {' or '.join(close)}?" if close else "docs/metrics.md lists them"
        raise ValueError(f"no roll-up has a metric named {metric!r}; {meant}")
    found = known[metric]
    if item not in found.items:
        allowed = ", ".join(repr(name) for name in found.items)
        raise ValueError(f"{metric} has no item {item!r}; give one of {allowed}")
    return found


def exists_for(metric: str, kind: str) -> bool:
    """Return whether roll-ups of ``kind`` can hold the metric at all."""
    return kind not in indicator_metrics()[metric].missing_for


def _of_metric(metric: Metric) -> IndicatorMetric:
    return IndicatorMetric(
        metric.name,
        metric.chinese,
        metric.english,
        metric.unit,
        metric.family,
        metric.direction,
        _ITEMS.get(metric.name, ("",)),
        _OF_PERSONS[metric.family] if metric.merge == "gini" else metric.name,
        metric.events,
        _MISSING[metric.family],
    )


def _of_persons(metric: PersonMetric) -> IndicatorMetric:
    family = next(family for family, source in _OF_PERSONS.items() if source == metric.source)
    parts = {*metric.numerator, *metric.denominator}
    events = {name for part in parts for name in _events_of(metric.source, part)}
    return IndicatorMetric(
        metric.name,
        metric.chinese,
        metric.english,
        metric.unit,
        family,
        metric.direction,
        ("",),
        metric.source,
        tuple(sorted(events)),
        _PERSONS_MISSING[metric.source],
    )


def _events_of(source: str, part: str) -> tuple[str, ...]:
    """Return what a part is counted from; both kinds of rows have one of the name attended_seconds."""
    return PART_EVENTS.get(f"{part} of {source}") or PART_EVENTS[part]
