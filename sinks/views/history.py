"""The views of closed metrics with their place and their history: as of an instant, and what was revised since one.

A row of ``pane_versions`` counts from ``recorded_at`` on, until a row is recorded that names it in ``replaces``.
"""

from typing import Final

from sinks.views.contract import View

__all__ = ["VIEWS"]

#: A class's metrics are looked for among so many days that end with its latest lesson.
RECENT_DAYS: Final = 28
_KNOWN: Final = " AND recorded_at <= {as_of:DateTime64(3, 'UTC')}"

_PLACE: Final = {
    "school_id": "the school",
    "class_id": "the class",
    "teacher_id": "who taught; of the earliest lesson.started of this place",
    "course": "school subject",
    "grade": "grade of the lesson",
    "day": "local day of the district on which the lesson began",
    "lesson_id": "the lesson",
}
_METRIC: Final = {
    "metric": "name of the metric; see v1_catalogue",
    "item": "what the metric is of within the lesson; empty where it is of the whole",
    "value": "numerator / denominator; NULL where the denominator is 0",
    "numerator": "see v1_catalogue",
    "denominator": "see v1_catalogue",
    "sample_size": "see v1_catalogue",
    "parts": "what the metric is merged from; see v1_catalogue",
    "window_start": "beginning of the lesson",
    "window_end": "end of the lesson",
    "catalogue_version": "version of the formulas",
    "recorded_at": "from this instant on the metric counted",
}
_ROW: Final = """school_id, class_id, teacher_id, course, grade, day, key AS lesson_id, metric, item, value, numerator,
    denominator, sample_size, parts, window_start, window_end, catalogue_version, recorded_at"""


def _rows_as_of(columns: str, place: str, more: str, *, known: str) -> str:
    """Return what counts of the lessons at ``place``; the same condition bounds the search for what replaces it."""
    return f"""SELECT {columns}
FROM pane_versions
WHERE window = 'lesson' AND {place}{more} AND live
    AND row_id NOT IN (SELECT arrayJoin(replaces) FROM pane_versions WHERE {place}{known} AND notEmpty(replaces))"""


_OF_CLASS: Final = "school_id = {school:String} AND class_id = {class:String}"
#: Without a bound the whole term of the school would be read for one lesson's metrics.
_RECENT: Final = f"""
    AND day > (SELECT max(day) FROM pane_versions WHERE {_OF_CLASS} AND window = 'lesson' AND live) - {RECENT_DAYS}"""
_LATEST: Final = _rows_as_of(_ROW, _OF_CLASS, _RECENT, known="")
_AS_OF: Final = _rows_as_of(
    _ROW,
    "({school:String} = '' OR school_id = {school:String}) AND ({lesson:String} = '' OR key = {lesson:String})",
    _KNOWN,
    known=_KNOWN,
)

VIEWS: Final = [
    View(
        "v1_class_latest",
        "The latest metrics of a class: of each metric that of its latest closed lesson, among the "
        f"{RECENT_DAYS} days that end with the class's latest closed lesson",
        _PLACE | _METRIC,
        f"{_LATEST}\nORDER BY window_end DESC, key DESC\nLIMIT 1 BY metric, item",
        {"school": "the school", "class": "the class"},
    ),
    View(
        "v1_lesson_figures_as_of",
        "The metrics of closed lessons as they were known at an instant, one row for each place of a lesson",
        _PLACE | _METRIC,
        _AS_OF,
        {
            "school": "only this school; empty: all",
            "lesson": "only this lesson; empty: all",
            "as_of": "what was known at this instant; to read the same again later, the cycle_at of a row of v1_cycles",
        },
    ),
    View(
        "v1_revised_since",
        "Metrics that were known at an instant and say something else now: a notice to whoever read them then",
        {
            "school_id": "the school",
            "class_id": "the class; empty where the metric is not of a lesson",
            "teacher_id": "the teacher",
            "day": "local day of the lesson's start, of the week's Monday, of the activity's scheduled end",
            "window": "lesson, student, iso_week, activity or participant",
            "key": "the lesson, the teacher or the activity",
            "metric": "name of the metric",
            "item": "what the metric is of within the key; empty where it is of the whole",
            "old_value": "what was known at the instant",
            "new_value": "what is known now; NULL where it was withdrawn or cannot be told",
            "old_sample_size": "what was known at the instant",
            "new_sample_size": "what is known now; 0 where it was withdrawn",
            "withdrawn": "1 where the metric no longer belongs to this school, class and key",
            "recorded_at": "when the old value was recorded",
            "revised_at": "when the new one was recorded",
        },
        """WITH
    revisions AS
    (
        SELECT * FROM pane_versions
        WHERE recorded_at > {since:DateTime64(3, 'UTC')}
    ),
    replaced AS (SELECT arrayJoin(replaces) AS row_id, min(recorded_at) AS replaced_at FROM revisions GROUP BY row_id),
    known AS
    (
        SELECT * FROM pane_versions
        WHERE recorded_at <= {since:DateTime64(3, 'UTC')} AND live AND row_id IN (SELECT row_id FROM replaced)
    ),
    now_known AS
    (
        SELECT * FROM revisions
        WHERE live AND row_id NOT IN (SELECT row_id FROM replaced) AND key IN (SELECT key FROM known)
    )
SELECT o.school_id AS school_id, o.class_id AS class_id, o.teacher_id AS teacher_id, o.day AS day, o.window AS window,
    o.key AS key, o.metric AS metric, o.item AS item, o.value AS old_value, if(withdrawn, NULL, n.value) AS new_value,
    o.sample_size AS old_sample_size, if(withdrawn, 0, n.sample_size) AS new_sample_size, NOT n.live AS withdrawn,
    o.recorded_at AS recorded_at, if(withdrawn, r.replaced_at, n.recorded_at) AS revised_at
FROM known AS o
INNER JOIN replaced AS r ON r.row_id = o.row_id
LEFT JOIN now_known AS n ON n.school_id = o.school_id AND n.class_id = o.class_id AND n.window = o.window
    AND n.key = o.key AND n.metric = o.metric AND n.item = o.item
WHERE withdrawn OR n.parts != o.parts
    OR (n.numerator, n.denominator, n.sample_size) != (o.numerator, o.denominator, o.sample_size)""",
        {"since": "the instant at which the metrics were read"},
    ),
    View(
        "v1_cycles",
        "The evaluator's completed cycles: what is read as of one of them reads the same for ever",
        {
            "cycle_at": "the instant to give as as_of",
            "finished_at": "when the cycle was complete",
            "rows_written": "versions that the cycle recorded",
        },
        "SELECT cycle_at, finished_at, rows_written FROM evaluator_cycles FINAL",
    ),
]
