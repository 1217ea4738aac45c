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
        kind, speaker, fias_code, correct, latency_ms, strategy, platform, duration_ms, score, progress,
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
        groupArrayIf((student_id, at), interacts AND student_id != '') AS side_acts
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
        groupArrayArray(side_acts) AS acts,
        arraySort(groupArrayArray(side_marks)) AS marks
    FROM sides
    GROUP BY key
),
-- `stays` are the student, from when, until when, and whether a left or the end of the lesson has closed the stay.
-- A repeated joined or left has no effect, nor has a left before any joined: a mark must differ from the student's one before.
lessons AS
(
    SELECT
        key, has_started, has_ended, has_due, due, first, latest_end, last, cut, students,
        arrayExists(mark -> mark.3 = 1, marks) AS is_measured,
        -- What the students did in the lesson so far, and how often each; those on no roster are guests, if there is one.
        arrayMap(act -> act.1, arrayFilter(act -> act.2 BETWEEN first AND cut, acts)) AS acted,
        arrayDistinct(acted) AS active_in_lesson,
        arrayFilter(student -> empty(students) OR has(students, student), active_in_lesson) AS active_students,
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
        arrayFilter(stay -> empty(students) OR has(students, stay.1), stays) AS present,
        -- Who may take part, and when: those present, and the whole roster where nobody takes attendance.
        if(
            is_measured OR empty(students), present,
            arrayMap(student -> (student, -never, never, toUInt8(1)), students)
        ) AS audience,
        -- Presence of the class within the lesson so far.
        arraySum(stay -> greatest(0, least(stay.3, last) - greatest(stay.2, first)), present) / 60000000 AS student_minutes,
        length(
            arrayFilter(
                student -> notEmpty(students) AND NOT has(students, student),
                arrayDistinct(
                    arrayConcat(
                        active_in_lesson,
                        arrayMap(stay -> stay.1, arrayFilter(stay -> stay.2 <= last AND stay.3 > first, stays))
                    )
                )
            )
        ) AS guests
    FROM spans
),
-- Every student of the class who was there or took part, and how often: in ascending order of the counts, the differences of
-- all ordered pairs add up to 2 x sum of (2 i - n - 1) x count i.
participants AS
(
    SELECT
        key, first, last, student_minutes, guests,
        length(active_students) AS active,
        arrayMap(student -> toInt64(countEqual(acted, student)), active_students) AS act_counts,
        toUInt64(arraySum(act_counts)) AS interactions_of_all,
        length(
            arrayDistinct(
                arrayConcat(
                    active_students,
                    arrayMap(stay -> stay.1, arrayFilter(stay -> stay.2 <= last AND stay.3 > first, audience))
                )
            )
        ) AS everyone,
        arraySort(arrayConcat(arrayResize(emptyArrayInt64(), everyone - active), act_counts)) AS counts,
        2 * arraySum((n, i) -> (2 * toInt64(i) - toInt64(everyone) - 1) * n, counts, arrayEnumerate(counts)) AS differences
    FROM lessons
),
-- Every prompt that was asked or answered; `answers` are those that count: of the class, until the question closes or the
-- lesson ends.
prompts AS
(
    SELECT
        q.key AS key, q.prompt_id AS prompt_id, q.is_asked AS is_asked, q.asked AS asked,
        l.first AS first, l.last AS last, l.audience AS audience, q.asked BETWEEN l.first AND l.cut AS is_inside,
        length(q.all_answers) AS n_answers,
        if(q.is_asked AND q.has_closed, least(greatest(q.asked, q.last_closed), l.cut), l.cut) AS until,
        if(until >= never, q.asked, greatest(q.asked, until)) AS closed,
        arrayFilter(
            a -> a.2 <= until AND (empty(l.students) OR has(l.students, a.1)), q.all_answers
        ) AS answers
    FROM
    (
        SELECT
            key, prompt_id,
            countIf(type = 'classroom.question.asked') > 0 AS is_asked,
            minIf(at, type = 'classroom.question.asked') AS asked,
            countIf(type = 'classroom.question.closed') > 0 AS has_closed,
            maxIf(at, type = 'classroom.question.closed') AS last_closed,
            groupArrayIf((student_id, at, correct, latency_ms), type = 'classroom.answer.submitted') AS all_answers
        FROM events
        WHERE type IN ('classroom.question.asked', 'classroom.question.closed', 'classroom.answer.submitted')
        GROUP BY key, prompt_id
    ) AS q
    INNER JOIN lessons AS l ON q.key = l.key
),
rates AS
(
    SELECT
        key, prompt_id, asked, closed, first, last, is_inside, answers,
        arrayDistinct(arrayMap(a -> a.1, answers)) AS answered_by,
        length(answered_by) AS responders,
        arrayFilter(stay -> stay.2 <= asked AND asked < stay.3, audience) AS there,
        length(arrayDistinct(arrayConcat(answered_by, arrayMap(stay -> stay.1, there)))) AS asked_students
    FROM prompts
    WHERE is_asked
),
