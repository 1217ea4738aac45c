-- Metric 10: raised hands, and the calls that answer them.
WITH
    /* events */
    -- Of each student, in the order of time with raises first: a queue of the raises that no call has answered yet.
    walked AS
    (
        SELECT
            key, student_id, any(is_of_class) AS is_own,
            arraySort(groupArray((at, toUInt8(type = 'classroom.hand.called')))) AS marks,
            arrayFold(
                (state, mark) -> multiIf(
                    mark.2 = 0, (arrayPushBack(state.1, mark.1), state.2, state.3),
                    empty(state.1), (state.1, state.2, arrayPushBack(state.3, mark.1)),
                    (arrayPopFront(state.1), arrayPushBack(state.2, (state.1[1], mark.1 - state.1[1])), state.3)
                ),
                marks,
                (emptyArrayInt64(), CAST([], 'Array(Tuple(Int64, Int64))'), emptyArrayInt64())
            ) AS walk,
            arrayConcat(arrayMap(pending -> (pending, toInt64(-1)), walk.1), walk.2) AS raises,
            walk.3 AS cold
        FROM classed
        WHERE type IN ('classroom.hand.raised', 'classroom.hand.called')
        GROUP BY key, student_id
    ),
    raised AS
    (
        SELECT key, is_own, raise.1 AS at, raise.2 AS delay FROM walked ARRAY JOIN raises AS raise
    ),
    of_lessons AS
    (
        SELECT
            w.key AS key, any(l.first) AS first, any(l.last) AS last,
            sumIf(arrayCount(raise -> raise.1 BETWEEN l.first AND l.cut, w.raises), is_own) AS n_raised,
            arraySort(
                groupArrayArrayIf(
                    arrayMap(
                        raise -> raise.2, arrayFilter(raise -> raise.2 >= 0 AND raise.1 BETWEEN l.first AND l.cut, w.raises)
                    ), is_own
                )
            ) AS delays,
            sumIf(arrayCount(at -> at BETWEEN l.first AND l.cut, w.cold), is_own) AS n_cold,
            sumIf(arrayCount(mark -> mark.2 = 1 AND mark.1 BETWEEN l.first AND l.cut, w.marks), is_own) AS n_called
        FROM walked AS w
        INNER JOIN lessons AS l ON w.key = l.key
        GROUP BY w.key
    ),
    metrics AS
    (
        SELECT
            'call_through_rate' AS metric, '10m/1m' AS window, key,
            at - positiveModulo(at, 60000000) - 60000000 * arrayJoin(range(10)) AS start, start + 600000000 AS stop,
            start AS slot, toFloat64(countIf(is_own AND delay >= 0)) AS numerator, toFloat64(countIf(is_own)) AS denominator,
            countIf(is_own) AS sample_size, CAST([], 'Array(Nullable(Float64))') AS parts
        FROM raised
        GROUP BY key, start
        UNION ALL
        SELECT m.1, 'lesson', key, first, last, toInt64(0), m.2, m.3, m.4, m.5
        FROM of_lessons
        ARRAY JOIN [
            (
                'call_through_rate', toFloat64(length(delays)), toFloat64(n_raised), n_raised,
                CAST([], 'Array(Nullable(Float64))')
            ),
            ('cold_call_share', toFloat64(n_cold), toFloat64(n_called), n_called, []),
            ('call_delay_seconds', arraySum(delays) / 1000000, toFloat64(length(delays)), length(delays), []),
            (
                'longest_call_delay_seconds', if(empty(delays), 0, delays[-1] / 1000000), toFloat64(notEmpty(delays)),
                length(delays), arrayMap(delay -> delay / 1000000, delays)
            )
        ] AS m
    )
SELECT
    metric, window, key, '' AS item,
    fromUnixTimestamp64Micro(slot, 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, toUInt32(sample_size) AS sample_size, CAST(parts, 'Array(Nullable(Float64))') AS parts
FROM metrics
