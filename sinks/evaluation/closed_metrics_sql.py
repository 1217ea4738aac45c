"""The statements by which :mod:`sinks.evaluation.closed_metrics` takes metrics over into ``pane_versions``.

Parameters are those of :mod:`sinks.clickhouse.answers`.
"""

# ruff: noqa: S608 - put together from constants of this module alone

from typing import Final

from schemas.metrics.classroom.lessons import LESSON_GRACE_US, LONGEST_LESSON_US, OF_CLASS
from sinks.closing import CLOSES_AT

__all__ = ["CANDIDATES", "INSERT", "MARK", "MARK_REGISTRY", "MOVED_TEACHERS", "PARTICIPATIONS", "metrics"]

#: A watermark that is never reached.
NEVER: Final = "toDateTime64('2200-01-01 00:00:00', 6, 'UTC')"

#: Keys whose metrics were written since they were handled, or of which a window has closed. A metric that was being
#: written meanwhile shows up to ``overlap_seconds`` after the time it bears.
CANDIDATES: Final = """
SELECT f.key
FROM
(
    SELECT topic, key, max(changed_at) AS changed_at FROM figure_keys WHERE topic = {topic:String} GROUP BY topic, key
) AS f
LEFT JOIN
(
    SELECT key, partition, handled_at, next_close FROM pane_keys FINAL WHERE topic = {topic:String}
) AS p ON f.key = p.key
WHERE f.changed_at > p.handled_at - toIntervalSecond({overlap_seconds:UInt32})
   OR p.next_close <= fromUnixTimestamp64Micro(
       transform(toInt64(p.partition), {partitions:Array(Int64)}, {watermarks_us:Array(Int64)}, toInt64(0)), 'UTC')
ORDER BY f.key"""

#: Teachers of whom a registration was stored since they were handled.
MOVED_TEACHERS: Final = """
SELECT e.key
FROM
(
    SELECT key, max(stored_at) AS changed_at FROM events_registry
    WHERE type = 'registry.teacher.registered' GROUP BY key
) AS e
LEFT JOIN (SELECT key, handled_at FROM pane_keys FINAL WHERE topic = 'classpulse.registry') AS p ON e.key = p.key
WHERE e.changed_at > p.handled_at - toIntervalSecond({overlap_seconds:UInt32})
ORDER BY e.key"""

#: Activities in which any of ``keys`` took part.
PARTICIPATIONS: Final = """
SELECT DISTINCT key FROM pane_versions WHERE metric = 'participant_activity' AND item IN {keys:Array(String)}"""

_LESSON_PLACES: Final = f"""
    classes AS
    (
        SELECT key AS class_id, argMax((type, school_id), (time, source, id)) AS last
        FROM events_registry
        WHERE type IN ('registry.class.registered', 'registry.entry.retired')
        GROUP BY key
        HAVING tupleElement(last, 1) = 'registry.class.registered'
    ),
    -- Of each school and class the earliest lesson.started counts; the lesson itself began with the earliest of all.
    every_place AS
    (
        SELECT key, school_id, class_id, teacher AS teacher_id, tupleElement(start, 1) AS course,
            ifNull(tupleElement(start, 2), 0) AS grade, toDate(min(started_at) OVER w, {{time_zone:String}}) AS day,
            count() OVER w > 1 AS several,
            (school_id, class_id) IN (SELECT tupleElement(last, 2), class_id FROM classes) AS is_known,
            max(is_known) OVER w AS any_known, start_order, if(several, roster, []) AS own_roster,
            if(ended, toDateTime64(0, 6, 'UTC'),
                addMicroseconds(max(scheduled_end) OVER w, {LESSON_GRACE_US})) AS earliest_close
        FROM
        (
            SELECT key, toString(schoolid) AS school_id, toString(classid) AS class_id,
                argMin((course, grade), (time, source, id)) AS start,
                argMin(teacher_id, (time, source, id)) AS teacher, min(time) AS started_at,
                min((time, toString(source), id)) AS start_order, argMin(e.roster, (time, source, id)) AS roster,
                -- A timetable of no length, or of more than 12 hours, counts as none: the lesson would never close.
                ifNull(
                    maxIf(e.scheduled_end, e.scheduled_end > e.scheduled_start
                        AND e.scheduled_end <= addMicroseconds(e.scheduled_start, {LONGEST_LESSON_US})),
                    toDateTime64(0, 6, 'UTC')
                ) AS scheduled_end,
                key IN (
                    SELECT key FROM events_classroom WHERE type = 'classroom.lesson.ended' AND key IN {{keys:Array(String)}}
                ) AS ended
            FROM events_classroom AS e
            WHERE type = 'classroom.lesson.started' AND key IN {{keys:Array(String)}}
            GROUP BY key, school_id, class_id
        )
        WINDOW w AS (PARTITION BY key)
    ),
    -- Where the registry knows a class of the lesson, a start from one that it does not know takes nothing over.
    places AS
    (
        SELECT *, start_order = min(start_order) OVER (PARTITION BY key) AS is_first,
            groupArrayArray(own_roster) OVER (PARTITION BY key) AS all_rosters,
            groupArrayArray(own_roster) OVER (PARTITION BY key ORDER BY start_order
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS rosters_before
        FROM every_place
        WHERE is_known = any_known
    )"""

_TEACHERS: Final = """
    -- By the latest registration; one who has left the district keeps what was done in it.
    teachers AS
    (
        SELECT key AS teacher_id, argMax((school_id, course), (time, source, id)) AS registered
        FROM events_registry WHERE type = 'registry.teacher.registered' GROUP BY key
    )"""

_TAKEN: Final = ", ".join(
    f"f.{name} AS {name}"
    for name in (
        "window",
        "key",
        "metric",
        "item",
        "partition",
        "window_start",
        "window_end",
        "value",
        "numerator",
        "denominator",
        "sample_size",
        "parts",
        "catalogue_version",
        "revision",
    )
)

#: A class of a lesson in several places has the lesson's metrics at its place.
_TAKEN_AT_PLACE: Final = _TAKEN.replace(
    "f.window AS window", "if(f.window = 'place', 'lesson', toString(f.window)) AS window"
).replace("f.item AS item", "if(f.window = 'place', '', f.item) AS item")
_NO_PLACES: Final = "[]::Array(Tuple(school_id String, class_id String, teacher_id String))"

_CURRENT: Final = {
    "classroom": f"""WITH {_LESSON_PLACES}
SELECT p.school_id AS school_id, p.class_id AS class_id, p.teacher_id AS teacher_id, p.course AS course,
    toUInt8(p.grade) AS grade, p.day AS day, {_NO_PLACES} AS earlier,
    greatest({CLOSES_AT}, p.earliest_close) AS closes_at, {_TAKEN_AT_PLACE}
FROM metrics AS f INNER JOIN places AS p ON f.key = p.key
-- Of a lesson in several places each class has its own metrics and students; the talk is where the teacher is.
WHERE multiIf(
    NOT p.several, f.window != 'place',
    f.window = 'place', f.item = concat(p.school_id, '/', p.class_id),
    f.window = 'lesson', p.is_first AND f.metric NOT IN {OF_CLASS},
    has(p.own_roster, f.item), NOT has(p.rosters_before, f.item),
    p.is_first AND NOT has(p.all_rosters, f.item)
)""",
    "prep": f"""WITH {_TEACHERS},
    latest AS
    (
        SELECT key, argMax(schoolid, (time, source, id)) AS school_id
        FROM events_prep WHERE schoolid != '' AND key IN {{keys:Array(String)}} GROUP BY key
    )
SELECT if(t.registered.1 != '', t.registered.1, l.school_id) AS school_id, '' AS class_id, f.key AS teacher_id,
    t.registered.2 AS course, toUInt8(0) AS grade, toDate(f.window_start, {{time_zone:String}}) AS day,
    {_NO_PLACES} AS earlier,
    {CLOSES_AT} AS closes_at, {_TAKEN}
FROM metrics AS f LEFT JOIN teachers AS t ON f.key = t.teacher_id LEFT JOIN latest AS l ON f.key = l.key""",
    "research": f"""WITH {_TEACHERS},
    -- The school of the earliest announcement; of an activity that nobody announced, the first that any event names.
    told AS
    (
        SELECT key,
            argMin(
                (schoolid, host_id),
                (
                    type != 'research.activity.published',
                    type != 'research.activity.published' AND schoolid = '', time, source, id
                )
            ) AS first
        FROM events_research WHERE key IN {{keys:Array(String)}} GROUP BY key
    )
-- What a participant did belongs to the participant's school; the metrics of the activity belong to that of the host.
SELECT if(f.window = 'participant' AND t.registered.1 != '', t.registered.1, toString(p.first.1)) AS school_id,
    '' AS class_id,
    if(f.window = 'participant', f.item, p.first.2) AS teacher_id,
    if(f.window = 'participant', t.registered.2, '') AS course, toUInt8(0) AS grade,
    toDate(f.window_end, {{time_zone:String}}) AS day, {_NO_PLACES} AS earlier,
    {CLOSES_AT} AS closes_at, {_TAKEN}
FROM metrics AS f INNER JOIN told AS p ON f.key = p.key LEFT JOIN teachers AS t ON f.item = t.teacher_id""",
}

_WINDOWS: Final = {
    "classroom": "('lesson', 'place', 'student')",
    "prep": "('iso_week')",
    "research": "('activity', 'participant')",
}


def metrics(family: str) -> str:
    """Return the query of the family's metrics of ``keys``, each at every place it belongs to."""
    stored = f"""metrics AS
    (
        SELECT window, key, metric, item, partition, window_start, window_end, value, numerator, denominator, sample_size,
            if(metric = 'engagement_index', arrayPushBack(parts, toNullable({{full_rate:Float64}})), parts) AS parts,
            catalogue_version, revision
        FROM metric_rows FINAL
        WHERE topic = {{topic:String}} AND key IN {{keys:Array(String)}} AND window IN {_WINDOWS[family]}
    ),"""
    return _CURRENT[family].replace("WITH", f"WITH {stored}", 1)


_IDENTITY: Final = "school_id, class_id, teacher_id, course, grade, day, window, key, metric, item"
_METRIC: Final = (
    "window_start, window_end, value, numerator, denominator, sample_size, parts, earlier, catalogue_version, revision"
)
# NULL and NULL are the same here. The revision tells how far the events are in, not what the metric is.
_COMPARED: Final = (
    "(chosen.1, chosen.2, chosen.4, chosen.5, chosen.6, arrayMap(x -> (x IS NULL, ifNull(x, 0)), chosen.7),"
    " chosen.8, chosen.9)"
)
_CLOSED: Final = (
    "closes_at <= fromUnixTimestamp64Micro("
    "transform(toInt64(partition), {partitions:Array(Int64)}, {watermarks_us:Array(Int64)}, toInt64(0)), 'UTC')"
)

#: ``/* metrics */`` stands for the query of :func:`metrics`. A row is written where there is none, where the metric is
#: another one, and, not live, where the metric no longer belongs. A key handled by two at once has two rows that both
#: count: the next row replaces both.
INSERT: Final = f"""
INSERT INTO pane_versions
    (family, {_IDENTITY}, {_METRIC}, live, recorded_at, row_id, replaces)
SELECT {{family:String}}, {_IDENTITY},
    chosen.1, chosen.2, chosen.3, chosen.4, chosen.5, chosen.6, chosen.7, chosen.8, chosen.9, chosen.10,
    right AS live, instant, sipHash64({_IDENTITY}, instant), replaces
FROM
(
    SELECT {_IDENTITY}, countIf(fresh) > 0 AS right, countIf(fresh AND closed) > 0 AS right_and_closed,
        groupUniqArrayIf(row_id, NOT fresh) AS replaces, countIf(NOT fresh) AS known,
        argMaxIf(figure, recorded_at, fresh) AS wanted, argMaxIf((figure, live), recorded_at, NOT fresh) AS stored,
        greatest(
            fromUnixTimestamp64Milli({{recorded_at_ms:Int64}}, 'UTC'),
            maxIf(recorded_at, NOT fresh) + toIntervalMillisecond(1)
        ) AS instant,
        if(right, wanted, stored.1) AS chosen,
        stored.2 AS was_live
    FROM
    (
        SELECT {_IDENTITY}, tuple({_METRIC}) AS figure, true AS fresh, {_CLOSED} AS closed, true AS live,
            toDateTime64(0, 3, 'UTC') AS recorded_at, toUInt64(0) AS row_id
        FROM (/* metrics */)
        UNION ALL
        SELECT {_IDENTITY}, tuple({_METRIC}) AS figure, false AS fresh, false AS closed, live, recorded_at, row_id
        FROM pane_versions
        WHERE family = {{family:String}} AND key IN {{keys:Array(String)}}
            AND row_id NOT IN (
                SELECT arrayJoin(replaces) FROM pane_versions
                WHERE family = {{family:String}} AND key IN {{keys:Array(String)}}
            )
    )
    GROUP BY {_IDENTITY}
)
WHERE if(
    right,
    right_and_closed AND (known != 1 OR NOT was_live OR {_COMPARED} != {_COMPARED.replace("chosen.", "stored.1.")}),
    known > 1 OR was_live
)"""

#: The keys are handled: of each window that is still open, the first to close calls for the key again.
MARK: Final = f"""
INSERT INTO pane_keys (topic, key, partition, handled_at, next_close)
SELECT {{topic:String}}, k.key, m.of_key, fromUnixTimestamp64Milli({{handled_at_ms:Int64}}, 'UTC'),
    if(m.open = 0, {NEVER}, m.next_close)
FROM (SELECT arrayJoin({{keys:Array(String)}}) AS key) AS k
LEFT JOIN
(
    SELECT key, any(partition) AS of_key, countIf(NOT {_CLOSED}) AS open, minIf(closes_at, NOT {_CLOSED}) AS next_close
    FROM (/* metrics */) GROUP BY key
) AS m ON k.key = m.key"""

MARK_REGISTRY: Final = f"""
INSERT INTO pane_keys (topic, key, partition, handled_at, next_close)
SELECT 'classpulse.registry', arrayJoin({{keys:Array(String)}}), 0,
    fromUnixTimestamp64Milli({{handled_at_ms:Int64}}, 'UTC'), {NEVER}"""
