"""The views of metrics as they stand now: rows as the stream wrote them, lessons, entities, and the catalogue itself."""

from collections.abc import Iterable
from typing import Final

from schemas.metrics.catalogue import CATALOGUE_VERSION, METRICS
from schemas.metrics.classroom.course import PLATFORMS, STRATEGIES
from schemas.metrics.classroom.talk import ST_MODES
from schemas.metrics.metric import SECOND_US, WINDOW_LESSON, Metric
from sinks.closing import CLOSES_AT
from sinks.views.contract import View

__all__ = ["VIEWS", "WIDE_COLUMNS", "wide_meaning"]

#: Of a row of ``metric_rows``; what came later stands at the end, so that no column moved.
_METRIC: Final = {
    "metric": "name of the metric; see v1_catalogue",
    "window": "name of the window; see the metric catalogue",
    "key": "the lesson, the teacher or the activity",
    "item": "what the metric is of within the key (prompt, strategy, platform, person); empty where it is of the whole",
    "window_start": "first instant of the window",
    "window_end": "first instant after the window",
    "value": "numerator / denominator; NULL where the denominator is 0",
    "numerator": "see v1_catalogue",
    "denominator": "see v1_catalogue",
    "sample_size": "see v1_catalogue",
    "revision": "position up to which events are in",
    "closed": "1 once the watermark of the row's partition has reached window_end and, after it, evidence_seconds of "
    "v1_catalogue: only a late event can change it still",
    "catalogue_version": "version of the formulas",
    "written_at": "when this value was stored",
    "parts": "what the metric is merged from; see v1_catalogue",
}
_LESSON: Final = {
    "school_id": "school of the device that sent the earliest lesson.started",
    "class_id": "the class of that lesson.started",
    "teacher_id": "who teaches",
    "course": "school subject",
    "grade": "grade, 1 to 12",
}
_TIMETABLE: Final = {
    "mode": "standard or dual_teacher (双师)",
    "scheduled_start": "by the timetable",
    "scheduled_end": "by the timetable",
}


def _renamed(key: str, meaning: str) -> dict[str, str]:
    return {key: meaning} | {name: text for name, text in _METRIC.items() if name != "key"}


def _names(metrics: Iterable[Metric]) -> str:
    return ", ".join(f"'{metric.name}'" for metric in metrics)


def _family(name: str) -> list[Metric]:
    return [metric for metric in METRICS if metric.family == name]


#: Items of the lesson's metrics that have some; the empty item is the column with the figure's own name.
_ITEMS: Final = {"strategy_share": STRATEGIES, "tool_share": ("", *PLATFORMS), "st_mode": ST_MODES}
#: Metrics that came after version 2 of the catalogue: their columns come last, so that no column changes its position.
_LATER: Final = (
    "st_mode",
    "cold_call_share",
    "call_delay_seconds",
    "longest_call_delay_seconds",
    "first_answer_seconds",
    "second_wait_time_seconds",
)
_WIDE: Final = sorted(
    (metric for metric in METRICS if WINDOW_LESSON in metric.windows),
    key=lambda one: (_LATER.index(one.name) + 1 if one.name in _LATER else 0, one.number),
)
#: The columns of metrics in ``v1_lesson_wide``: name to (metric, item).
WIDE_COLUMNS: Final = {
    f"{metric.name}_{item}" if item else metric.name: (metric, item)
    for metric in _WIDE
    for item in _ITEMS.get(metric.name, ("",))
}


def wide_meaning(metric: Metric, item: str) -> str:
    """Return the comment of the figure's column: formula and unit, as declared."""
    of_item = f" of {item}" if item else ""
    formula = f"({metric.numerator}) / ({metric.denominator})"
    return f"{metric.chinese}{of_item}: {formula}. Unit: {metric.unit}. NULL where there is no row or the denominator is 0"


def _wide_select() -> str:
    figures = ",\n    ".join(
        f"anyIf(f.value, f.metric = '{metric.name}' AND f.item = '{item}') AS {column}"
        for column, (metric, item) in WIDE_COLUMNS.items()
    )
    return f"""SELECT f.lesson_id AS lesson_id, l.school_id AS school_id, l.class_id AS class_id,
    l.teacher_id AS teacher_id, l.course AS course, l.grade AS grade, l.mode AS mode, l.scheduled_start AS scheduled_start,
    l.scheduled_end AS scheduled_end, f.* EXCEPT (lesson_id)
FROM
(
SELECT f.key AS lesson_id, max(f.window_start) AS window_start, max(f.window_end) AS window_end,
    max(f.written_at) AS written_at,
    {figures}
FROM metric_rows AS f FINAL
WHERE f.metric IN ({_names(_WIDE)}) AND f.window = 'lesson'
GROUP BY f.key
) AS f
INNER JOIN v1_lessons AS l ON f.lesson_id = l.lesson_id"""


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _catalogue_row(metric: Metric) -> str:
    texts = [
        metric.name,
        metric.chinese,
        metric.family,
        metric.unit,
        metric.numerator,
        metric.denominator,
        metric.sample,
        metric.exists,
        metric.direction,
        metric.merge,
        metric.item,
        metric.parts,
        metric.source,
    ]
    windows = ", ".join(_text(window.name) for window in metric.windows)
    highest = "NULL" if metric.highest is None else repr(metric.highest)
    seconds = metric.evidence_us // SECOND_US
    return (
        f"({metric.number}, [{windows}], {', '.join(map(_text, texts))}, CAST({highest}, 'Nullable(Float64)'), {seconds})"
    )


_CATALOGUE: Final = View(
    "v1_catalogue",
    "The metric catalogue: what each metric is, as declared",
    {
        "metric": "name of the metric",
        "number": "number in the district's catalogue",
        "chinese": "its Chinese name",
        "family": "classroom, prep or research",
        "unit": "unit of the value",
        "numerator": "formula",
        "denominator": "formula",
        "sample_size": "what the sample size counts",
        "row_exists": "when there is a row",
        "windows": "windows it is taken over",
        "direction": "higher: higher is better; lower: lower is better; context: neither is good by itself",
        "merge": "how it is merged: ratio, values, sketch, gini or blend; see the metric catalogue",
        "item": "what the column item holds; empty: nothing",
        "parts": "what the column parts holds; empty: nothing",
        "source": "where the formula is from",
        "catalogue_version": "version of the formulas that this program computes",
        "lowest": "smallest value possible",
        "highest": "largest value possible; NULL: there is no bound that holds for all",
        "evidence_seconds": "so long after the end of its window an on-time event may still change a row",
    },
    f"""SELECT t.3 AS metric, t.1 AS number, t.4 AS chinese, t.5 AS family, t.6 AS unit, t.7 AS numerator,
    t.8 AS denominator, t.9 AS sample_size, t.10 AS row_exists, t.2 AS windows, t.11 AS direction, t.12 AS merge,
    t.13 AS item, t.14 AS parts, t.15 AS source, toUInt16({CATALOGUE_VERSION}) AS catalogue_version,
    toFloat64(0) AS lowest, t.16 AS highest, toUInt32(t.17) AS evidence_seconds
FROM (SELECT arrayJoin([{", ".join(map(_catalogue_row, METRICS))}]) AS t)""",
)

#: Who is in the district: the latest word of the registry about each entity, rosters aside.
_ENTITIES: Final = View(
    "v1_entities",
    "Education groups, schools, classes and teachers by their latest registration; who was retired is left out",
    {
        "kind": "group, school, class or teacher",
        "entity_id": "the entity",
        "name": "its name; empty for teachers",
        "group_id": "education group (教育集团) of a school; empty: none",
        "school_id": "school of a class or teacher, and the school itself; empty for groups",
        "stage": "of a school: primary, junior, senior or combined",
        "course": "school subject of a teacher",
        "grade": "grade of a class, 1 to 12",
        "career_stage": "of a teacher: novice, developing, experienced or expert",
        "registered_at": "event time of that registration",
    },
    """SELECT splitByChar('.', e.2)[2] AS kind, key AS entity_id, e.3 AS name, e.4 AS group_id,
    if(kind = 'school', key, e.5) AS school_id, e.6 AS stage, e.7 AS course, e.8 AS grade, e.9 AS career_stage,
    e.1 AS registered_at
FROM
(
    SELECT key, argMax((time, toString(type), name, group_id, school_id, stage, course, grade, career_stage),
        (time, source, id)) AS e
    FROM events_registry
    WHERE type != 'registry.roster.registered'
    GROUP BY key
)
WHERE e.2 != 'registry.entry.retired'""",
)

#: School and class as the registry has them now.
_CLASSES: Final = """
    SELECT tupleElement(last, 2), class_id
    FROM
    (
        SELECT key AS class_id, argMax((type, school_id), (time, source, id)) AS last
        FROM events_registry
        WHERE type IN ('registry.class.registered', 'registry.entry.retired')
        GROUP BY key
    )
    WHERE tupleElement(last, 1) = 'registry.class.registered'
"""
#: A start from a class that the registry knows comes before one from any other.
_FROM_STARTED: Final = f"""argMin((schoolid, classid, teacher_id, course, grade, mode, scheduled_start, scheduled_end),
        ((toString(schoolid), toString(classid)) NOT IN ({_CLASSES}), time, source, id)) AS s"""

VIEWS: Final = [
    View(
        "v1_lessons",
        "One row a lesson, from its earliest lesson.started, of a class that the registry knows if there is any",
        {
            "lesson_id": "the lesson",
            **_LESSON,
            **_TIMETABLE,
            "started_at": "event time of the earliest lesson.started",
            "sides": "places it is held in, each a school and a class; 2 or more for a dual-teacher lesson (双师)",
            "school_ids": "the schools of all sides, ascending",
            "class_ids": "the classes of all sides, ascending",
        },
        f"""SELECT key AS lesson_id, s.1 AS school_id, s.2 AS class_id, s.3 AS teacher_id, s.4 AS course, s.5 AS grade,
    s.6 AS mode, s.7 AS scheduled_start, s.8 AS scheduled_end, started_at, sides, school_ids, class_ids
FROM
(
    SELECT key, min(time) AS started_at, {_FROM_STARTED},
        uniqExact((schoolid, classid)) AS sides, arraySort(groupUniqArray(toString(schoolid))) AS school_ids,
        arraySort(groupUniqArray(toString(classid))) AS class_ids
    FROM events_classroom
    WHERE type = 'classroom.lesson.started'
    GROUP BY key
)""",
    ),
    View(
        "v1_lesson_places",
        "Where a lesson is held: one row for each lesson, school and class, from its earliest lesson.started there",
        {
            "lesson_id": "the lesson",
            "school_id": "the school",
            "class_id": "the class",
            "teacher_id": "who teaches there, or assists",
            "course": "school subject",
            "grade": "grade, 1 to 12",
            **_TIMETABLE,
            "started_at": "event time of that lesson.started",
        },
        """SELECT key AS lesson_id, schoolid AS school_id, classid AS class_id, s.1 AS teacher_id, s.2 AS course,
    s.3 AS grade, s.4 AS mode, s.5 AS scheduled_start, s.6 AS scheduled_end, started_at
FROM
(
    SELECT key, schoolid, classid, min(time) AS started_at,
        argMin((teacher_id, course, grade, mode, scheduled_start, scheduled_end), (time, source, id)) AS s
    FROM events_classroom
    WHERE type = 'classroom.lesson.started'
    GROUP BY key, schoolid, classid
)""",
    ),
    View(
        "v1_foreign_starts",
        "Starts of lessons from classes that the registry does not know: such a start takes nothing over of a lesson of a "
        "class that it knows",
        {
            "lesson_id": "the lesson",
            "school_id": "school that the start names",
            "class_id": "class that the start names",
            "teacher_id": "teacher that the start names",
            "source": "the device that sent it",
            "started_at": "event time",
        },
        f"""SELECT key AS lesson_id, schoolid AS school_id, classid AS class_id, teacher_id, source, time AS started_at
FROM events_classroom FINAL
WHERE type = 'classroom.lesson.started' AND (toString(schoolid), toString(classid)) NOT IN ({_CLASSES})""",
    ),
    View(
        "v1_watermarks",
        "How far each partition has come in event time and in records",
        {
            "topic": "Kafka topic",
            "partition": "Kafka partition",
            "watermark": "no earlier event is expected",
            "next_offset": "the next offset to read",
            "consumed": "records read since the beginning",
            "stored": "unique events stored since the beginning",
            "duplicates": "records dropped as already stored",
            "dead_letters": "records rejected",
            "written_at": "when this was stored",
        },
        """SELECT topic, partition, watermark, next_offset, consumed, stored, duplicates, dead_letters, written_at
FROM checkpoints FINAL""",
    ),
    View(
        "v1_figures",
        "Every metric as it stands now; closed: no on-time event can change it, a late one still can",
        _METRIC,
        f"""SELECT f.metric AS metric, f.window AS window, f.key AS key, f.item AS item, f.window_start AS window_start,
    f.window_end AS window_end, f.value AS value, f.numerator AS numerator, f.denominator AS denominator,
    f.sample_size AS sample_size, f.revision AS revision, {CLOSES_AT} <= w.watermark AS closed,
    f.catalogue_version AS catalogue_version, f.written_at AS written_at, f.parts AS parts
FROM metric_rows AS f FINAL
LEFT JOIN v1_watermarks AS w ON f.topic = w.topic AND f.partition = w.partition""",
    ),
    View(
        "v1_lesson_figures",
        "Classroom metrics with the lesson's school, class, teacher and subject",
        _LESSON | _renamed("lesson_id", "the lesson"),
        f"""SELECT l.school_id AS school_id, l.class_id AS class_id, l.teacher_id AS teacher_id, l.course AS course,
    l.grade AS grade, f.key AS lesson_id, f.* EXCEPT (key)
FROM v1_figures AS f
INNER JOIN v1_lessons AS l ON f.key = l.lesson_id
WHERE f.metric IN ({_names(_family("classroom"))})""",
    ),
    View(
        "v1_prep_figures",
        "Preparation metrics of each teacher",
        _renamed("teacher_id", "the teacher"),
        f"""SELECT f.key AS teacher_id, f.* EXCEPT (key)
FROM v1_figures AS f
WHERE f.metric IN ({_names(_family("prep"))})""",
    ),
    View(
        "v1_research_figures",
        "Research metrics of each activity",
        _renamed("activity_id", "the activity"),
        f"""SELECT f.key AS activity_id, f.* EXCEPT (key)
FROM v1_figures AS f
WHERE f.metric IN ({_names(_family("research"))})""",
    ),
    View(
        "v1_research_participation_28d",
        "Research participation of each school over the 28 local days (Asia/Shanghai) up to the day: sums over sums",
        {
            "school_id": "school of the device that sent activity.published",
            "day": "last of the 28 local days (Asia/Shanghai)",
            "activities": "activities scheduled to end on one of the 28 days",
            "invited": "invitations to them, added up",
            "attended": "invited teachers who took part, added up",
            "effective": "invited teachers who attended at least 80 % of the scheduled minutes, added up",
            "participation_rate": "attended / invited; NULL where nobody was invited",
            "effective_participation_rate": "effective / invitations to activities with a scheduled time; NULL without any",
        },
        """WITH
    published AS
    (
        SELECT key, argMin(schoolid, (time, source, id)) AS school_id
        FROM events_research
        WHERE type = 'research.activity.published'
        GROUP BY key
    ),
    activities AS
    (
        SELECT
            p.school_id AS school_id,
            arrayJoin(arrayMap(n -> toDate32(toTimeZone(f.window_end, 'Asia/Shanghai')) + n, range(28))) AS day,
            f.metric AS metric, f.numerator AS numerator, f.denominator AS denominator
        FROM metric_rows AS f FINAL
        INNER JOIN published AS p ON f.key = p.key
        WHERE f.metric IN ('participation_rate', 'effective_participation_rate') AND f.window = 'activity'
    )
SELECT
    school_id, day,
    countIf(metric = 'participation_rate') AS activities,
    sumIf(denominator, metric = 'participation_rate') AS invited,
    sumIf(numerator, metric = 'participation_rate') AS attended,
    sumIf(numerator, metric = 'effective_participation_rate') AS effective,
    if(invited = 0, NULL, attended / invited) AS participation_rate,
    effective / nullIf(sumIf(denominator, metric = 'effective_participation_rate'), 0) AS effective_participation_rate
FROM activities
GROUP BY school_id, day""",
    ),
    View(
        "v1_lesson_wide",
        "One row a lesson, one column for each metric of the lesson so far",
        {"lesson_id": "the lesson"}
        | _LESSON
        | _TIMETABLE
        | {
            "window_start": "beginning of the lesson",
            "window_end": "end of the lesson so far",
            "written_at": "when the latest of the metrics was stored",
        }
        | {column: wide_meaning(metric, item) for column, (metric, item) in WIDE_COLUMNS.items()},
        _wide_select(),
    ),
    _CATALOGUE,
    _ENTITIES,
]
