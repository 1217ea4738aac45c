-- 智慧课堂: every row of figures 6, 8, 11 and 12, recomputed from the stored events.
--
-- Parameters: key_from, key_to (first and last lesson), keys (only these; empty: all of them), time_zone (unused here).
-- Times are Int64 microseconds since the epoch until the last SELECT. The figures are defined in schemas/figures.py.
WITH
    (
        SELECT (groupArray(partition), groupArray(position))
        FROM checkpoints FINAL
        WHERE topic = 'classpulse.classroom'
    ) AS applied,
    -- Figures are written before the checkpoint: a key whose figures are ahead of it is compared as of its figures.
    (
        SELECT (groupArray(key), groupArray(highest))
        FROM
        (
            SELECT key, max(revision) AS highest
            FROM metric_rows
            WHERE topic = 'classpulse.classroom' AND key >= {key_from:String} AND key <= {key_to:String}
            GROUP BY key
            HAVING highest > transform(any(partition), applied.1, applied.2, toUInt64(0))
        )
    ) AS ahead,
    toInt64(9000000000000000000) AS never,
    events AS
    (
        SELECT
            key, type, source, id, toUnixTimestamp64Micro(time) AS at, student_id, prompt_id, roster,
            ifNull(toUnixTimestamp64Micro(scheduled_start), 0) AS due_start,
            ifNull(toUnixTimestamp64Micro(scheduled_end), 0) AS due_stop
        FROM events_classroom FINAL
        WHERE key >= {key_from:String} AND key <= {key_to:String}
          AND (empty({keys:Array(String)}) OR has({keys:Array(String)}, key))
          AND position < greatest(
              transform(partition, applied.1, applied.2, toUInt64(0)), transform(key, ahead.1, ahead.2, toUInt64(0))
          )
    ),
    lessons AS
    (
        SELECT
            key,
            countIf(type = 'classroom.lesson.started') > 0 AS has_started,
            countIf(type = 'classroom.lesson.ended') > 0 AS has_ended,
            if(has_started, minIf(at, type = 'classroom.lesson.started'), min(at)) AS first,
            if(has_ended, maxIf(at, type = 'classroom.lesson.ended'), max(at)) AS last,
            if(has_ended, last, never) AS cut,
            argMinIf((roster, due_start, due_stop), (at, source, id), type = 'classroom.lesson.started') AS plan
        FROM events
        GROUP BY key
    ),
    -- A repeated joined or left has no effect, nor has a left before any joined: `joined` must differ from the one before.
    attendance AS
    (
        SELECT
            key, student_id, at, type = 'classroom.attendance.joined' AS joined,
            lagInFrame(joined, 1, toUInt8(0)) OVER (
                PARTITION BY key, student_id ORDER BY at, joined
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            ) AS joined_before
        FROM events
        WHERE type IN ('classroom.attendance.joined', 'classroom.attendance.left')
    ),
    turns AS
    (
        SELECT
            key, student_id, at, joined,
            leadInFrame(at, 1, never) OVER (
                PARTITION BY key, student_id ORDER BY at, joined
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            ) AS next_at
        FROM attendance
        WHERE joined != joined_before
    ),
    presence AS
    (
        SELECT turns.key AS key, turns.student_id AS student_id, turns.at AS start, least(turns.next_at, lessons.cut) AS stop
        FROM turns
        INNER JOIN lessons ON turns.key = lessons.key
        WHERE turns.joined AND stop > start
    ),
    -- Every event in every window that holds it.
    placed AS
    (
        SELECT
            key, w.1 AS window,
            at - positiveModulo(at, w.3) - w.3 * arrayJoin(range(intDiv(w.2, w.3))) AS start,
            start + w.2 AS stop,
            type IN (
                'classroom.answer.submitted', 'classroom.hand.raised', 'classroom.interaction.recorded'
            ) AS interacts,
            if(interacts, student_id, '') AS student
        FROM events
        ARRAY JOIN [
            ('1m/10s', 60000000, 10000000), ('5m/1m', 300000000, 60000000), ('10m/1m', 600000000, 60000000)
        ] AS w
    ),
    seen AS
    (
        SELECT key, window, start, stop, student, interacts, toInt64(0) AS present_us
        FROM placed
        UNION ALL
        SELECT
            w.key, w.window, w.start, w.stop, p.student_id, toUInt8(0),
            least(p.stop, w.stop) - greatest(p.start, w.start)
        FROM (SELECT DISTINCT key, window, start, stop FROM placed) AS w
        INNER JOIN presence AS p ON w.key = p.key
        WHERE p.start < w.stop AND p.stop > w.start
    ),
    hopping AS
    (
        SELECT
            key, window, start, stop,
            sum(interacts) AS interactions,
            sum(present_us) / 60000000 AS student_minutes,
            uniqExactIf(student, interacts) AS active,
            uniqExactIf(student, student != '') AS present
        FROM seen
        GROUP BY key, window, start, stop
    ),
    prompts AS
    (
        SELECT
            key, prompt_id,
            minIf(at, type = 'classroom.question.asked') AS asked,
            countIf(type = 'classroom.question.closed') > 0 AS has_closed,
            if(has_closed, greatest(asked, maxIf(at, type = 'classroom.question.closed')), asked) AS closed
        FROM events
        WHERE type IN ('classroom.question.asked', 'classroom.question.closed')
        GROUP BY key, prompt_id
        HAVING countIf(type = 'classroom.question.asked') > 0
    ),
    audience AS
    (
        SELECT key, prompt_id, student_id AS student, toUInt8(1) AS answered
        FROM events
        WHERE type = 'classroom.answer.submitted'
        UNION ALL
        SELECT q.key, q.prompt_id, p.student_id, toUInt8(0)
        FROM prompts AS q
        INNER JOIN presence AS p ON q.key = p.key
        WHERE p.start <= q.asked AND q.asked < p.stop
    ),
    rates AS
    (
        SELECT
            q.key AS key, q.prompt_id AS prompt_id, q.asked AS asked, q.closed AS closed,
            uniqExactIf(a.student, a.answered AND a.student != '') AS responders,
            uniqExactIf(a.student, a.student != '') AS asked_students
        FROM prompts AS q
        LEFT JOIN audience AS a ON q.key = a.key AND q.prompt_id = a.prompt_id
        GROUP BY key, prompt_id, asked, closed
    ),
    so_far AS
    (
        SELECT key, uniqExactIf(student, interacts) AS active, uniqExactIf(student, student != '') AS present
        FROM
        (
            SELECT key, student, interacts FROM placed WHERE window = '10m/1m'
            UNION ALL
            SELECT key, student_id, toUInt8(0) FROM presence
        )
        GROUP BY key
    ),
    attended AS
    (
        SELECT
            l.key AS key,
            sumIf(
                greatest(0, least(p.stop, l.plan.3, l.last) - greatest(p.start, l.plan.2)),
                has(l.plan.1, p.student_id)
            ) AS present_us
        FROM lessons AS l
        LEFT JOIN presence AS p ON l.key = p.key
        WHERE l.has_started
        GROUP BY key
    ),
    figures AS
    (
        SELECT
            'response_rate' AS metric, 'prompt' AS window, key, prompt_id AS item, toInt64(0) AS slot,
            asked AS start, closed AS stop,
            toFloat64(responders) AS numerator, toFloat64(asked_students) AS denominator,
            toUInt32(asked_students) AS sample_size
        FROM rates
        UNION ALL
        SELECT
            'response_rate', '10m/1m', key, '', start, start, start + 600000000,
            sum(if(asked_students > 0, responders / asked_students, 0)), toFloat64(countIf(asked_students > 0)),
            toUInt32(countIf(asked_students > 0))
        FROM
        (
            SELECT key, responders, asked_students, asked - positiveModulo(asked, 60000000) - 60000000 * hops AS start
            FROM
            (
                SELECT key, responders, asked_students, asked FROM rates
                UNION ALL
                -- A question asked again counts where it was asked first, but the later windows have a row as well.
                SELECT key, toUInt64(0), toUInt64(0), at FROM events WHERE type = 'classroom.question.asked'
            )
            ARRAY JOIN range(10) AS hops
        )
        GROUP BY key, start
        UNION ALL
        SELECT
            'participation_breadth', window, key, '', start, start, stop,
            toFloat64(active), toFloat64(present), toUInt32(present)
        FROM hopping
        WHERE window IN ('5m/1m', '10m/1m')
        UNION ALL
        SELECT
            'interactions_per_student_minute', window, key, '', start, start, stop,
            toFloat64(interactions), student_minutes, toUInt32(interactions)
        FROM hopping
        UNION ALL
        SELECT
            'participation_breadth', 'lesson', l.key, '', 0, l.first, l.last,
            toFloat64(s.active), toFloat64(s.present), toUInt32(s.present)
        FROM lessons AS l
        INNER JOIN so_far AS s ON l.key = s.key
        UNION ALL
        SELECT
            'attendance_rate', 'lesson', l.key, '', 0, l.first, l.last,
            a.present_us / 1000000, length(arrayDistinct(l.plan.1)) * greatest(0, l.plan.3 - l.plan.2) / 1000000,
            toUInt32(length(arrayDistinct(l.plan.1)))
        FROM lessons AS l
        INNER JOIN attended AS a ON l.key = a.key
        UNION ALL
        SELECT
            'delayed_start_seconds', 'lesson', key, '', 0, first, last,
            greatest(0, first - plan.2) / 1000000, toFloat64(1), toUInt32(1)
        FROM lessons
        WHERE has_started
        UNION ALL
        SELECT
            'early_stop_seconds', 'lesson', key, '', 0, first, last,
            greatest(0, plan.3 - last) / 1000000, toFloat64(1), toUInt32(1)
        FROM lessons
        WHERE has_started AND has_ended
    )
SELECT
    metric, window, key, item,
    fromUnixTimestamp64Micro(slot, 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, sample_size
FROM figures
