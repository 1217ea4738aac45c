-- 备课: every row of figure 16, recomputed from the stored events.
--
-- Parameters: key_from, key_to (first and last teacher), keys (only these; empty: all of them), time_zone (IANA name of
-- the zone whose midnights bound the windows). The figure is defined in schemas/figures.py.
WITH
    (
        SELECT (groupArray(partition), groupArray(position))
        FROM checkpoints FINAL
        WHERE topic = 'classpulse.prep'
    ) AS applied,
    -- Figures are written before the checkpoint: a key whose figures are ahead of it is compared as of its figures.
    (
        SELECT (groupArray(key), groupArray(highest))
        FROM
        (
            SELECT key, max(revision) AS highest
            FROM metric_rows
            WHERE topic = 'classpulse.prep' AND key >= {key_from:String} AND key <= {key_to:String}
            GROUP BY key
            HAVING highest > transform(any(partition), applied.1, applied.2, toUInt64(0))
        )
    ) AS ahead,
    activities AS
    (
        SELECT
            key, toUnixTimestamp64Micro(time) AS at,
            toDate32(toTimeZone(time, {time_zone:String})) AS day
        FROM events_prep FINAL
        WHERE key >= {key_from:String} AND key <= {key_to:String}
          AND (empty({keys:Array(String)}) OR has({keys:Array(String)}, key))
          AND position < greatest(
              transform(partition, applied.1, applied.2, toUInt64(0)), transform(key, ahead.1, ahead.2, toUInt64(0))
          )
          AND type IN (
              'prep.plan.opened', 'prep.heartbeat.recorded', 'prep.plan.edited', 'prep.resource.attached',
              'prep.plan.shared', 'prep.plan.completed'
          )
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
    pieces AS
    (
        SELECT key, [day] AS days, toUInt64(1) AS events, toInt64(0) AS start, toInt64(0) AS stop
        FROM activities
        UNION ALL
        SELECT key, arrayDistinct([day, last_day]), 0, start, stop
        FROM stretches
        WHERE stop - start <= 300000000
    ),
    -- A day lies in seven windows of seven days and in one ISO week; each begins on `first_day` and lasts seven days.
    placed AS
    (
        SELECT
            key, w.1 AS window, w.2 AS first_day, events, start, stop,
            toUnixTimestamp64Micro(toDateTime64(first_day, 6, {time_zone:String})) AS window_start,
            toUnixTimestamp64Micro(toDateTime64(first_day + 7, 6, {time_zone:String})) AS window_stop
        FROM pieces
        ARRAY JOIN arrayDistinct(arrayConcat(
            arrayFlatten(arrayMap(day -> arrayMap(back -> ('7d/1d', day - back), range(7)), days)),
            arrayMap(day -> ('iso_week', day - (toDayOfWeek(day) - 1)), days)
        )) AS w
    ),
    figures AS
    (
        SELECT
            key, window, window_start, window_stop,
            sum(greatest(0, least(stop, window_stop) - greatest(start, window_start))) / 60000000 AS minutes,
            toUInt32(sum(events)) AS sample_size
        FROM placed
        GROUP BY key, window, window_start, window_stop
    )
SELECT
    'active_prep_minutes' AS metric, window, key, '' AS item,
    fromUnixTimestamp64Micro(figures.window_start, 'UTC') AS slot,
    fromUnixTimestamp64Micro(figures.window_start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(window_stop, 'UTC') AS window_end,
    toNullable(minutes) AS value, minutes AS numerator, toFloat64(1) AS denominator, sample_size
FROM figures
