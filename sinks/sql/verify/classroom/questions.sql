-- Metrics 5 to 7: who answers, how fast and how well.
WITH
    /* events */
    of_prompts AS
    (
        SELECT
            f.1 AS metric, 'prompt' AS window, key, prompt_id AS item, toInt64(0) AS slot, asked AS start, closed AS stop,
            f.2 AS numerator, toFloat64(f.3) AS denominator, toUInt32(f.4) AS sample_size, CAST([], 'Array(Float64)') AS parts
        FROM
        (
            SELECT
                *, arrayCount(a -> ifNull(a.3, false), answers) AS correct_answers,
                arrayCount(a -> isNotNull(a.3), answers) AS graded,
                arrayMap(a -> assumeNotNull(a.4), arrayFilter(a -> isNotNull(a.4), answers)) AS latencies,
                length(latencies) AS timed, arrayReduce('quantilesExactInclusive(0.5, 0.9)', latencies) AS latency
            FROM rates
        )
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
    -- The first answer to a prompt is the first one at or after the question.
    questioned AS
    (
        SELECT
            key, any(first) AS start, any(last) AS stop,
            sum(if(is_inside AND asked_students > 0, responders / asked_students, 0)) AS sum_of_rates,
            countIf(is_inside AND asked_students > 0) AS known_rates,
            arraySort(
                groupArrayArrayIf(
                    arraySlice(arraySort(arrayFilter(wait -> wait >= 0, arrayMap(a -> a.2 - asked, answers))), 1, 1), is_inside
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
            key, first, last,
            countIf(counts AND answer.3) AS correct_answers,
            countIf(counts AND isNotNull(answer.3)) AS graded,
            countIf(counts AND isNotNull(answer.4)) AS timed,
            quantilesExactInclusiveIf(0.5, 0.9)(answer.4, counts) AS latency,
            sumMapIf(
                [toInt32(ceil(log(greatest(1, ifNull(answer.4, 1))) / log(1.01 / 0.99)))], [toUInt64(1)],
                counts AND isNotNull(answer.4)
            ) AS buckets,
            arrayFlatten(arrayMap((bucket, n) -> [toFloat64(bucket), toFloat64(n)], buckets.1, buckets.2)) AS sketch
        FROM
        (
            SELECT key, first, last, true AS counts, arrayJoin(answers) AS answer FROM prompts
            UNION ALL
            -- Where no answer counts there is a row as well.
            SELECT key, first, last, false, ('', toInt64(0), NULL, NULL) FROM prompts WHERE n_answers > 0
        )
        GROUP BY key, first, last
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
            ('first_answer_seconds', median, toUInt64(n > 0), n, waits)
        ] AS f
        UNION ALL
        SELECT f.1, 'lesson', a.key, '', toInt64(0), a.first, a.last, f.2, toFloat64(f.3), toUInt32(f.4), f.5
        FROM answered AS a
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
