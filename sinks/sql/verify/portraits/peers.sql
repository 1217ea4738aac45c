-- Median and MAD of every peer group of one ISO week, from the stored levels, against what is stored of the peers.
WITH
    last_levels AS
    (
        SELECT entity_id, dimension, argMax((last.3, last.2), day) AS of_week
        FROM
        (
            SELECT school_id, entity_id, dimension, day, argMax(tuple(observed, level, peer_group, live), recorded_at) AS last
            FROM portraits
            WHERE kind = {kind:String} AND day BETWEEN {day_from:Date} AND {day_to:Date}
            GROUP BY school_id, entity_id, dimension, day
        )
        WHERE last.4 = 1 AND last.1 IS NOT NULL
        GROUP BY entity_id, dimension
    ),
    expected AS
    (
        SELECT of_week.1 AS peer_group, dimension, groupArray(of_week.2) AS levels, toUInt32(length(levels)) AS peers,
            arrayReduce('quantileExactInclusive(0.5)', levels) AS median,
            arrayReduce('quantileExactInclusive(0.5)', arrayMap(m -> abs(m - median), levels)) AS mad, 1 AS is
        FROM last_levels
        WHERE peer_group != ''
        GROUP BY peer_group, dimension
    ),
    stored AS
    (
        SELECT peer_group, dimension, last.1 AS peers, last.2 AS median, last.3 AS mad, 1 AS is
        FROM
        (
            SELECT peer_group, dimension, argMax(tuple(peers, median, mad), recorded_at) AS last
            FROM portrait_peers
            WHERE kind = {kind:String} AND week = {day_from:Date}
            GROUP BY peer_group, dimension
        )
        WHERE last.1 > 0
    )
SELECT
    if(e.is = 1, e.peer_group, s.peer_group) AS entity_id, if(e.is = 1, e.dimension, s.dimension) AS dimension,
    toDate32({day_from:Date}) AS day, multiIf(s.is = 0, 'missing', e.is = 0, 'unexpected', 'different') AS difference,
    if(e.is = 1, map('peers', toString(e.peers), 'median', toString(e.median), 'mad', toString(e.mad)), map()) AS expected,
    if(s.is = 1, map('peers', toString(s.peers), 'median', ifNull(toString(s.median), ''), 'mad', ifNull(toString(s.mad), '')),
        map()) AS stored,
    count() OVER () AS total
FROM expected AS e
FULL OUTER JOIN stored AS s ON e.peer_group = s.peer_group AND e.dimension = s.dimension
WHERE e.is != s.is OR e.peers != s.peers OR NOT abs(e.median - ifNull(s.median, 0)) <= 1e-9 * greatest(1., abs(e.median))
    OR NOT abs(e.mad - ifNull(s.mad, 0)) <= 1e-9 * greatest(1., abs(e.median))
ORDER BY entity_id, dimension
LIMIT {limit:UInt32}
SETTINGS join_use_nulls = 0
