-- What was observed on the days from day_from to day_to (a Monday and a Sunday; metrics of whole weeks are
-- those of their Sunday), against what the portraits say was.
-- Returns the places that differ, at most limit of total. A comparison is written so that NaN differs.
WITH
    dimensions AS
    (
        SELECT d.1 AS metric, d.2 AS item, d.3 AS dimension, d.4 AS weekly
        FROM (SELECT arrayJoin(arrayZip(
            {metrics:Array(String)}, {items:Array(String)}, {dimensions:Array(String)}, {weekly:Array(UInt8)})) AS d)
    ),
    expected AS
    (
        SELECT r.entity_id AS entity_id, d.dimension AS dimension,
            toDate32(r.day) + if(d.weekly = 1, 6, 0) AS day, assumeNotNull(r.value) AS observed,
            toUInt64(r.sample_size) AS sample_size, 1 AS is
        FROM v1_rollup_days(
            level = {kind:String}, school = '', as_of = {as_of:DateTime64(3, 'UTC')},
            day_from = {day_from:Date}, day_to = {day_to:Date}) AS r
        INNER JOIN dimensions AS d ON d.metric = r.metric AND d.item = r.item
        WHERE r.value IS NOT NULL AND r.entity_id != ''
    ),
    stored AS
    (
        SELECT entity_id, dimension, day, assumeNotNull(last.1) AS observed, last.3 AS sample_size, 1 AS is
        FROM
        (
            SELECT school_id, entity_id, dimension, day, argMax(tuple(observed, live, sample_size), recorded_at) AS last
            FROM portraits
            WHERE kind = {kind:String} AND day BETWEEN {day_from:Date} AND {day_to:Date}
            GROUP BY school_id, entity_id, dimension, day
        )
        WHERE last.2 = 1 AND last.1 IS NOT NULL
    )
SELECT
    if(e.is = 1, e.entity_id, s.entity_id) AS entity_id, if(e.is = 1, e.dimension, s.dimension) AS dimension,
    if(e.is = 1, e.day, s.day) AS day, multiIf(s.is = 0, 'missing', e.is = 0, 'unexpected', 'different') AS difference,
    if(e.is = 1, map('observed', toString(e.observed), 'sample_size', toString(e.sample_size)), map()) AS expected,
    if(s.is = 1, map('observed', toString(s.observed), 'sample_size', toString(s.sample_size)), map()) AS stored,
    count() OVER () AS total
FROM expected AS e
FULL OUTER JOIN stored AS s ON e.entity_id = s.entity_id AND e.dimension = s.dimension AND e.day = s.day
WHERE e.is != s.is OR NOT abs(e.observed - s.observed) <= 1e-9 * greatest(1., abs(e.observed)) OR e.sample_size != s.sample_size
ORDER BY day, entity_id, dimension
LIMIT {limit:UInt32}
SETTINGS join_use_nulls = 0
