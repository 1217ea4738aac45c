-- Metrics 12 to 14: attendance and punctuality, the five strategies, digital tools.
WITH
    /* events */
    spells AS
    (
        SELECT
            key, strategy, at,
            leadInFrame(at, 1, never) OVER (
                PARTITION BY key ORDER BY at, source, id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
            ) AS next_at
        FROM events
        WHERE type = 'classroom.strategy.changed'
    ),
    strategies AS
    (
        SELECT
            s.key AS key, any(l.first) AS first, any(l.last) AS last, toUInt32(count()) AS changes,
            ['question_led', 'situational', 'interactive', 'evaluative', 'digital'] AS names,
            sumForEach(
                arrayMap(
                    name -> if(
                        name = s.strategy, greatest(0, least(s.next_at, l.last) - greatest(s.at, l.first)) / 1000000, 0
                    ),
                    ['question_led', 'situational', 'interactive', 'evaluative', 'digital']
                )
            ) AS seconds,
            arraySum(seconds) AS total
        FROM spells AS s
        INNER JOIN lessons AS l ON s.key = l.key
        GROUP BY s.key
    ),
    uses AS
    (
        SELECT
            e.key AS key, item, l.first AS first, l.last AS last,
            greatest(e.at, l.first) AS start, greatest(start, least(e.at + 1000 * ifNull(e.duration_ms, 0), l.last)) AS stop
        FROM (SELECT key, at, duration_ms, platform FROM events WHERE type = 'classroom.tool.used') AS e
        INNER JOIN lessons AS l ON e.key = l.key
        ARRAY JOIN ['', toString(e.platform)] AS item
    ),
    -- What a use adds to the ones that began before it.
    added AS
    (
        SELECT
            key, item, first, last, start, stop,
            max(toNullable(stop)) OVER (
                PARTITION BY key, item ORDER BY start, stop ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS covered_to
        FROM uses
    ),
    tools AS
    (
        SELECT key, item, any(first) AS first, any(last) AS last,
            sum(greatest(0, stop - greatest(start, ifNull(covered_to, start)))) AS used_us, toUInt32(count()) AS n
        FROM added
        GROUP BY key, item
    ),
    metrics AS
    (
        SELECT
            f.1 AS metric, key, '' AS item, first AS start, last AS stop, f.2 AS numerator, f.3 AS denominator,
            toUInt32(f.4) AS sample_size, CAST([], 'Array(Float64)') AS parts
        FROM lessons
        ARRAY JOIN arrayConcat(
            if(
                has_started,
                [
                    (
                        'attendance_rate',
                        arraySum(
                            stay -> if(
                                has(students, stay.1),
                                greatest(0, least(stay.3, due.2) - greatest(stay.2, due.1)), 0
                            ), stays
                        ) / 1000000,
                        if(is_measured, length(students) * (due.2 - due.1), 0) / 1000000, length(students)
                    ),
                    (
                        'delayed_start_seconds', least(due.2 - due.1, greatest(0, first - due.1)) / 1000000,
                        toFloat64(has_due), toUInt64(has_due)
                    )
                ], []
            ),
            if(
                has_started AND has_ended,
                [(
                    'early_stop_seconds', least(due.2 - due.1, greatest(0, due.2 - last)) / 1000000, toFloat64(has_due),
                    toUInt64(has_due)
                )], []
            ),
            if(
                key IN (SELECT key FROM events WHERE type = 'classroom.tool.used'), [],
                [('tool_share', toFloat64(0), greatest(0, last - first) / 1000000, toUInt64(0))]
            )
        ) AS f
        UNION ALL
        SELECT f.1, key, f.2, first, last, f.3, f.4, changes, f.5
        FROM strategies
        ARRAY JOIN arrayConcat(
            arrayMap(
                (name, own) -> ('strategy_share', name, toFloat64(own), toFloat64(total), CAST([], 'Array(Float64)')),
                names, seconds
            ),
            [
                (
                    'strategy_balance', '',
                    -arraySum(own -> if(own > 0, own / total * log(own / total), 0), seconds),
                    if(total > 0, log(5), 0), seconds
                )
            ]
        ) AS f
        UNION ALL
        SELECT 'tool_share', key, item, first, last, used_us / 1000000, greatest(0, last - first) / 1000000, n, []
        FROM tools
    )
SELECT
    metric, 'lesson' AS window, key, item,
    fromUnixTimestamp64Micro(toInt64(0), 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, sample_size, CAST(parts, 'Array(Nullable(Float64))') AS parts
FROM metrics
