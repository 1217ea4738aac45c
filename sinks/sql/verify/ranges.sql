-- Ranges of keys that hold at most about `rows_per_range` events and metrics each, so that each is verified in bounded memory.
--
-- Parameters: events_table, metrics (names of the family's metrics), rows_per_range, last_aged_day (metrics written until
-- then are not looked at).
SELECT min(key) AS key_from, max(key) AS key_to
FROM
(
    SELECT key, intDiv(sum(sum(n)) OVER (ORDER BY key), {rows_per_range:UInt64}) AS nth
    FROM
    (
        SELECT key, count() AS n FROM {events_table:Identifier} GROUP BY key
        UNION ALL
        SELECT key, count() AS n FROM metric_rows WHERE metric IN {metrics:Array(String)} AND toDate(written_at) > {last_aged_day:Date}
        GROUP BY key
    )
    GROUP BY key
)
GROUP BY nth
ORDER BY nth
