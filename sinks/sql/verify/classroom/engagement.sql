-- Metric 15: the weighted blend of response, breadth, evenness and frequency in the lesson so far.
WITH
    /* events */
    mean_rates AS
    (
        SELECT
            key,
            sum(if(is_inside AND asked_students > 0, responders / asked_students, 0)) AS sum_of_rates,
            countIf(is_inside AND asked_students > 0) AS known_rates
        FROM rates
        GROUP BY key
    ),
    blended AS
    (
        SELECT
            p.key AS key, p.first AS start, p.last AS stop, toUInt32(p.everyone) AS sample_size,
            [
                if(m.known_rates > 0, m.sum_of_rates / m.known_rates, NULL),
                if(p.everyone > 0, p.active / p.everyone, NULL),
                if(p.interactions_of_all > 0, 1 - p.differences / (2 * p.everyone * p.interactions_of_all), NULL),
                if(
                    p.student_minutes > 0,
                    least(1, p.interactions_of_all / p.student_minutes / {full_rate:Float64}), NULL
                )
            ] AS known
        FROM participants AS p
        LEFT JOIN mean_rates AS m ON p.key = m.key
    ),
    metrics AS
    (
        SELECT
            key, start, stop, sample_size,
            arraySum((part, weight) -> if(isNull(part), 0, assumeNotNull(part) * weight), known, {weights:Array(Float64)})
                AS numerator,
            arraySum((part, weight) -> if(isNull(part), 0, weight), known, {weights:Array(Float64)}) AS denominator,
            arrayConcat(known, {weights:Array(Float64)}) AS parts
        FROM blended
    )
SELECT
    'engagement_index' AS metric, 'lesson' AS window, key, '' AS item,
    fromUnixTimestamp64Micro(toInt64(0), 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, sample_size, CAST(parts, 'Array(Nullable(Float64))') AS parts
FROM metrics
