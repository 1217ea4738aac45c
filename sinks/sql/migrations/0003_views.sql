-- The contract with the evaluation services: read these, never the tables.

CREATE VIEW v1_lessons AS
SELECT
    key AS lesson_id,
    argMin(schoolid, (time, source, id)) AS school_id,
    argMin(classid, (time, source, id)) AS class_id,
    argMin(teacher_id, (time, source, id)) AS teacher_id,
    argMin(course, (time, source, id)) AS course,
    argMin(grade, (time, source, id)) AS grade,
    argMin(mode, (time, source, id)) AS mode,
    argMin(scheduled_start, (time, source, id)) AS scheduled_start,
    argMin(scheduled_end, (time, source, id)) AS scheduled_end,
    min(time) AS started_at
FROM events_classroom
WHERE type = 'classroom.lesson.started'
GROUP BY key
COMMENT 'One row a lesson, from its earliest lesson.started';

CREATE VIEW v1_watermarks AS
SELECT topic, partition, watermark, next_offset, consumed, stored, duplicates, dead_letters, written_at
FROM checkpoints FINAL
COMMENT 'How far each partition has come in event time and in records';

CREATE VIEW v1_figures AS
SELECT
    f.metric, f.window, f.key, f.item, f.window_start, f.window_end,
    f.value, f.numerator, f.denominator, f.sample_size,
    f.revision, f.window_end <= w.watermark AS closed, f.catalogue_version, f.written_at
FROM metric_rows AS f FINAL
LEFT JOIN v1_watermarks AS w ON f.topic = w.topic AND f.partition = w.partition
COMMENT 'Every figure as it stands now; closed: no on-time event can change it, a late one still can';

CREATE VIEW v1_lesson_figures AS
SELECT l.school_id, l.class_id, l.teacher_id, l.course, l.grade, f.key AS lesson_id, f.* EXCEPT (key)
FROM v1_figures AS f
INNER JOIN v1_lessons AS l ON f.key = l.lesson_id
COMMENT 'Classroom figures with the lesson''s school, class, teacher and subject';

CREATE VIEW v1_prep_figures AS
SELECT f.key AS teacher_id, f.* EXCEPT (key)
FROM v1_figures AS f
WHERE f.metric = 'active_prep_minutes'
COMMENT 'Preparation figures of each teacher';

CREATE VIEW v1_research_figures AS
SELECT f.key AS activity_id, f.* EXCEPT (key)
FROM v1_figures AS f
WHERE f.metric IN ('participation_rate', 'effective_participation_rate')
COMMENT 'Research figures of each activity';

CREATE VIEW v1_research_participation_28d AS
WITH
    published AS
    (
        SELECT key, argMin(schoolid, (time, source, id)) AS school_id
        FROM events_research
        WHERE type = 'research.activity.published'
        GROUP BY key
    ),
    -- An activity counts on the local day it was scheduled to end and on the 27 days after.
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
    if(invited = 0, NULL, effective / invited) AS effective_participation_rate
FROM activities
GROUP BY school_id, day
COMMENT 'Research participation of each school over the 28 local days (Asia/Shanghai) that end with the day: sums over sums';
