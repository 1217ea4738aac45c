-- 教研: what the queries of this folder share: the stored events that count, the plan of each activity, and who was there.
--
-- Parameters: topic, key_from, key_to (first and last activity), keys (only these; empty: all of them). Times are Int64
-- microseconds since the epoch until the last SELECT.
/* applied */
    toInt64(9000000000000000000) AS never,
    events AS
    (
        SELECT
            key, type, source, id, toUnixTimestamp64Micro(time) AS at, schoolid, teacher_id, invited, feedback_id,
            improvement_id, report_id,
            ifNull(toUnixTimestamp64Micro(scheduled_start), 0) AS due_start,
            ifNull(toUnixTimestamp64Micro(scheduled_end), 0) AS due_stop,
            ifNull(toUnixTimestamp64Micro(lesson_end), 0) AS lesson_stop
        FROM events_research FINAL
        WHERE key >= {key_from:String} AND key <= {key_to:String}
          AND (empty({keys:Array(String)}) OR has({keys:Array(String)}, key))
          AND position < greatest(
              transform(partition, applied.1, applied.2, toUInt64(0)), transform(key, ahead.1, ahead.2, toUInt64(0))
          )
    ),
    -- Without an announcement nothing is scheduled: the events alone bound the rows. A scheduled time of no length, or of
    -- more than 7 days, counts as none.
    activities AS
    (
        SELECT
            key, published, plan.1 AS guests, plan.2 AS due_start, plan.3 AS due_stop,
            published AND due_stop > due_start AND due_stop - due_start <= 604800000000 AS scheduled,
            if(scheduled, due_start, first_at) AS start, if(scheduled, due_stop, last_at) AS stop
        FROM
        (
            SELECT
                key, countIf(type = 'research.activity.published') > 0 AS published, min(at) AS first_at, max(at) AS last_at,
                argMinIf((invited, due_start, due_stop), (at, source, id), type = 'research.activity.published') AS plan
            FROM events
            GROUP BY key
        )
    ),
    -- A repeated joined or left has no effect, nor has a left before any joined: `joined` must differ from the one before.
    attendance AS
    (
        SELECT
            key, teacher_id, at, type = 'research.participant.joined' AS joined,
            lagInFrame(joined, 1, toUInt8(0)) OVER (
                PARTITION BY key, teacher_id ORDER BY at, joined
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            ) AS joined_before
        FROM events
        WHERE type IN ('research.participant.joined', 'research.participant.left')
    ),
    turns AS
    (
        SELECT
            key, teacher_id, at, joined,
            leadInFrame(at, 1, never) OVER (
                PARTITION BY key, teacher_id ORDER BY at, joined
                ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            ) AS next_at
        FROM attendance
        WHERE joined != joined_before
    ),
    -- Up to 30 minutes before and after the scheduled time; who never left stayed until its end.
    presence AS
    (
        SELECT t.key AS key, t.teacher_id AS teacher_id,
            sum(
                greatest(
                    0, least(if(t.next_at = never, a.due_stop, t.next_at), a.due_stop + 1800000000)
                        - greatest(t.at, a.due_start - 1800000000)
                )
            ) AS present_us
        FROM turns AS t
        INNER JOIN activities AS a ON t.key = a.key
        WHERE t.joined AND a.scheduled
        GROUP BY t.key, t.teacher_id
    ),
    given AS (SELECT DISTINCT key, feedback_id FROM events WHERE type = 'research.feedback.given'),
    -- Everyone who is invited by any announcement or has an event of their own, with what they did.
    persons AS
    (
        SELECT
            key, teacher_id,
            countIf(type = 'research.participant.joined') AS joins,
            countIf(type = 'research.contribution.posted') AS contributions,
            countIf(type = 'research.lesson.observed') AS observations,
            uniqExactIf(feedback_id, type = 'research.feedback.given') AS feedback_items,
            uniqExactIf(
                feedback_id, type = 'research.improvement.linked' AND (key, feedback_id) IN given
            ) AS improvements
        FROM
        (
            SELECT key, teacher_id, type, feedback_id
            FROM events
            WHERE teacher_id != ''
            UNION ALL
            SELECT key, arrayJoin(invited), type, ''
            FROM events
            WHERE type = 'research.activity.published'
        )
        GROUP BY key, teacher_id
    ),
    -- Whole numbers, so that exactly 80 % is 80 %.
    participants AS
    (
        SELECT
            p.key AS key, p.teacher_id AS teacher_id, if(a.scheduled, s.present_us > 0, p.joins > 0) AS came, p.contributions AS contributions,
            p.observations AS observations, p.feedback_items AS feedback_items, p.improvements AS improvements,
            a.published AS published, a.start AS start, a.stop AS stop, has(a.guests, p.teacher_id) AS is_invited,
            s.present_us AS present_us,
            is_invited AND a.scheduled AND s.present_us * 5 >= (a.due_stop - a.due_start) * 4 AS stayed
        FROM persons AS p
        INNER JOIN activities AS a ON p.key = a.key
        LEFT JOIN presence AS s ON p.key = s.key AND p.teacher_id = s.teacher_id
    ),
