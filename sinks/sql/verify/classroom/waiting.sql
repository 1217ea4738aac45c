-- Metric 5: how long the teacher waits after an oral question, and after its answer.
WITH
    /* events */
    -- What is said, by whom it is said in each of the ways that count: the teacher, the students, the teacher alone or with
    -- students (lead), students alone or with the teacher (others). A record counts for an hour at most.
    spoken AS
    (
        SELECT
            e.key AS key, e.at AS at, e.at + least(ifNull(e.duration_ms, 0) * 1000, 3600000000) AS until,
            arrayJoin(
                multiIf(
                    e.speaker = 'teacher', ['record', 'teacher', 'lead'], e.speaker = 'student', ['record', 'student', 'others'],
                    e.speaker = 'both', ['record', 'lead', 'others'], ['record']
                )
            ) AS role
        FROM events AS e
        INNER JOIN lessons AS l ON e.key = l.key
        WHERE e.type = 'classroom.speech.recorded' AND e.at BETWEEN l.first AND l.cut
    ),
    marked AS
    (
        SELECT
            key, role, at, until,
            at > ifNull(max(toNullable(until)) OVER before, at - 1) AS begins
        FROM spoken
        WINDOW before AS (PARTITION BY key, role ORDER BY at, until ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ),
    numbered AS
    (
        SELECT key, role, at, until, sum(begins) OVER (PARTITION BY key, role ORDER BY at, until) AS nth FROM marked
    ),
    stretches AS
    (
        SELECT
            key,
            maxIf(stop, role = 'record') AS recorded_until,
            groupArrayIf((start, stop), role = 'teacher') AS teacher,
            arraySort(groupArrayIf((start, stop), role = 'student')) AS student,
            groupArrayIf((start, stop), role = 'lead') AS lead,
            groupArrayIf((start, stop), role = 'others') AS others
        FROM (SELECT key, role, min(at) AS start, max(until) AS stop FROM numbered GROUP BY key, role, nth)
        GROUP BY key
    ),
    questions AS
    (
        SELECT key, asked, leadInFrame(asked, 1, never) OVER (
            PARTITION BY key ORDER BY asked ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS next_asked
        FROM
        (
            SELECT e.key AS key, e.prompt_id, min(e.at) AS asked
            FROM events AS e
            INNER JOIN lessons AS l ON e.key = l.key
            WHERE e.type = 'classroom.question.asked' AND e.kind = 'open' AND e.at BETWEEN l.first AND l.cut
            GROUP BY e.key, e.prompt_id
        )
    ),
    -- `never` stands for a word that was not heard.
    waited AS
    (
        SELECT
            q.key AS key,
            arrayMax(arrayPushBack(arrayMap(s -> s.2, arrayFilter(s -> s.1 <= q.asked, s.teacher)), q.asked)) AS since,
            arrayMin(
                arrayPushBack(
                    arrayFilter(at -> at >= since, arrayMap(w -> w.1, arrayConcat(s.teacher, s.others))), never
                )
            ) AS word,
            multiIf(
                arrayExists(o -> o.1 <= since AND o.2 > since, s.others), 0,
                word < never, word - since,
                s.recorded_until > since, s.recorded_until - since, -1
            ) AS first_wait,
            arrayMin(
                arrayPushBack(
                    arrayMap(a -> a.1, arrayFilter(a -> a.1 >= since OR a.2 > since, s.student)), never
                )
            ) AS answer,
            arrayMin(arrayPushBack(arrayFilter(at -> at >= answer, arrayMap(w -> w.1, s.lead)), never)) AS reply,
            arrayMax(
                arrayPushBack(
                    arrayMap(a -> a.2, arrayFilter(a -> a.1 <= greatest(reply - 1, answer), s.student)), toInt64(0)
                )
            ) AS answered,
            multiIf(
                answer = never OR answer >= q.next_asked, -1,
                reply < never, greatest(0, reply - answered),
                s.recorded_until > answered, s.recorded_until - answered, -1
            ) AS second_wait
        FROM questions AS q
        INNER JOIN stretches AS s ON q.key = s.key
    ),
    metrics AS
    (
        SELECT
            m.1 AS metric, w.key AS key, l.first AS start, l.last AS stop, m.2 AS numerator, m.3 AS denominator,
            toUInt32(m.4) AS sample_size, m.5 AS parts
        FROM
        (
            SELECT
                t.key AS key,
                arrayMap(us -> us / 1000000, arraySort(groupArrayIf(first_wait, is_asked AND first_wait >= 0))) AS waits,
                arrayMap(us -> us / 1000000, arraySort(groupArrayIf(second_wait, is_asked AND second_wait >= 0))) AS second_waits
            FROM
            (
                SELECT key
                FROM events
                GROUP BY key
                HAVING countIf(type = 'classroom.speech.recorded') > 0
                   AND countIf(type = 'classroom.question.asked' AND kind = 'open') > 0
            ) AS t
            LEFT JOIN (SELECT *, true AS is_asked FROM waited) AS w ON t.key = w.key
            GROUP BY t.key
        ) AS w
        INNER JOIN lessons AS l ON w.key = l.key
        ARRAY JOIN [
            (
                'wait_time_seconds',
                if(empty(waits), 0, (waits[intDiv(length(waits) + 1, 2)] + waits[intDiv(length(waits) + 2, 2)]) / 2),
                toFloat64(notEmpty(waits)), length(waits), CAST(waits, 'Array(Nullable(Float64))')
            ),
            (
                'long_wait_share', toFloat64(arrayCount(wait -> wait >= 3, waits)), toFloat64(length(waits)), length(waits),
                CAST([], 'Array(Nullable(Float64))')
            ),
            (
                'second_wait_time_seconds',
                if(
                    empty(second_waits), 0,
                    (second_waits[intDiv(length(second_waits) + 1, 2)] + second_waits[intDiv(length(second_waits) + 2, 2)]) / 2
                ),
                toFloat64(notEmpty(second_waits)), length(second_waits), CAST(second_waits, 'Array(Nullable(Float64))')
            )
        ] AS m
    )
SELECT
    metric, 'lesson' AS window, key, '' AS item,
    fromUnixTimestamp64Micro(toInt64(0), 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, sample_size, parts
FROM metrics
