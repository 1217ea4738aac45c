-- Metrics 8 to 11: who takes part, how evenly, and how often.
WITH
    /* events */
    -- Bounds of all windows are multiples of 10 s, so what happened in the same 10 s lies in the same windows.
    panes AS
    (
        SELECT
            key, at - positiveModulo(at, 10000000) AS pane, if(interacts AND is_of_class, student_id, '') AS student,
            countIf(interacts AND is_of_class) AS interactions,
            countIf(type = 'classroom.hand.raised' AND is_of_class) AS raised
        FROM classed
        GROUP BY key, pane, student
    ),
    placed AS
    (
        SELECT
            key, w.1 AS window,
            pane - positiveModulo(pane, w.3) - w.3 * arrayJoin(range(intDiv(w.2, w.3))) AS start,
            start + w.2 AS stop,
            student, interactions, raised
        FROM panes
        ARRAY JOIN [
            ('1m/10s', 60000000, 10000000), ('5m/1m', 300000000, 60000000), ('10m/1m', 600000000, 60000000)
        ] AS w
    ),
    windows AS
    (
        SELECT
            key, window, start, stop,
            sum(interactions) AS acts,
            sum(raised) AS hands_raised,
            groupUniqArrayIf(student, student != '') AS active_students
        FROM placed
        GROUP BY key, window, start, stop
    ),
    counted AS
    (
        SELECT
            w.key AS key, w.window AS window, w.start AS slot, w.start AS start, w.stop AS stop,
            w.acts AS acts, w.hands_raised AS hands_raised,
            arrayFilter(stay -> stay.2 < w.stop AND stay.3 > w.start, l.audience) AS there,
            arraySum(
                stay -> greatest(0, least(stay.3, w.stop) - greatest(stay.2, w.start)), l.present
            ) / 60000000 AS student_minutes,
            length(w.active_students) AS active,
            length(arrayDistinct(arrayConcat(w.active_students, arrayMap(stay -> stay.1, there)))) AS everyone,
            toInt64(0) AS differences, toUInt64(0) AS guests
        FROM windows AS w
        INNER JOIN lessons AS l ON w.key = l.key
        UNION ALL
        SELECT
            p.key, 'lesson', toInt64(0), p.first, p.last, p.interactions_of_all, h.raised, [], p.student_minutes,
            p.active, p.everyone, p.differences, p.guests
        FROM participants AS p
        LEFT JOIN
        (
            SELECT e.key AS key, count() AS raised
            FROM classed AS e
            INNER JOIN lessons AS l ON e.key = l.key
            WHERE e.type = 'classroom.hand.raised' AND e.at BETWEEN l.first AND l.cut AND e.is_of_class
            GROUP BY e.key
        ) AS h ON p.key = h.key
    ),
    metrics AS
    (
        SELECT
            f.1 AS metric, window, key, '' AS item, slot, start, stop, f.2 AS numerator, f.3 AS denominator,
            toUInt32(f.4) AS sample_size, f.5 AS parts
        FROM
        (
            SELECT
                *, toUInt64(floor(student_minutes)) AS whole_minutes, CAST([], 'Array(Nullable(Float64))') AS none,
                if(
                    everyone > 1 AND acts > 0, toNullable(differences / (2 * (toInt64(everyone) - 1) * acts)), NULL
                ) AS corrected_gini
            FROM counted
        )
        ARRAY JOIN arrayConcat(
            [('interactions_per_student_minute', toFloat64(acts), student_minutes, whole_minutes, none)],
            if(
                window != '1m/10s',
                [(
                    'participation_breadth', toFloat64(active), toFloat64(everyone), everyone,
                    if(window = 'lesson', [toNullable(toFloat64(guests))], none)
                )], []
            ),
            if(
                window IN ('10m/1m', 'lesson'),
                [('hand_raises_per_student_minute', toFloat64(hands_raised), student_minutes, whole_minutes, none)], []
            ),
            if(
                window = 'lesson',
                [('participation_gini', toFloat64(differences), toFloat64(2 * everyone * acts), everyone, [corrected_gini])], []
            )
        ) AS f
    )
SELECT
    metric, window, key, item,
    fromUnixTimestamp64Micro(slot, 'UTC') AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    numerator, denominator, sample_size, CAST(parts, 'Array(Nullable(Float64))') AS parts
FROM metrics
