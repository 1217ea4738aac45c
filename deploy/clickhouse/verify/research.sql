-- 教研: every row of figure 22, recomputed from the stored events.
--
-- Parameters: key_from, key_to (first and last activity), keys (only these; empty: all of them), time_zone (unused here).
-- Times are Int64 microseconds since the epoch until the last SELECT. The figures are defined in schemas/figures.py.
WITH
    (
        SELECT (groupArray(partition), groupArray(position))
        FROM checkpoints FINAL
        WHERE topic = 'classpulse.research'
    ) AS applied,
    -- Figures are written before the checkpoint: a key whose figures are ahead of it is compared as of its figures.
    (
        SELECT (groupArray(key), groupArray(highest))
        FROM
        (
            SELECT key, max(revision) AS highest
            FROM metric_rows
            WHERE topic = 'classpulse.research' AND key >= {key_from:String} AND key <= {key_to:String}
            GROUP BY key
            HAVING highest > transform(any(partition), applied.1, applied.2, toUInt64(0))
        )
    ) AS ahead,
    toInt64(9000000000000000000) AS never,
    events AS
    (
        SELECT
            key, type, source, id, toUnixTimestamp64Micro(time) AS at, teacher_id, invited,
            ifNull(toUnixTimestamp64Micro(scheduled_start), 0) AS due_start,
            ifNull(toUnixTimestamp64Micro(scheduled_end), 0) AS due_stop
        FROM events_research FINAL
        WHERE key >= {key_from:String} AND key <= {key_to:String}
          AND (empty({keys:Array(String)}) OR has({keys:Array(String)}, key))
          AND position < greatest(
              transform(partition, applied.1, applied.2, toUInt64(0)), transform(key, ahead.1, ahead.2, toUInt64(0))
          )
    ),
    activities AS
    (
        SELECT key, argMin((invited, due_start, due_stop), (at, source, id)) AS plan, plan.2 AS start, plan.3 AS stop
        FROM events
        WHERE type = 'research.activity.published'
        GROUP BY key
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
    guests AS
    (
        SELECT key, start, stop, arrayJoin(arrayDistinct(plan.1)) AS teacher_id
        FROM activities
    ),
    -- Whole numbers, so that exactly 80 % is 80 %.
    stays AS
    (
        SELECT
            g.key AS key, g.teacher_id AS teacher_id,
            countIf(t.joined) > 0 AS came,
            sumIf(greatest(0, least(t.next_at, g.stop) - greatest(t.at, g.start)), t.joined) AS present_us,
            any(g.stop) > any(g.start) AND present_us * 5 >= (any(g.stop) - any(g.start)) * 4 AS stayed
        FROM guests AS g
        LEFT JOIN turns AS t ON g.key = t.key AND g.teacher_id = t.teacher_id
        GROUP BY key, teacher_id
    ),
    counted AS
    (
        SELECT key, sum(came) AS attended, sum(stayed) AS effective
        FROM stays
        GROUP BY key
    ),
    figures AS
    (
        SELECT
            m.1 AS metric, a.key AS key, a.start AS start, a.stop AS stop,
            toFloat64(m.2) AS numerator, toFloat64(length(arrayDistinct(a.plan.1))) AS denominator
        FROM activities AS a
        LEFT JOIN counted AS c ON a.key = c.key
        ARRAY JOIN [
            ('participation_rate', c.attended), ('effective_participation_rate', c.effective)
        ] AS m
    )
SELECT
    metric, 'activity' AS window, key, '' AS item,
    fromUnixTimestamp64Micro(toInt64(0), 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, toUInt32(denominator) AS sample_size
FROM figures
