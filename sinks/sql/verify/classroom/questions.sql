-- Metrics 5 to 7: how long the teacher waits, who answers, how fast and how well.
WITH
    /* events */
    of_prompts AS
    (
        SELECT
            f.1 AS metric, 'prompt' AS window, key, prompt_id AS item, toInt64(0) AS slot, asked AS start, closed AS stop,
            f.2 AS numerator, toFloat64(f.3) AS denominator, toUInt32(f.4) AS sample_size, CAST([], 'Array(Float64)') AS parts
        FROM rates
        ARRAY JOIN [
            ('response_rate', toFloat64(responders), asked_students, asked_students),
            ('correct_rate', toFloat64(correct_answers), graded, graded),
            ('answer_latency_p50_ms', if(timed > 0, latency[1], 0), toUInt64(timed > 0), timed),
            ('answer_latency_p90_ms', if(timed > 0, latency[2], 0), toUInt64(timed > 0), timed)
        ] AS f
    ),
    of_windows AS
    (
        SELECT
            'response_rate' AS metric, '10m/1m' AS window, key, '' AS item, start AS slot, start, start + 600000000 AS stop,
            sum(if(asked_students > 0, responders / asked_students, 0)) AS numerator,
            toFloat64(countIf(asked_students > 0)) AS denominator,
            toUInt32(countIf(asked_students > 0)) AS sample_size, CAST([], 'Array(Float64)') AS parts
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
    ),
    -- The wait for a prompt is the time to its first answer at or after the question.
    questioned AS
    (
        SELECT
            key, any(first) AS start, any(last) AS stop,
            sum(if(asked_students > 0, responders / asked_students, 0)) AS sum_of_rates,
            countIf(asked_students > 0) AS known_rates,
            arraySort(
                groupArrayArray(
                    arraySlice(arraySort(arrayFilter(wait -> wait >= 0, arrayMap(at -> at - asked, answers_at))), 1, 1)
                )
            ) AS waits_us,
            length(waits_us) AS n,
            arrayMap(wait -> wait / 1000000, waits_us) AS waits,
            if(n > 0, (waits[intDiv(n + 1, 2)] + waits[intDiv(n + 2, 2)]) / 2, 0) AS median
        FROM rates
        GROUP BY key
    ),
    -- The sketch counts the latencies in buckets of ratio 1.01 / 0.99.
    answered AS
    (
        SELECT
            key,
            countIf(correct) AS correct_answers,
            count(correct) AS graded,
            count(latency_ms) AS timed,
            quantilesExactInclusive(0.5, 0.9)(latency_ms) AS latency,
            sumMapIf(
                [toInt32(ceil(log(greatest(1, ifNull(latency_ms, 1))) / log(1.01 / 0.99)))], [toUInt64(1)],
                isNotNull(latency_ms)
            ) AS buckets,
            arrayFlatten(arrayMap((bucket, n) -> [toFloat64(bucket), toFloat64(n)], buckets.1, buckets.2)) AS sketch
        FROM events
        WHERE type = 'classroom.answer.submitted'
        GROUP BY key
    ),
    metrics AS
    (
        SELECT metric, window, key, item, slot, start, stop, numerator, denominator, sample_size, parts FROM of_prompts
        UNION ALL
        SELECT metric, window, key, item, slot, start, stop, numerator, denominator, sample_size, parts FROM of_windows
        UNION ALL
        SELECT f.1, 'lesson', key, '', toInt64(0), start, stop, f.2, toFloat64(f.3), toUInt32(f.4), f.5
        FROM questioned
        ARRAY JOIN [
            ('response_rate', sum_of_rates, known_rates, known_rates, CAST([], 'Array(Float64)')),
            ('wait_time_seconds', median, toUInt64(n > 0), n, waits),
            ('long_wait_share', toFloat64(arrayCount(wait -> wait >= 3000000, waits_us)), n, n, [])
        ] AS f
        UNION ALL
        SELECT f.1, 'lesson', a.key, '', toInt64(0), l.first, l.last, f.2, toFloat64(f.3), toUInt32(f.4), f.5
        FROM answered AS a
        INNER JOIN lessons AS l ON a.key = l.key
        ARRAY JOIN [
            ('correct_rate', toFloat64(a.correct_answers), a.graded, a.graded, CAST([], 'Array(Float64)')),
            ('answer_latency_p50_ms', if(a.timed > 0, a.latency[1], 0), toUInt64(a.timed > 0), a.timed, a.sketch),
            ('answer_latency_p90_ms', if(a.timed > 0, a.latency[2], 0), toUInt64(a.timed > 0), a.timed, a.sketch)
        ] AS f
    )
SELECT
    metric, window, key, item,
    fromUnixTimestamp64Micro(slot, 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, sample_size, CAST(parts, 'Array(Nullable(Float64))') AS parts
FROM metrics
