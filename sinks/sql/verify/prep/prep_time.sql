-- 备课: every row of metrics 16 and 17, recomputed from the stored events. Defined in schemas/metrics/prep/prep_time.py.
WITH
    /* events */
    activities AS
    (
        SELECT key, at, day
        FROM events
        WHERE type IN (
            'prep.plan.opened', 'prep.heartbeat.recorded', 'prep.plan.edited', 'prep.plan.coedited',
            'prep.resource.attached', 'prep.plan.shared', 'prep.plan.completed'
        )
          AND NOT (type = 'prep.heartbeat.recorded' AND ifNull(NOT had_input, false))
          AND NOT (type = 'prep.plan.coedited' AND editor_id != key)
    ),
    stretches AS
    (
        SELECT
            key, at AS start, day,
            leadInFrame(at, 1, at) OVER following AS stop,
            leadInFrame(day, 1, day) OVER following AS last_day
        FROM (SELECT DISTINCT key, at, day FROM activities)
        WINDOW following AS (PARTITION BY key ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ),
    -- A stretch over midnight is cut there: each of its days has the part inside.
    pieces AS
    (
        SELECT key, day, toUInt64(1) AS activity, toInt64(0) AS active_us
        FROM activities
        UNION ALL
        SELECT
            key, piece_day AS day, 0,
            least(stop, toUnixTimestamp64Micro(toDateTime64(piece_day + 1, 6, {time_zone:String})))
                - greatest(start, toUnixTimestamp64Micro(toDateTime64(piece_day, 6, {time_zone:String})))
        FROM stretches
        ARRAY JOIN arrayDistinct([day, last_day]) AS piece_day
        WHERE stop - start <= 300000000
    ),
    days AS
    (
        -- 12 hours a day at most.
        SELECT key, day, sum(activity) AS activities, least(sum(active_us), 43200000000) AS active_us
        FROM pieces AS p
        GROUP BY key, day
    ),
    -- A day lies in seven windows of seven days and in one ISO week.
    windows AS
    (
        SELECT
            key, w.1 AS window, w.2 AS first_day, toUInt32(sum(activities)) AS sample_size,
            sumForEach(arrayMap(weekday -> if(weekday = toDayOfWeek(day), active_us, toInt64(0)), range(1, 8))) AS by_weekday,
            arraySum(by_weekday) AS total
        FROM days
        ARRAY JOIN arrayConcat(
            arrayMap(back -> ('7d/1d', day - back), range(7)), [('iso_week', day - (toDayOfWeek(day) - 1))]
        ) AS w
        GROUP BY key, window, first_day
    ),
    metrics AS
    (
        SELECT
            key, window, first_day, sample_size, m.1 AS metric, m.2 AS numerator, m.3 AS denominator, m.4 AS parts
        FROM windows
        ARRAY JOIN [
            ('active_prep_minutes', total / 60000000, toFloat64(1), CAST([], 'Array(Nullable(Float64))')),
            (
                'prep_regularity',
                -arraySum(
                    us -> if(us = 0, 0, us / arraySum(arraySlice(by_weekday, 1, 5)) * log(us / arraySum(arraySlice(by_weekday, 1, 5)))),
                    arraySlice(by_weekday, 1, 5)
                ),
                if(total = 0, 0, log(5)),
                CAST(arrayMap(us -> us / 60000000, by_weekday), 'Array(Nullable(Float64))')
            )
        ] AS m
    )
SELECT
    metric, window, key, '' AS item,
    toTimeZone(toDateTime64(first_day, 6, {time_zone:String}), 'UTC') AS slot, slot AS window_start,
    toTimeZone(toDateTime64(first_day + 7, 6, {time_zone:String}), 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value, numerator, denominator, sample_size, parts
FROM metrics
