"""``docs/worked-example.md``: a lesson, a teacher's week and a research activity, and what each metric makes of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from docs.generate.markdown import code, table
from schemas.events.event_types import FAMILIES
from schemas.metrics.catalogue import METRICS
from schemas.metrics.metric import WINDOW_ISO_WEEK, WINDOW_LESSON, WINDOW_PROMPT, Metric
from schemas.metrics.rules import MetricRules
from streams.core.families import FOLDS

__all__ = ["EVENTS", "PAGE", "blocks", "example"]

PAGE: Final = "worked-example.md"
Event = dict[str, Any]
_ZONE: Final = ZoneInfo("Asia/Shanghai")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US: Final = 1_000_000


def _us(day: int, time: str) -> int:
    """Return the microseconds of a local time of November 2026."""
    moment = datetime.fromisoformat(f"2026-11-{day:02}T{time}").replace(tzinfo=_ZONE)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _event(key: str, name: str, day: int, time: str, **data: Any) -> Event:
    return {"key": key, "type": name, "time_us": _us(day, time), **data}


def _lesson(name: str, time: str, **data: Any) -> Event:
    return _event("lesson-1", f"classroom.{name}", 18, time, **data)


def _prep(name: str, day: int, time: str, plan: str = "plan-1", **data: Any) -> Event:
    return _event("t-01", f"prep.{name}", day, time, subject=plan, **data)


def _research(name: str, day: int, time: str, **data: Any) -> Event:
    return _event("activity-1", f"research.{name}", day, time, **data)


def _said(time: str, speaker: str, fias_code: int, seconds: int) -> Event:
    return _lesson("speech.recorded", time, speaker=speaker, fias_code=fias_code, duration_ms=1000 * seconds)


_LESSON: Final = [
    _lesson(
        "lesson.started",
        "08:00:00",
        schoolid="s01",
        classid="s01-c1",
        roster=["ann", "bo", "chen"],
        scheduled_start_us=_us(18, "08:00"),
        scheduled_end_us=_us(18, "08:40"),
    ),
    *(_lesson("attendance.joined", "08:00:00", student_id=student) for student in ("ann", "bo", "guest")),
    _lesson("strategy.changed", "08:00:00", strategy="question_led"),
    _said("08:00:00", "teacher", 5, 570),
    _lesson("attendance.joined", "08:10:00", student_id="chen"),
    _said("08:09:54", "teacher", 4, 6),
    _lesson("question.asked", "08:09:58", prompt_id="q-1", kind="open"),
    _said("08:10:00", "silence", 10, 4),
    _said("08:10:04", "student", 8, 6),
    _lesson("answer.submitted", "08:10:05", student_id="ann", prompt_id="q-1", correct=True, latency_ms=6000),
    _lesson("hand.raised", "08:10:06", student_id="bo"),
    _said("08:10:12", "teacher", 2, 3),
    _lesson("hand.called", "08:10:16", student_id="bo"),
    _said("08:10:16", "student", 9, 12),
    _lesson("answer.submitted", "08:10:20", student_id="bo", prompt_id="q-1", correct=False, latency_ms=20_000),
    _lesson("question.closed", "08:10:40", prompt_id="q-1"),
    _lesson("answer.submitted", "08:10:50", student_id="chen", prompt_id="q-1", correct=True, latency_ms=50_000),
    _lesson("hand.called", "08:12:00", student_id="chen"),
    _lesson("interaction.recorded", "08:15:00", student_id="ann"),
    _lesson("strategy.changed", "08:20:00", strategy="digital"),
    _lesson("tool.used", "08:20:00", platform="district", duration_ms=600_000),
    _lesson("tool.used", "08:25:00", platform="national", duration_ms=600_000),
    _lesson("attendance.left", "08:30:00", student_id="bo"),
    _lesson("assessment.completed", "08:33:00", student_id="ann", score=0.8),
    _lesson("plan.progressed", "08:35:00", student_id="ann", progress=0.5),
    _lesson("lesson.ended", "08:39:00"),
]
_WEEK: Final = [
    _prep("plan.opened", 16, "19:00"),
    _prep("plan.edited", 16, "19:03", characters_changed=80, substantive=True),
    _prep("plan.coedited", 16, "19:04", editor_id="t-02", characters_changed=15),
    _prep("resource.attached", 16, "19:06", origin="reused", platform="national"),
    _prep("resource.attached", 16, "19:07", origin="created", platform="school"),
    _prep("plan.completed", 16, "19:10"),
    _prep("heartbeat.recorded", 16, "19:12", had_input=False),
    _prep("plan.opened", 17, "19:00", "plan-2"),
    _prep("plan.edited", 17, "19:04", "plan-2", characters_changed=60, substantive=True),
    _prep("plan.edited", 18, "07:50", characters_changed=5, substantive=True),
    _prep("plan.taught", 18, "08:02", lesson_start_us=_us(18, "08:00")),
]
_ACTIVITY: Final = [
    _research(
        "activity.published",
        11,
        "09:00",
        schoolid="s01",
        invited=["t-01", "t-02", "t-03"],
        scheduled_start_us=_us(18, "14:00"),
        scheduled_end_us=_us(18, "15:00"),
    ),
    _research("participant.joined", 18, "13:55", teacher_id="t-01", schoolid="s01"),
    _research("participant.joined", 18, "14:30", teacher_id="t-02", schoolid="s02"),
    _research("participant.joined", 18, "14:00", teacher_id="t-04", schoolid="s01"),
    _research("contribution.posted", 18, "14:10", teacher_id="t-01"),
    _research("contribution.posted", 18, "14:20", teacher_id="t-01"),
    _research("contribution.posted", 18, "14:40", teacher_id="t-04"),
    _research("lesson.observed", 18, "08:40", teacher_id="t-01"),
    _research("participant.left", 18, "15:05", teacher_id="t-01"),
    _research("feedback.given", 18, "20:39", teacher_id="t-01", feedback_id="f-1", lesson_end_us=_us(18, "08:39")),
    _research("feedback.given", 19, "08:39", teacher_id="t-04", feedback_id="f-2", lesson_end_us=_us(18, "08:39")),
    _research("improvement.linked", 25, "09:00", teacher_id="t-02", feedback_id="f-1", improvement_id="i-1"),
    _research("report.generated", 26, "09:00", report_id="r-1"),
]
#: The events of each family, as the oracle of the tests takes them.
EVENTS: Final[Mapping[str, Sequence[Event]]] = {
    family: [{"source": "/d", "id": f"{number:02}", **event} for number, event in enumerate(events)]
    for family, events in (("classroom", _LESSON), ("prep", _WEEK), ("research", _ACTIVITY))
}
#: Where the example of a metric is taken, in this order.
_WINDOWS: Final = (WINDOW_LESSON.name, WINDOW_ISO_WEEK.name, WINDOW_PROMPT.name, "activity", "student", "participant")


def blocks() -> dict[str, str]:
    """Return the blocks of the page by name."""
    return {f"worked-{family}": _told(events) for family, events in EVENTS.items()} | {"worked-metrics": _results()}


def example(metric: Metric) -> str:
    """Return the metric of the example, as numerator / denominator = value."""
    row = _row(metric)
    value = "NULL" if row["value"] is None else f"{row['value']:.6g}"
    item = f" of {code(row['item'])}" if row["item"] else ""
    return f"{row['numerator']:.6g} / {row['denominator']:.6g} = {value}{item}, sample {row['sample_size']}"


def _told(events: Sequence[Event]) -> str:
    hidden = {"key", "source", "id", "type", "time_us"}
    rows = [
        [
            (_EPOCH + timedelta(microseconds=event["time_us"])).astimezone(_ZONE).strftime("%a %H:%M:%S"),
            code(event["type"]),
            ", ".join(_field(name, value) for name, value in event.items() if name not in hidden),
        ]
        for event in sorted(events, key=lambda event: (event["time_us"], event["id"]))
    ]
    return table(["local time", "event", "data"], rows)


def _field(name: str, value: Any) -> str:
    if name.endswith("_us"):
        return f"{name[:-3]} {(_EPOCH + timedelta(microseconds=value)).astimezone(_ZONE):%H:%M}"
    return f"{name} {' '.join(value) if isinstance(value, list) else value}"


def _results() -> str:
    return table(
        ["metric", "numerator / denominator = value"],
        [[f"[{code(m.name)}](metrics.md#{m.name})", example(m)] for m in METRICS],
    )


def _row(metric: Metric) -> dict[str, Any]:
    own = [row for row in _rows(metric.family) if row["metric"] == metric.name and row["denominator"] != 0]
    return min(own, key=lambda row: (_place(row["window"]), -row["numerator"], row["item"]))


def _place(window: str) -> int:
    return _WINDOWS.index(window) if window in _WINDOWS else len(_WINDOWS)


@cache
def _rows(family: str) -> list[dict[str, Any]]:
    fold, declared = FOLDS[family], next(one for one in FAMILIES if one.name == family)
    schema = fold.cached_schema(declared)
    cached = pl.DataFrame([{name: event.get(name) for name in schema} for event in EVENTS[family]], schema=schema)
    return fold.rows(cached, cached, MetricRules()).to_dicts()
