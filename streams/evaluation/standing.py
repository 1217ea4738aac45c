"""What there is to read, in sentences for a person: the scores, and what has to close before it counts."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from schemas.events.event_types import CLASSROOM, PREP, RESEARCH
from sinks.clickhouse.answers import FAR_FUTURE
from sinks.evaluation.quality import DISTRICT
from sinks.evaluation.scored import Open, Scored, open_windows, scored
from streams.evaluation.weeks import iso_week

__all__ = ["after_a_cycle", "what_is_scored"]

#: Ids that a sentence names; more are counted.
_NAMED: Final = 8
_PLURALS: Final = {
    "teacher": "teachers",
    "class": "classes",
    "school": "schools",
    "group": "groups",
    DISTRICT: "districts",
    CLASSROOM.topic: "lessons",
    PREP.topic: "weeks of preparation",
    RESEARCH.topic: "research activities",
}
_SINGULARS: Final = {
    CLASSROOM.topic: "lesson",
    PREP.topic: "week of preparation",
    RESEARCH.topic: "research activity",
}


def what_is_scored(client: Client, kind: str, as_of: datetime = FAR_FUTURE) -> str:
    """Return a sentence that lists the latest week with scores of ``kind`` and their ids, or says that there are none.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    found = scored(client, as_of)
    own = [one for one in found if one.kind == kind and one.entities]
    if not own:
        other = ", ".join(dict.fromkeys(_PLURALS[one.kind] for one in found if one.entities))
        none = f"There is no score of any {kind} yet"
        return f"{none}, only of {other}" if other else f"{none}: `classpulse evaluate` makes them from closed lessons"
    weeks = ", ".join(iso_week(one.week) for one in own[-_NAMED:])
    return f"There are scores of {_ids(own[-1])} in {iso_week(own[-1].week)}; weeks with scores: {weeks}"


def after_a_cycle(client: Client, time_zone: str) -> list[str]:
    """Return lines that say what is scored in the latest week, what is still open and when it closes, and what to do next.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    ((partitions, consumed),) = client.query("SELECT count(), sum(consumed) FROM checkpoints FINAL").result_rows
    if not partitions:
        return ["Nothing is stored yet: start `classpulse worker`, and wait until it has read its topics."]
    found = scored(client, FAR_FUTURE)
    lines = [f"Workers have read {consumed:,} records so far."]
    if still_open := open_windows(client):
        lines += [_open(one, ZoneInfo(time_zone)) for one in still_open]
        lines.append(
            "What is open counts in the first cycle after its end, once the events of its partition have come that far or "
            "none has come for CLASSPULSE_IDLE_SECONDS."
        )
    weeks = [one.week for one in found if one.entities]
    if not weeks:
        return [*lines, "No score yet: a score needs closed lessons, and metrics for 0.6 of its weight."]
    latest = [one for one in found if one.week == weeks[-1]]
    counted = ", ".join(_counted(len(one.entities), one.kind) for one in latest if one.entities)
    without = sum(one.without for one in latest)
    few = f"; {without} more have metrics for less than 0.6 of the weight" if without else ""
    week, one = iso_week(latest[0].week), next(one for one in reversed(latest) if one.entities)
    example = next((other for other in latest if other.kind == "school" and other.entities), one)
    return [
        *lines,
        f"Scored in {week}: {counted}{few}.",
        f"Next: classpulse explain {example.kind} {example.entities[0]} --week {week}",
    ]


def _ids(one: Scored) -> str:
    named = ", ".join(one.entities[:_NAMED])
    more = f" and {len(one.entities) - _NAMED} more" if len(one.entities) > _NAMED else ""
    return f"{_counted(len(one.entities), one.kind)} ({named}{more})"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {_SINGULARS.get(what, what) if number == 1 else _PLURALS[what]}"


def _open(one: Open, zone: ZoneInfo) -> str:
    first, last = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (one.first, one.last))
    span = first if first == last else f"{first} to {last}"
    return f"Still open: {_counted(one.keys, one.topic)}, until {span} ({zone.key})."
