-- 教研: every row of metrics 22 to 24, recomputed from the stored events. Defined in schemas/metrics/research/meetings.py.
WITH
    /* events */
    -- The sum over all pairs, as the metric is defined: participants are few.
    differences AS
    (
        SELECT
            key, groupArrayIf(contributions, came OR contributions > 0) AS counts,
            arraySum(one -> arraySum(other -> abs(toInt64(one) - toInt64(other)), counts), counts) AS apart
        FROM participants
        GROUP BY key
    ),
    schools AS
    (
        SELECT key, groupArray(members) AS sizes
        FROM
        (
            SELECT key, school, count() AS members
            FROM
            (
                SELECT key, argMin(schoolid, (at, source, id)) AS school
                FROM events
                WHERE type = 'research.participant.joined' AND schoolid != ''
                  AND (key, teacher_id) IN (SELECT key, teacher_id FROM participants WHERE came)
                GROUP BY key, teacher_id
            )
            GROUP BY key, school
        )
        GROUP BY key
    ),
    counted AS
    (
        SELECT
            key, countIf(came AND is_invited) AS attended, countIf(stayed) AS effective,
            sum(contributions) AS posted, sum(present_us) AS present_us
        FROM participants
        GROUP BY key
    ),
    metrics AS
    (
        SELECT
            m.1 AS metric, a.key AS key, a.start AS start, a.stop AS stop,
            toFloat64(m.2) AS numerator, toFloat64(m.3) AS denominator, toUInt32(m.4) AS sample_size,
            if(
                m.1 = 'contribution_gini' AND m.4 > 0,
                [if(m.4 > 1 AND m.3 > 0, toNullable(m.2 / m.3 * m.4 / (m.4 - 1)), NULL)], []
            ) AS parts
        FROM activities AS a
        LEFT JOIN counted AS c ON a.key = c.key
        LEFT JOIN differences AS d ON a.key = d.key
        LEFT JOIN schools AS s ON a.key = s.key
        ARRAY JOIN [
            (
                'participation_rate', toFloat64(c.attended),
                toFloat64(length(arrayDistinct(a.guests))), toUInt64(length(arrayDistinct(a.guests)))
            ),
            (
                'effective_participation_rate', toFloat64(c.effective),
                toFloat64(a.scheduled * length(arrayDistinct(a.guests))),
                toUInt64(a.scheduled * length(arrayDistinct(a.guests)))
            ),
            ('contributions_per_minute', toFloat64(c.posted), c.present_us / 60000000, toUInt64(intDiv(c.present_us, 60000000))),
            (
                'contribution_gini', toFloat64(d.apart), toFloat64(2 * length(d.counts) * arraySum(d.counts)),
                toUInt64(length(d.counts))
            ),
            (
                'cross_school_mix',
                -arraySum(size -> size / arraySum(s.sizes) * log(size / arraySum(s.sizes)), s.sizes),
                if(empty(s.sizes), 0, log(greatest(2, length(s.sizes)))), arraySum(s.sizes)
            )
        ] AS m
        WHERE a.published
    )
SELECT
    metric, 'activity' AS window, key, '' AS item,
    fromUnixTimestamp64Micro(toInt64(0), 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, sample_size, CAST(parts, 'Array(Nullable(Float64))') AS parts
FROM metrics
