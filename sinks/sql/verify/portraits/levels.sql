-- Levels, activity and places of the entities of one slice, from the stored observations, against what the portraits say.
--
-- With t the days since the first observation, a level is the running sum of n_j x_j 2^(t_j / h) over that of n_j 2^(t_j / h).
-- Over 30 years the powers would grow too large for a number, and each sum is made anew.
WITH
    latest AS
    (
        SELECT school_id, entity_id, dimension, day, last.1 AS observed, last.2 AS level, last.3 AS active_days_7,
            last.4 AS active_days_28, last.5 AS inactive, last.6 AS peer_group, last.8 AS sample_size, last.9 AS weight
        FROM
        (
            SELECT school_id, entity_id, dimension, day,
                argMax(
                    tuple(
                        observed, level, active_days_7, active_days_28, inactive, peer_group, live, sample_size, weight
                    ), recorded_at
                ) AS last
            FROM portraits
            WHERE kind = {kind:String} AND cityHash64(entity_id) % {slices:UInt32} = {slice:UInt32}
            GROUP BY school_id, entity_id, dimension, day
        )
        WHERE last.7 = 1
    ),
    activity AS
    (
        SELECT entity_id, groupUniqArray(day) AS active,
            arrayFilter(
                d -> d <= {last_day_over:Date32} AND NOT arrayExists(a -> a > d - {inactive_days:UInt8} AND a <= d, active),
                arrayMap(a -> a + {inactive_days:UInt8}, active)
            ) AS silent
        FROM latest
        WHERE observed IS NOT NULL
        GROUP BY entity_id
    ),
    levels AS
    (
        SELECT entity_id, dimension,
            arraySort(groupArray((day, assumeNotNull(observed), greatest(1., toFloat64(sample_size))))) AS seen,
            arrayMap(o -> o.1, seen) AS days,
            arrayMap(d -> toFloat64(dateDiff('day', days[1], d)), days) AS t,
            arrayMap(at -> pow(2, least(at, 11000) / {half_life:Float64}), t) AS grown,
            if(
                t[-1] <= 11000,
                arrayMap(
                    (s, w, g) -> (s / w, w / g),
                    arrayCumSum(arrayMap((o, g) -> o.2 * o.3 * g, seen, grown)),
                    arrayCumSum(arrayMap((o, g) -> o.3 * g, seen, grown)), grown
                ),
                arrayMap(
                    at -> (
                        arraySum((o, u) -> if(u > at, 0, o.2 * o.3 * pow(2, (u - at) / {half_life:Float64})), seen, t)
                        / arraySum((o, u) -> if(u > at, 0, o.3 * pow(2, (u - at) / {half_life:Float64})), seen, t),
                        arraySum((o, u) -> if(u > at, 0, o.3 * pow(2, (u - at) / {half_life:Float64})), seen, t)
                    ), t
                )
            ) AS level
        FROM latest
        WHERE observed IS NOT NULL
        GROUP BY entity_id, dimension
    ),
    places AS
    (
        SELECT entity_id, from_week, last.1 AS school_id, last.2 AS peer_group
        FROM
        (
            SELECT entity_id, from_week, argMax(tuple(school_id, peer_group, live), recorded_at) AS last
            FROM portrait_places
            WHERE kind = {kind:String}
            GROUP BY entity_id, from_week
        )
        WHERE last.3 = 1
    ),
    said AS
    (
        SELECT l.entity_id AS entity_id, l.dimension AS dimension, row.1 AS day, row.2.1 AS level, row.2.2 AS weight,
            row.3 AS inactive,
            arrayCount(x -> x > day - {active_short:UInt8} AND x <= day, a.active) AS active_days_7,
            arrayCount(x -> x > day - {active_long:UInt8} AND x <= day, a.active) AS active_days_28,
            toDate32(toMonday(day)) AS week
        FROM levels AS l
        INNER JOIN activity AS a ON a.entity_id = l.entity_id
        ARRAY JOIN arrayConcat(
            arrayMap((d, m) -> (d, m, 0), l.days, l.level),
            arrayMap(
                d -> (d, l.level[arrayCount(x -> x < d, l.days)], 1),
                arrayFilter(d -> d > l.days[1], a.silent)
            )
        ) AS row
    ),
    expected AS
    (
        SELECT s.entity_id AS entity_id, s.dimension AS dimension, s.day AS day, s.level AS level, s.weight AS weight, s.inactive AS inactive,
            s.active_days_7 AS active_days_7, s.active_days_28 AS active_days_28, p.school_id AS school_id,
            if({kind:String} = 'group', 'all', p.peer_group) AS peer_group, 1 AS is
        FROM said AS s
        ASOF LEFT JOIN places AS p ON p.entity_id = s.entity_id AND p.from_week <= s.week
    ),
    stored AS (SELECT *, 1 AS is FROM latest)
SELECT
    if(e.is = 1, e.entity_id, s.entity_id) AS entity_id, if(e.is = 1, e.dimension, s.dimension) AS dimension,
    if(e.is = 1, e.day, s.day) AS day, multiIf(s.is = 0, 'missing', e.is = 0, 'unexpected', 'different') AS difference,
    if(e.is = 1, map(
        'level', toString(e.level), 'weight', toString(e.weight), 'inactive', toString(e.inactive), 'active_days_7', toString(e.active_days_7),
        'active_days_28', toString(e.active_days_28), 'school_id', toString(e.school_id),
        'peer_group', toString(e.peer_group)), map()) AS expected,
    if(s.is = 1, map(
        'level', toString(s.level), 'weight', toString(s.weight), 'inactive', toString(s.inactive), 'active_days_7', toString(s.active_days_7),
        'active_days_28', toString(s.active_days_28), 'school_id', toString(s.school_id),
        'peer_group', toString(s.peer_group)), map()) AS stored,
    count() OVER () AS total
FROM expected AS e
FULL OUTER JOIN stored AS s
    ON e.entity_id = s.entity_id AND e.dimension = s.dimension AND e.day = s.day AND e.school_id = s.school_id
WHERE e.is != s.is OR NOT abs(e.level - s.level) <= 1e-9 * greatest(1., abs(e.level))
    OR NOT abs(e.weight - s.weight) <= 1e-9 * greatest(1., abs(e.weight)) OR e.inactive != s.inactive
    OR e.active_days_7 != s.active_days_7 OR e.active_days_28 != s.active_days_28 OR e.peer_group != s.peer_group
ORDER BY entity_id, dimension, day
LIMIT {limit:UInt32}
SETTINGS join_use_nulls = 0
