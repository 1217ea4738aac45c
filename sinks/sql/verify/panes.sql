-- Versions of metrics that are not what the workers stored: one school.
--
-- Parameters: school, limit. What counts now is held against metric_rows, but for the keys whose metrics were written since
-- the evaluator last looked. `parts` of a version may go on after those of the metric.
WITH
    behind AS
    (
        SELECT f.key
        FROM figure_keys AS f FINAL
        LEFT JOIN pane_keys AS k FINAL ON f.topic = k.topic AND f.key = k.key
        WHERE f.changed_at >= k.handled_at
    ),
    versions AS
    (
        SELECT
            key, toString(window) AS window, toString(metric) AS metric, item, class_id, day, window_start, window_end, value,
            numerator, denominator, sample_size, parts, catalogue_version, revision
        FROM pane_versions
        WHERE school_id = {school:String} AND live
          AND row_id NOT IN (SELECT arrayJoin(replaces) FROM pane_versions WHERE notEmpty(replaces))
          AND key NOT IN (SELECT key FROM behind)
    ),
    -- Of a lesson in several places the metrics of a class count at its place, instead of those of the whole lesson.
    of_places AS
    (
        SELECT key, toString(metric) AS metric
        FROM metric_rows
        WHERE window = 'place' AND key IN (SELECT key FROM versions)
        GROUP BY key, metric
    ),
    compared AS
    (
        SELECT
            v.key AS key, v.window AS window, v.metric AS metric, v.item AS item, v.class_id AS class_id, v.day AS day,
            (v.window_start, v.window_end, v.value, v.numerator, v.denominator, v.sample_size, v.catalogue_version) AS version,
            (m.window_start, m.window_end, m.value, m.numerator, m.denominator, m.sample_size, m.catalogue_version) AS current,
            m.there AS there, toString(version) != toString(current) OR NOT startsWith(v.parts, m.parts) AS differs
        FROM
        (
            SELECT
                *, if(window = 'lesson' AND (key, metric) IN of_places, concat({school:String}, '/', class_id), '') AS place
            FROM versions
        ) AS v
        LEFT JOIN
        (
            SELECT
                key, toString(metric) AS metric, if(r.window = 'place', 'lesson', toString(r.window)) AS window,
                if(r.window = 'place', '', r.item) AS item, if(r.window = 'place', r.item, '') AS place, slot, window_start, window_end, value,
                numerator, denominator, sample_size, parts, catalogue_version, toUInt8(1) AS there
            FROM metric_rows AS r FINAL
            WHERE r.key IN (SELECT key FROM versions)
        ) AS m
            ON v.key = m.key AND v.window = m.window AND v.metric = m.metric AND v.item = m.item AND v.place = m.place
            AND if(v.window = 'iso_week', v.window_start, fromUnixTimestamp64Micro(toInt64(0), 'UTC')) = m.slot
    )
SELECT
    count() AS versions, countIf(NOT there OR differs) AS differing,
    arraySlice(
        groupArrayIf(1000)(
            (if(there, 'different', 'unexpected'), metric, window, key, item, class_id, day, toString(current), toString(version)),
            NOT there OR differs
        ), 1, {limit:UInt32}
    ) AS differences
FROM compared
