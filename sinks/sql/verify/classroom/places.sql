-- The classes of lessons in several places: the events once for each school and class, under a key of its own, in which only
-- its own roster counts. Takes the place of a comment in events.sql, whose events are `told_events` then.
places AS
(
    SELECT key, concat(schoolid, '/', classid) AS place
    FROM told_events
    WHERE type = 'classroom.lesson.started'
    GROUP BY key, schoolid, classid
),
events AS
(
    SELECT
        concat(e.key, '\x1F', p.place) AS key, e.type AS type, e.source AS source, e.id AS id, e.at AS at,
        e.schoolid AS schoolid, e.classid AS classid, e.student_id AS student_id, e.prompt_id AS prompt_id,
        if(concat(e.schoolid, '/', e.classid) = p.place, e.roster, []) AS roster, e.due_start AS due_start,
        e.due_stop AS due_stop, e.kind AS kind, e.speaker AS speaker, e.fias_code AS fias_code, e.correct AS correct,
        e.latency_ms AS latency_ms, e.strategy AS strategy, e.platform AS platform, e.duration_ms AS duration_ms,
        e.score AS score, e.progress AS progress, e.interacts AS interacts
    FROM told_events AS e
    INNER JOIN places AS p ON e.key = p.key
    WHERE e.key IN (SELECT key FROM places GROUP BY key HAVING count() > 1)
),
