-- 教研: every row of metrics 25 to 27, recomputed from the stored events. Defined in schemas/metrics/research/feedback.py.
WITH
    /* events */
    links AS
    (
        SELECT key, feedback_id, groupArray(at) AS linked_at
        FROM events
        WHERE type = 'research.improvement.linked'
        GROUP BY key, feedback_id
    ),
    -- 14 days are 1209600 seconds.
    items AS
    (
        SELECT
            f.key AS key, f.given_at AS given_at,
            -- A lesson that ends more than 12 hours after its feedback cannot be; no feedback is later than 28 days.
            f.given_at - f.lesson_stop >= -43200000000 AS has_latency,
            least(greatest(f.given_at - f.lesson_stop, 0), 2419200000000) / 1000000 AS latency,
            notEmpty(l.linked_at) AS improved,
            arrayExists(at -> at >= given_at AND at <= given_at + 1209600000000, l.linked_at) AS closed
        FROM
        (
            SELECT
                key, feedback_id, min(at) AS given_at, argMin(lesson_stop, (at, source, id)) AS lesson_stop
            FROM events
            WHERE type = 'research.feedback.given'
            GROUP BY key, feedback_id
        ) AS f
        LEFT JOIN links AS l ON f.key = l.key AND f.feedback_id = l.feedback_id
    ),
    metrics AS
    (
        SELECT
            m.1 AS metric, key, m.2 AS numerator, m.3 AS denominator, m.4 AS sample_size, m.5 AS parts
        FROM
        (
            SELECT
                key, arraySort(groupArrayIf(latency, has_latency)) AS latencies, length(latencies) AS timed,
                count() AS given, countIf(closed) AS loops
            FROM items
            GROUP BY key
        )
        ARRAY JOIN [
            (
                'feedback_latency_seconds',
                if(timed = 0, 0, (latencies[intDiv(timed + 1, 2)] + latencies[intDiv(timed + 2, 2)]) / 2),
                toFloat64(timed > 0), timed,
                CAST(latencies, 'Array(Nullable(Float64))')
            ),
            (
                'closed_loop_rate', toFloat64(loops), toFloat64(given), given, CAST([], 'Array(Nullable(Float64))')
            )
        ] AS m
        UNION ALL
        SELECT m.1, key, m.2, m.3, m.4, CAST([], 'Array(Nullable(Float64))')
        FROM
        (
            SELECT e.key AS key, e.reports AS reports, i.improvements AS improvements
            FROM
            (
                SELECT key, uniqExactIf(report_id, type = 'research.report.generated') AS reports
                FROM events
                GROUP BY key
            ) AS e
            LEFT JOIN (SELECT key, countIf(improved) AS improvements FROM items GROUP BY key) AS i ON e.key = i.key
        )
        ARRAY JOIN [
            ('reports_generated', toFloat64(reports), toFloat64(1), reports),
            ('improvements_per_report', toFloat64(improvements), toFloat64(reports), reports)
        ] AS m
    )
SELECT
    f.metric AS metric, 'activity' AS window, f.key AS key, '' AS item,
    fromUnixTimestamp64Micro(toInt64(0), 'UTC') AS slot,
    fromUnixTimestamp64Micro(a.start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(a.stop, 'UTC') AS window_end,
    if(f.denominator = 0, NULL, f.numerator / f.denominator) AS value,
    f.numerator AS numerator, f.denominator AS denominator, toUInt32(f.sample_size) AS sample_size, f.parts AS parts
FROM metrics AS f
INNER JOIN activities AS a ON f.key = a.key
