# ruff: noqa: S608 - the queries are printed for people; every value in them is quoted here
"""The query behind an indicator: which stored events its metric was made from. It runs as it stands."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from schemas.evaluation.indicators import indicator_metric
from schemas.evaluation.tree import Kind
from schemas.metrics.catalogue import METRICS
from schemas.metrics.metric import Metric
from schemas.metrics.prep.plans import LEAD_REACH_US, TAUGHT_WITHIN_US
from schemas.metrics.prep.prep_time import PREP_GAP_US

__all__ = ["Scope", "events_query", "keys_query"]

_METRICS: Final = {metric.name: metric for metric in METRICS}
#: How far before and after the week events of preparation can count: the stretch that was under way, the edits before a
#: lesson, the lesson after a plan.
_REACH_US: Final = {"lead_time_seconds": (LEAD_REACH_US, 0), "plan_to_class_rate": (0, TAUGHT_WITHIN_US)}
_EDGE_US: Final = (PREP_GAP_US, PREP_GAP_US)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose metrics, of which ISO week (its Monday), as they were known at ``as_of``."""

    kind: Kind
    entity_id: str
    week: date
    as_of: datetime
    time_zone: str


def events_query(scope: Scope, metric: str, item: str = "") -> str:
    """Return the SELECT of the stored events that a metric of the week was made from."""
    found = indicator_metric(metric, item)
    declared = _METRICS[found.source]
    conditions = [
        f"key IN\n(\n{_indented(keys_query(scope, metric, item))}\n)",
        f"type IN ({', '.join(_quoted(f'{declared.family}.{name}') for name in sorted(set(found.events)))})",
        *_narrower(scope, declared),
    ]
    where = "\n  AND ".join(conditions)
    return (
        f"SELECT * EXCEPT (partition, position, stored_at)\nFROM events_{declared.family} FINAL\nWHERE {where}\n"
        "ORDER BY key, time, source, id"
    )


def keys_query(scope: Scope, metric: str, item: str = "") -> str:
    """Return the SELECT of the lessons, teachers or activities whose rows were merged into a metric of the week."""
    read = (
        f"day BETWEEN '{scope.week}' AND '{scope.week + timedelta(days=6)}'"
        f" AND recorded_at <= toDateTime64('{_instant(scope.as_of, 3)}', 3, 'UTC')"
    )
    return (
        f"SELECT key FROM pane_versions\nWHERE {read}\n"
        f"  AND metric = {_quoted(indicator_metric(metric, item).source)} AND live AND {_ENTITIES[scope.kind](scope)}\n"
        f"  AND row_id NOT IN (SELECT arrayJoin(replaces) FROM pane_versions WHERE {read})"
    )


def _narrower(scope: Scope, declared: Metric) -> list[str]:
    if declared.family == "prep":
        before_us, after_us = _REACH_US.get(declared.name, _EDGE_US)
        zone = ZoneInfo(scope.time_zone)
        first = datetime.combine(scope.week, time.min, zone) - timedelta(microseconds=before_us)
        after = datetime.combine(scope.week + timedelta(days=7), time.min, zone) + timedelta(microseconds=after_us)
        return [
            f"time >= toDateTime64('{_instant(first, 6)}', 6, 'UTC')",
            f"time < toDateTime64('{_instant(after, 6)}', 6, 'UTC')",
        ]
    if declared.name == "participant_activity" and scope.kind == "teacher":
        # What others did in the activity is not behind this teacher's metric; the invitation is.
        return [f"teacher_id IN ('', {_quoted(scope.entity_id)})"]
    return []


def _members(scope: Scope) -> str:
    known = f"stored_at <= toDateTime64('{_instant(scope.as_of, 3)}', 3, 'UTC')"
    last = "argMax((type, group_id), (time, source, id))"
    return (
        "school_id IN (SELECT key FROM events_registry"
        f" WHERE type IN ('registry.school.registered', 'registry.entry.retired') AND {known}"
        f" GROUP BY key HAVING {last} = ('registry.school.registered', {_quoted(scope.entity_id)}))"
    )


_ENTITIES: Final[dict[Kind, Callable[[Scope], str]]] = {
    "teacher": lambda scope: f"teacher_id = {_quoted(scope.entity_id)}",
    "class": lambda scope: f"class_id = {_quoted(scope.entity_id)}",
    "school": lambda scope: f"school_id = {_quoted(scope.entity_id)}",
    "group": _members,
    "district": lambda _scope: "1",
}


def _instant(value: datetime, digits: int) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[: 20 + digits]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
