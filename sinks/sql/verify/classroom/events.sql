-- 智慧课堂: what the queries of several modules share. Times are Int64 microseconds since the epoch until the last SELECT.
--
-- Parameters: topic, key_from, key_to (first and last lesson), keys (only these; empty: all of them), and those a deployment
-- decides: time_zone, weights, full_rate. What the metrics mean is declared in schemas/metrics/classroom/__init__.py.
/* applied */
toInt64(4000000000000000000) AS never,
events AS
(
    SELECT
        key, type, source, id, toUnixTimestamp64Micro(time) AS at, schoolid, classid, student_id, prompt_id, roster,
        ifNull(toUnixTimestamp64Micro(scheduled_start), 0) AS due_start,
        ifNull(toUnixTimestamp64Micro(scheduled_end), 0) AS due_stop,
        speaker, fias_code, correct, latency_ms, strategy, platform, duration_ms, score, progress,
        type IN ('classroom.answer.submitted', 'classroom.hand.raised', 'classroom.interaction.recorded') AS interacts
    FROM events_classroom FINAL
    WHERE key >= {key_from:String} AND key <= {key_to:String}
      AND (empty({keys:Array(String)}) OR has({keys:Array(String)}, key))
      AND position < greatest(
          transform(partition, applied.1, applied.2, toUInt64(0)), transform(key, ahead.1, ahead.2, toUInt64(0))
      )
),
-- One row a lesson and side of it; a dual-teacher lesson is started in each of its schools and classes.
sides AS
(
    SELECT
        key,
        min(at) AS side_first,
        max(at) AS side_last,
        countIf(type = 'classroom.lesson.started') AS times_started,
        countIf(type = 'classroom.lesson.ended') AS times_ended,
        maxIf(at, type = 'classroom.lesson.ended') AS side_ended,
        minIf((at, source, id), type = 'classroom.lesson.started') AS side_started,
        argMinIf((due_start, due_stop), (at, source, id), type = 'classroom.lesson.started') AS side_due,
        argMinIf(roster, (at, source, id), type = 'classroom.lesson.started') AS side_roster,
        groupArrayIf(
            (student_id, at, toUInt8(type = 'classroom.attendance.joined')),
            type IN ('classroom.attendance.joined', 'classroom.attendance.left')
        ) AS side_marks,
        sumMapIf([student_id], [toInt64(1)], interacts AND student_id != '') AS side_acts
    FROM events
    GROUP BY key, schoolid, classid
),
spans AS
(
    SELECT
        key,
        sum(times_started) > 0 AS has_started,
        sum(times_ended) > 0 AS has_ended,
        argMinIf(side_due, side_started, times_started > 0) AS told_due,
        -- A timetable of no length, or of more than 12 hours, counts as none.
        has_started AND told_due.2 > told_due.1 AND told_due.2 - told_due.1 <= 43200000000 AS has_due,
        if(has_due, told_due, (toInt64(0), toInt64(0))) AS due,
        if(has_started, minIf(side_started.1, times_started > 0), min(side_first)) AS first,
        if(has_due, greatest(first, due.2 + 1800000000), never) AS latest_end,
        if(has_ended, maxIf(side_ended, times_ended > 0), least(max(side_last), latest_end)) AS last,
        if(has_ended, last, latest_end) AS cut,
        groupUniqArrayArrayIf(side_roster, times_started > 0) AS students,
        sumMap(side_acts.1, side_acts.2) AS acts,
        arraySort(groupArrayArray(side_marks)) AS marks
    FROM sides
    GROUP BY key
),
-- `stays` are the student, from when, until when, and whether a left or the end of the lesson has closed the stay.
-- A repeated joined or left has no effect, nor has a left before any joined: a mark must differ from the student's one before.
lessons AS
(
    SELECT
        key, has_started, has_ended, has_due, due, first, latest_end, last, students, acts,
        arrayExists(mark -> mark.3 = 1, marks) AS is_measured,
        arrayFilter(
            (mark, before) -> mark.3 != if(before.1 = mark.1, before.3, 0),
            marks, arrayPopBack(arrayPushFront(marks, ('', toInt64(0), toUInt8(0))))
        ) AS turns,
        arrayFilter(
            stay -> stay.3 > stay.2,
            arrayMap(
                (turn, next) -> (
                    turn.1, turn.2,
                    if(turn.3 = 1, least(if(next.1 = turn.1, next.2, never), cut), turn.2),
                    toUInt8(has_ended OR next.1 = turn.1)
                ),
                turns, arrayPopFront(arrayPushBack(turns, ('', toInt64(0), toUInt8(0))))
            )
        ) AS stays,
        -- Presence of all students within the lesson so far.
        arraySum(stay -> greatest(0, least(stay.3, last) - greatest(stay.2, first)), stays) / 60000000 AS student_minutes
    FROM spans
),
-- Every student who was there or took part, and how often: in ascending order of the counts, the differences of all
-- ordered pairs add up to 2 x sum of (2 i - n - 1) x count i.
participants AS
(
    SELECT
        key, first, last, student_minutes,
        acts.1 AS active_students,
        length(active_students) AS active,
        toUInt64(arraySum(acts.2)) AS interactions_of_all,
        length(arrayDistinct(arrayConcat(active_students, arrayMap(stay -> stay.1, stays)))) AS everyone,
        arraySort(arrayConcat(arrayResize(emptyArrayInt64(), everyone - active), acts.2)) AS counts,
        2 * arraySum((n, i) -> (2 * toInt64(i) - toInt64(everyone) - 1) * n, counts, arrayEnumerate(counts)) AS differences
    FROM lessons
),
prompts AS
(
    SELECT
        key, prompt_id,
        minIf(at, type = 'classroom.question.asked') AS asked,
        countIf(type = 'classroom.question.closed') > 0 AS has_closed,
        if(has_closed, greatest(asked, maxIf(at, type = 'classroom.question.closed')), asked) AS closed,
        groupUniqArrayIf(student_id, type = 'classroom.answer.submitted') AS answered_by,
        groupArrayIf(at, type = 'classroom.answer.submitted') AS answers_at,
        countIf(correct) AS correct_answers,
        count(correct) AS graded,
        count(latency_ms) AS timed,
        quantilesExactInclusive(0.5, 0.9)(latency_ms) AS latency
    FROM events
    WHERE type IN ('classroom.question.asked', 'classroom.question.closed', 'classroom.answer.submitted')
    GROUP BY key, prompt_id
    HAVING countIf(type = 'classroom.question.asked') > 0
),
rates AS
(
    SELECT
        q.key AS key, q.prompt_id AS prompt_id, q.asked AS asked, q.closed AS closed,
        l.first AS first, l.last AS last, q.answers_at AS answers_at, q.correct_answers AS correct_answers,
        q.graded AS graded, q.timed AS timed, q.latency AS latency,
        length(q.answered_by) AS responders,
        arrayFilter(stay -> stay.2 <= q.asked AND q.asked < stay.3, l.stays) AS there,
        length(arrayDistinct(arrayConcat(q.answered_by, arrayMap(stay -> stay.1, there)))) AS asked_students
    FROM prompts AS q
    INNER JOIN lessons AS l ON q.key = l.key
),
