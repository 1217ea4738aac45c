-- Recomputed rows against stored rows of one range of keys: how many, how many differ, and which.
--
-- Parameters: those of the family's file, metrics (names of its metrics), highest (the largest value possible of each),
-- catalogue_version, limit (differences listed),
-- topic, last_aged_day (events stored until then may be gone), reach_us (metrics depend on the events of their window and
-- on those so far outside it; -1: on every event of the key).
-- The family's file stands in the place of the comment in brackets. Floats: relative tolerance 1e-9, or 1e-9 absolute.
-- `signature` is the same for the same differences, whatever their order.
WITH
    -- Keys that may have lost events, and up to which start of a window their metrics are not complete.
    aged AS
    (
        SELECT
            key, toUInt8(1) AS is_aged,
            if(
                {reach_us:Int64} < 0, toInt64(9223372036854775807),
                toUnixTimestamp64Micro(max(last_time)) + {reach_us:Int64}
            ) AS until_us
        FROM event_days
        WHERE topic = {topic:String} AND key >= {key_from:String} AND key <= {key_to:String}
          AND day <= {last_aged_day:Date}
        GROUP BY key
    )
SELECT
    countIf(is_expected) AS rows_expected,
    countIf(is_stored) AS rows_stored,
    countIf(kind != '') AS differing_rows,
    groupBitXorIf(
        cityHash64(kind, metric, window, key, item, slot_us, columns, toString(expected), toString(stored)), kind != ''
    ) AS signature,
    groupUniqArrayIf(key, kind != '') AS differing_keys,
    arraySlice(
        groupArraySortedIf(1000)((key, metric, window, item, slot_us, kind, columns, expected, stored), kind != ''),
        1, {limit:UInt32}
    ) AS differences
FROM
(
    SELECT
        e.there = 1 AS is_expected,
        s.there = 1 AS is_stored,
        if(is_expected, e.metric, s.metric) AS metric,
        if(is_expected, e.window, s.window) AS window,
        if(is_expected, e.key, s.key) AS key,
        if(is_expected, e.item, s.item) AS item,
        toUnixTimestamp64Micro(if(is_expected, e.slot, s.slot)) AS slot_us,
        arrayFilter(
            column -> column != '',
            [
                if(e.window_start = s.window_start, '', 'window_start'),
                if(e.window_end = s.window_end, '', 'window_end'),
                if(
                    (isNull(e.value) AND isNull(s.value)) OR ifNull(
                        isFinite(s.value)
                            AND abs(e.value - s.value) <= 1e-9 * greatest(1, abs(e.value), abs(s.value)), 0
                    ), '', 'value'
                ),
                if(
                    isFinite(s.numerator)
                        AND abs(e.numerator - s.numerator) <= 1e-9 * greatest(1, abs(e.numerator), abs(s.numerator)),
                    '', 'numerator'
                ),
                if(
                    isFinite(s.denominator) AND abs(e.denominator - s.denominator)
                        <= 1e-9 * greatest(1, abs(e.denominator), abs(s.denominator)),
                    '', 'denominator'
                ),
                if(e.sample_size = s.sample_size, '', 'sample_size'),
                if(
                    length(e.parts) = length(s.parts) AND arrayAll(
                        n -> (isNull(e.parts[n]) AND isNull(s.parts[n])) OR ifNull(
                            isFinite(s.parts[n]) AND abs(e.parts[n] - s.parts[n])
                                <= 1e-9 * greatest(1, abs(e.parts[n]), abs(s.parts[n])), 0
                        ),
                        arrayEnumerate(e.parts)
                    ), '', 'parts'
                ),
                -- Outside the range that the metric's declaration gives, whatever the events say.
                if(
                    ifNull(s.value, 0) BETWEEN -1e-9
                        AND transform(s.metric, {metrics:Array(String)}, {highest:Array(Float64)}, 0.) + 1e-9,
                    '', 'range'
                ),
                if(s.catalogue_version = {catalogue_version:UInt16}, '', 'catalogue_version')
            ]
        ) AS columns_that_differ,
        multiIf(
            NOT is_stored, 'missing', NOT is_expected, 'unexpected', notEmpty(columns_that_differ), 'different', ''
        ) AS kind,
        if(kind = 'different', columns_that_differ, []) AS columns,
        (
            toUnixTimestamp64Micro(e.window_start), toUnixTimestamp64Micro(e.window_end), e.value, e.numerator,
            e.denominator, e.sample_size, e.parts, {catalogue_version:UInt16}
        ) AS expected,
        (
            toUnixTimestamp64Micro(s.window_start), toUnixTimestamp64Micro(s.window_end), s.value, s.numerator,
            s.denominator, s.sample_size, s.parts, s.catalogue_version, s.partition, s.revision
        ) AS stored
    FROM
    (
        SELECT
            toString(metric) AS metric, toString(window) AS window, r.key AS key, item, slot, window_start, window_end, value,
            numerator, denominator, sample_size, parts, toUInt8(1) AS there
        FROM (/* recomputed rows */) AS r
        LEFT JOIN aged ON r.key = aged.key
        WHERE aged.is_aged = 0 OR toUnixTimestamp64Micro(window_start) > aged.until_us
    ) AS e
    FULL OUTER JOIN
    (
        SELECT
            toString(metric) AS metric, toString(window) AS window, r.key AS key, item, slot, window_start, window_end, value,
            numerator, denominator, sample_size, parts, catalogue_version, partition, revision, toUInt8(1) AS there
        FROM metric_rows AS r FINAL
        LEFT JOIN aged ON r.key = aged.key
        WHERE metric IN {metrics:Array(String)}
          AND r.key >= {key_from:String} AND r.key <= {key_to:String}
          AND (empty({keys:Array(String)}) OR has({keys:Array(String)}, r.key))
          -- A metric written on an aged day has no event stored later: it may be gone itself, or all its events are.
          AND toDate(written_at) > {last_aged_day:Date}
          AND (aged.is_aged = 0 OR toUnixTimestamp64Micro(window_start) > aged.until_us)
    ) AS s
    ON e.metric = s.metric AND e.window = s.window AND e.key = s.key AND e.item = s.item AND e.slot = s.slot
)
-- Looking for comparisons that follow from others takes a third of the planning, and there are none.
SETTINGS optimize_and_compare_chain = 0
