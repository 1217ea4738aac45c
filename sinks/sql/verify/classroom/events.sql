-- 智慧课堂: what the queries of several modules share. Times are Int64 microseconds since the epoch until the last SELECT.
--
-- Parameters: topic, key_from, key_to (first and last lesson), keys (only these; empty: all of them), and those a deployment
-- decides: time_zone, weights, full_rate. What the metrics mean is declared in schemas/metrics/classroom/__init__.py.
-- For the classes of lessons in several places `places` takes the place of the comment after the stored events.
/* applied */
toInt64(4000000000000000000) AS never,
-- Of a lesson whose rosters name nobody all students are the class.
true AS open_without_roster,
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
/* places */
-- Whom the rosters name: of each school and class the earliest lesson.started counts.
roster_members AS
(
    SELECT DISTINCT key, arrayJoin(side_roster) AS student
    FROM
    (
        SELECT key, argMin(roster, (at, source, id)) AS side_roster
        FROM events
        WHERE type = 'classroom.lesson.started'
        GROUP BY key, schoolid, classid
    )
),
-- What the metrics of a class are made of; others are guests where there is a roster.
classed AS
(
    SELECT
        e.key AS key, e.type AS type, e.at AS at, e.student_id AS student_id, e.prompt_id AS prompt_id, e.correct AS correct,
        e.latency_ms AS latency_ms, e.interacts AS interacts,
        r.student != '' OR (open_without_roster AND e.key NOT IN (SELECT key FROM roster_members)) AS is_of_class
    FROM events AS e
    LEFT JOIN roster_members AS r ON e.key = r.key AND e.student_id = r.student
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
        ) AS side_marks
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
        open_without_roster AND empty(students) AS everybody,
        arrayExists(mark -> mark.3 = 1 AND (everybody OR has(students, mark.1)), marks) AS is_measured,
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
        arrayFilter(stay -> everybody OR has(students, stay.1), stays) AS present,
        -- Who may take part, and when: those present, and the whole roster where nobody takes attendance.
        if(
            is_measured OR empty(students), present,
            arrayMap(student -> (student, -never, never, toUInt8(1)), students)
        ) AS audience,
        -- Presence of the class within the lesson so far.
        arraySum(stay -> greatest(0, least(stay.3, last) - greatest(stay.2, first)), present) / 60000000 AS student_minutes
    FROM spans
),
-- Every student of the class who was there or took part, and how often: in ascending order of the counts, the differences of
-- all ordered pairs add up to 2 x sum of (2 i - n - 1) x count i.
participants AS
(
    SELECT
        l.key AS key, l.first AS first, l.last AS last, l.student_minutes AS student_minutes,
        -- Each student with how often they acted in the lesson so far.
        arrayFilter(
            acts -> acts.2 > 0,
            arrayMap(acts -> (acts.1, toInt64(arrayCount(at -> at BETWEEN first AND l.cut, acts.2)), acts.3), a.acts)
        ) AS acted,
        arrayFilter(acts -> acts.3, acted) AS of_class,
        arrayMap(acts -> acts.1, of_class) AS active_students,
        length(of_class) AS active,
        arrayMap(acts -> acts.2, of_class) AS act_counts,
        toUInt64(arraySum(act_counts)) AS interactions_of_all,
        length(
            arrayDistinct(
                arrayConcat(
                    arrayMap(acts -> acts.1, arrayFilter(acts -> NOT acts.3, acted)),
                    arrayFilter(
                        student -> notEmpty(l.students) AND NOT has(l.students, student),
                        arrayMap(stay -> stay.1, arrayFilter(stay -> stay.2 <= last AND stay.3 > first, l.stays))
                    )
                )
            )
        ) AS guests,
        length(
            arrayDistinct(
                arrayConcat(
                    active_students,
                    arrayMap(stay -> stay.1, arrayFilter(stay -> stay.2 <= last AND stay.3 > first, l.audience))
                )
            )
        ) AS everyone,
        arraySort(arrayConcat(arrayResize(emptyArrayInt64(), everyone - active), act_counts)) AS counts,
        2 * arraySum((n, i) -> (2 * toInt64(i) - toInt64(everyone) - 1) * n, counts, arrayEnumerate(counts)) AS differences
    FROM lessons AS l
    LEFT JOIN
    (
        -- By student first: in a lambda, whatever it takes from outside is copied for every element.
        SELECT key, groupArray((student_id, times, is_of_class)) AS acts
        FROM
        (
            SELECT key, student_id, groupArray(at) AS times, any(is_of_class) AS is_of_class
            FROM classed
            WHERE interacts AND student_id != ''
            GROUP BY key, student_id
        )
        GROUP BY key
    ) AS a ON l.key = a.key
),
-- Every prompt that was asked or answered; `answers` are those that count: of the class, until the question closes or the
-- lesson ends.
prompts AS
(
    SELECT
        q.key AS key, q.prompt_id AS prompt_id, q.is_asked AS is_asked, q.asked AS asked,
        l.first AS first, l.last AS last, l.audience AS audience, q.asked BETWEEN l.first AND l.cut AS is_inside,
        q.n_answers AS n_answers,
        if(q.is_asked AND q.has_closed, least(greatest(q.asked, q.last_closed), l.cut), l.cut) AS until,
        if(until >= never, q.asked, greatest(q.asked, until)) AS closed,
        arrayFilter(a -> a.2 <= until, q.all_answers) AS answers
    FROM
    (
        SELECT
            key, prompt_id,
            countIf(type = 'classroom.question.asked') > 0 AS is_asked,
            minIf(at, type = 'classroom.question.asked') AS asked,
            countIf(type = 'classroom.question.closed') > 0 AS has_closed,
            maxIf(at, type = 'classroom.question.closed') AS last_closed,
            countIf(type = 'classroom.answer.submitted') AS n_answers,
            groupArrayIf(
                (student_id, at, correct, latency_ms), type = 'classroom.answer.submitted' AND is_of_class
            ) AS all_answers
        FROM classed
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
