-- One row a student and lesson, with the parts that metrics of persons are merged from.
WITH
    /* events */
    acts AS
    (
        SELECT
            key, student_id AS student, min(at) AS own_first, toNullable(max(at)) AS own_last,
            toFloat64(countIf(interacts)) AS interactions,
            toFloat64(countIf(type = 'classroom.answer.submitted')) AS answers,
            toFloat64(countIf(type = 'classroom.answer.submitted' AND isNotNull(correct))) AS graded,
            toFloat64(countIf(type = 'classroom.answer.submitted' AND ifNull(correct, false))) AS correct_answers,
            toFloat64(countIf(type = 'classroom.hand.raised')) AS raised,
            toFloat64(countIf(type = 'classroom.hand.called')) AS called,
            toFloat64(countIf(type = 'classroom.assessment.completed')) AS assessments,
            sumIf(ifNull(score, 0), type = 'classroom.assessment.completed') AS scores,
            toFloat64(countIf(type = 'classroom.plan.progressed')) AS steps,
            maxIf(ifNull(progress, 0), type = 'classroom.plan.progressed') AS highest
        FROM events
        WHERE student_id != ''
        GROUP BY key, student_id
    ),
    -- A stay that nothing has closed yet is no presence so far, which would change with every event; it is attendance.
    stays AS
    (
        SELECT
            key, stay.1 AS student,
            sumIf(stay.3 - stay.2, stay.4) / 1000000 AS present,
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
            a.interactions AS numerator, s.present / 60 AS denominator, toUInt32(a.interactions) AS sample_size,
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
