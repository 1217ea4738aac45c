"""Who of the registered teachers prepared: what no metric of a teacher's own can tell."""

from typing import Final

from sinks.views.contract import View

__all__ = ["VIEWS"]

_COLUMNS: Final = {
    "school_id": "the school",
    "group_id": "education group (教育集团) of the school by its latest registration; empty: none",
    "week": "Monday of the ISO week",
    "registered": "teachers registered at the school in that week",
    "prepared": "those of them with any active preparation minute in the week",
    "prepared_share": "prepared / registered; of a group or the district divide the sums",
}

VIEWS: Final = [
    View(
        "v1_prepared_share",
        "备课覆盖率: the share of the registered teachers of each school who prepared, by ISO week; metric 16 over all "
        "teachers, those who did nothing included. Weeks that are closed, as the portraits know who is registered where",
        _COLUMNS,
        """WITH
    weeks AS (SELECT DISTINCT toDate32(day) AS week FROM pane_versions WHERE metric = 'active_prep_minutes'),
    places AS
    (
        SELECT entity_id, from_week, tupleElement(last, 1) AS school_id
        FROM
        (
            SELECT entity_id, from_week, argMax(tuple(school_id, live), recorded_at) AS last
            FROM portrait_places
            WHERE kind = 'teacher'
            GROUP BY entity_id, from_week
        )
        WHERE tupleElement(last, 2) = 1
    ),
    registered AS
    (
        SELECT w.week AS week, p.entity_id AS teacher_id, argMax(p.school_id, p.from_week) AS school_id
        FROM weeks AS w
        CROSS JOIN places AS p
        WHERE p.from_week <= w.week
        GROUP BY week, teacher_id
        HAVING school_id != ''
    ),
    prepared AS
    (
        SELECT DISTINCT toDate32(day) AS week, key AS teacher_id
        FROM pane_versions
        WHERE metric = 'active_prep_minutes' AND live AND numerator > 0
            AND row_id NOT IN (SELECT arrayJoin(replaces) FROM pane_versions WHERE notEmpty(replaces))
    ),
    schools AS
    (
        SELECT key AS school_id, argMax(group_id, (time, source, id)) AS group_id
        FROM events_registry
        WHERE type = 'registry.school.registered'
        GROUP BY key
    )
SELECT r.school_id AS school_id, s.group_id AS group_id, r.week AS week, count() AS registered,
    countIf((r.week, r.teacher_id) IN (SELECT week, teacher_id FROM prepared)) AS prepared,
    prepared / registered AS prepared_share
FROM registered AS r
LEFT JOIN schools AS s ON r.school_id = s.school_id
GROUP BY school_id, group_id, week""",
    ),
]
