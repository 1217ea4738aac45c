-- One row a student and lesson, with the parts that metrics of persons are merged from.
WITH
    /* events */
    acts AS
    (
        SELECT
            e.key AS key, e.student_id AS student, min(e.at) AS own_first, toNullable(max(e.at)) AS own_last,
            countIf((e.at BETWEEN l.first AND l.cut AS is_inside) AND e.interacts) AS interactions,
            countIf(is_inside AND e.type = 'classroom.answer.submitted') AS answers,
            countIf(is_inside AND e.type = 'classroom.answer.submitted' AND isNotNull(e.correct)) AS graded,
            countIf(is_inside AND e.type = 'classroom.answer.submitted' AND ifNull(e.correct, false)) AS correct_answers,
            countIf(is_inside AND e.type = 'classroom.hand.raised') AS raised,
            countIf(is_inside AND e.type = 'classroom.hand.called') AS called,
            countIf(is_inside AND e.type = 'classroom.assessment.completed') AS assessments,
            sumIf(ifNull(e.score, 0), is_inside AND e.type = 'classroom.assessment.completed') AS scores,
            countIf(is_inside AND e.type = 'classroom.plan.progressed') AS steps,
            maxIf(ifNull(e.progress, 0), is_inside AND e.type = 'classroom.plan.progressed') AS highest
        FROM events AS e
        INNER JOIN lessons AS l ON e.key = l.key
        WHERE e.student_id != ''
        GROUP BY e.key, e.student_id
    ),
    -- A stay that nothing has closed yet is no presence so far, which would change with every event; it is attendance.
    stays AS
    (
        SELECT
            key, stay.1 AS student,
            sumIf(greatest(0, stay.3 - if(has_started, greatest(stay.2, first), stay.2)), stay.4) / 1000000 AS present,
            sum(greatest(0, least(stay.3, due.2) - greatest(stay.2, due.1))) / 1000000 AS attended
        FROM lessons
        ARRAY JOIN stays AS stay
        GROUP BY key, student
    ),
    everyone AS
    (
        SELECT key, student FROM acts
        UNION DISTINCT
        -- Whoever was on a roster that no longer counts has had a row, and keeps one.
        SELECT key, arrayJoin(roster) AS student FROM events WHERE type = 'classroom.lesson.started'
    ),
    metrics AS
    (
        SELECT
            e.key AS key, e.student AS item,
            -- The lesson so far as its starts and ends and the student's own events tell it.
            if(l.has_started, l.first, a.own_first) AS start,
            if(l.has_ended, l.last, greatest(start, least(ifNull(a.own_last, start), l.latest_end))) AS stop,
            l.has_started AND l.is_measured AND has(l.students, e.student) AS on_roster,
            toFloat64(a.interactions) AS numerator, s.present / 60 AS denominator, toUInt32(floor(s.present / 60)) AS sample_size,
            [
                if(on_roster, (l.due.2 - l.due.1) / 1000000, 0), if(on_roster, s.attended, 0), s.present,
                a.interactions, a.answers, a.graded, a.correct_answers, a.raised, a.called, a.assessments, a.scores,
                a.steps, a.highest
            ] AS parts
        FROM everyone AS e
        INNER JOIN lessons AS l ON e.key = l.key
        LEFT JOIN acts AS a ON e.key = a.key AND e.student = a.student
        LEFT JOIN stays AS s ON e.key = s.key AND e.student = s.student
    )
SELECT
    'student_lesson' AS metric, 'student' AS window, key, item,
    fromUnixTimestamp64Micro(toInt64(0), 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, sample_size, CAST(parts, 'Array(Nullable(Float64))') AS parts
FROM metrics
