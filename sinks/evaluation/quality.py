# ruff: noqa: S608 - every name in a statement is declared here; what a caller gives is bound by the server
"""The table ``data_quality`` (metric 32): how complete, punctual and clean the data behind a week's scores are.

- **received / expected**: over the devices of a school, distinct sequence numbers / (highest - lowest + 1), by event time.
- **late**: events later than the watermark of their partition when they came / events.
- **duplicates**: records dropped as already stored / (they + events).
- **dead letters**: a rejected record names no school for certain, so this share is the whole district's: records rejected
  in the week / (they + events of the district).

Counts are stored and added up for groups and the district; shares are made when they are read.
"""

from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl
from clickhouse_connect.driver.client import Client

from schemas.events.event_types import FAMILIES
from sinks.clickhouse.answers import FAR_FUTURE, answered, bound
from sinks.clickhouse.client import WRITE_SETTINGS

__all__ = ["COUNTS", "DISTRICT", "QUALITY_AS_OF", "quality_of", "update_quality"]

#: The district's name as an entity, as in the roll-ups.
DISTRICT: Final = "district"

_SCHOOL_COUNTS: Final = ("sources", "sequences_received", "sequences_expected", "events", "late_events", "duplicates")
COUNTS: Final = (*_SCHOOL_COUNTS, "district_events", "district_dead_letters")
_WEEK: Final = ">= {first:DateTime64(6, 'UTC')} AND {column} < {after:DateTime64(6, 'UTC')}"

_EVENTS: Final = "\n        UNION ALL ".join(
    f"SELECT schoolid, source, sequence, key, id, late FROM {family.table} WHERE time {_WEEK.replace('{column}', 'time')}"
    for family in FAMILIES
)
#: A replay may have stored an event twice until parts are merged, so events are counted by their identity. A device that
#: counts to 10^18 must not overflow the sum.
_BY_SCHOOL: Final = f"""
SELECT
    school_id,
    sum(device_sources) AS sources, sum(device_received) AS sequences_received,
    toUInt64(least(sum(device_expected), 1e18)) AS sequences_expected,
    sum(device_events) AS events, sum(device_late) AS late_events, sum(device_duplicates) AS duplicates
FROM
(
    SELECT
        toString(schoolid) AS school_id,
        uniqExact(sequence) AS device_received,
        toUInt64(device_received > 0) AS device_sources,
        ifNull(toFloat64(max(sequence)) - min(sequence) + 1, 0) AS device_expected,
        uniqExact(cityHash64(key, id)) AS device_events,
        uniqExactIf(cityHash64(key, id), late) AS device_late,
        toUInt64(0) AS device_duplicates
    FROM
    (
        {_EVENTS}
    )
    GROUP BY schoolid, source
    UNION ALL
    SELECT toString(schoolid), 0, 0, 0., 0, 0, uniqExact(topic, partition, position)
    FROM duplicates WHERE time {_WEEK.replace("{column}", "time")}
    GROUP BY schoolid
)
GROUP BY school_id"""
_DEAD_LETTERS: Final = "SELECT uniqExact(topic, partition, position) FROM dead_letters WHERE refused_at " + _WEEK.replace(
    "{column}", "refused_at"
)
_GROUPS: Final = """
SELECT key AS school_id, argMax(if(type = 'registry.school.registered', group_id, ''), (time, source, id)) AS entity_id
FROM events_registry WHERE type IN ('registry.school.registered', 'registry.entry.retired')
GROUP BY key HAVING entity_id != ''"""

#: The quality as it stood at ``as_of``; shares are NULL where nothing can be said.
QUALITY_AS_OF: Final = f"""SELECT kind, entity_id, week,
    argMax(tuple({", ".join(f"data_quality.{name}" for name in COUNTS)}), data_quality.recorded_at) AS latest,
    {", ".join(f"latest.{number} AS {name}" for number, name in enumerate(COUNTS, start=1))},
    sequences_received / nullIf(sequences_expected, 0) AS received_share,
    late_events / nullIf(events, 0) AS late_share,
    duplicates / nullIf(events + duplicates, 0) AS duplicate_share,
    district_dead_letters / nullIf(district_events + district_dead_letters, 0) AS district_dead_letter_share,
    max(data_quality.recorded_at) AS recorded_at
FROM data_quality
WHERE data_quality.recorded_at <= {{as_of:DateTime64(3, 'UTC')}} AND {{condition}}
GROUP BY kind, entity_id, week"""


def update_quality(client: Client, week: date, time_zone: str, now: datetime) -> int:
    """Count the data of the ISO week that begins on ``week``, and add what changed; returns how many rows.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a table.
    """
    counted = _counted(client, week, time_zone)
    known = answered(
        client,
        f"SELECT kind, entity_id, {', '.join(COUNTS)} FROM ({QUALITY_AS_OF.replace('{condition}', 'week = {week:Date}')})",
        {"week": week, "as_of": FAR_FUTURE},
    )
    changed = counted.join(known, on=["kind", "entity_id", *COUNTS], how="anti")
    if changed.is_empty():
        return 0
    instant = pl.lit(now).cast(pl.Datetime("ms", "UTC"))
    rows = changed.with_columns(week=pl.lit(week), as_of=instant, recorded_at=instant)
    client.insert_arrow("data_quality", rows.to_arrow(compat_level=pl.CompatLevel.oldest()), settings=WRITE_SETTINGS)
    return rows.height


def quality_of(client: Client, kind: str, entity_id: str, week: date, as_of: datetime) -> dict[str, Any]:
    """Return the counts and shares of a school, a group or the district; {} if unknown."""
    condition = "kind = {kind:String} AND entity_id = {entity:String} AND week = {week:Date}"
    found = answered(
        client,
        f"SELECT * EXCEPT (latest) FROM ({QUALITY_AS_OF.replace('{condition}', condition)})",
        {"kind": kind, "entity": entity_id, "week": week, "as_of": as_of},
    )
    return found.row(0, named=True) if found.height else {}


def _counted(client: Client, week: date, time_zone: str) -> pl.DataFrame:
    zone = ZoneInfo(time_zone)
    span = {
        "first": datetime.combine(week, time.min, zone),
        "after": datetime.combine(week + timedelta(days=7), time.min, zone),
    }
    every = answered(client, _BY_SCHOOL, span).with_columns(pl.col(_SCHOOL_COUNTS).cast(pl.UInt64))
    ((rejected,),) = client.query(_DEAD_LETTERS, parameters=bound(span)).result_rows
    groups = answered(client, _GROUPS, {})
    schools = every.filter(pl.col("school_id") != "").select(pl.col("school_id").alias("entity_id"), *_SCHOOL_COUNTS)
    summed = [pl.col(name).sum() for name in _SCHOOL_COUNTS]
    bundled = every.join(groups, on="school_id").group_by("entity_id").agg(summed)
    district = every.select(pl.lit(DISTRICT).alias("entity_id"), *summed)
    return pl.concat(
        [
            frame.select(pl.lit(kind).alias("kind"), "entity_id", *_SCHOOL_COUNTS)
            for kind, frame in (("school", schools), ("group", bundled), ("district", district))
        ]
    ).with_columns(
        district_events=pl.lit(every["events"].sum(), pl.UInt64), district_dead_letters=pl.lit(rejected, pl.UInt64)
    )
