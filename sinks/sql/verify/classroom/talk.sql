-- Metrics 1 to 4: who speaks, in cells of 3 s, by behaviour and by FIAS category.
WITH
    /* events */
    -- What is said once as behaviour (labels 0 teacher, 1 both, 2 student, 3 silence) and once as a category. A record counts for
    -- an hour at most.
    segments AS
    (
        SELECT
            key, at, at + least(ifNull(duration_ms, 0) * 1000, 3600000000) AS until,
            intDiv(at, 3000000) AS first_cell, intDiv(greatest(at, until - 1), 3000000) AS last_cell,
            label.1 AS scheme, toInt64(label.2) AS label_number
        FROM events
        ARRAY JOIN arrayFilter(
            l -> l.2 >= 0,
            [
                ('behaviour', indexOf(['teacher', 'both', 'student', 'silence'], toString(speaker)) - 1),
                ('category', toInt64(ifNull(fias_code, -1)))
            ]
        ) AS label
        WHERE type = 'classroom.speech.recorded'
    ),
    -- How long each label covers a cell: the union of its segments.
    covered AS
    (
        SELECT
            key, scheme, cell, label_number,
            arraySort(groupArray((greatest(at, cell * 3000000), least(until, (cell + 1) * 3000000)))) AS stretches,
            arrayFold(
                (sum, s) -> (sum.1 + greatest(toInt64(0), s.2 - greatest(s.1, sum.2)), greatest(sum.2, s.2)),
                stretches, (toInt64(0), toInt64(0))
            ).1 AS covered_us
        FROM segments
        ARRAY JOIN arrayMap(n -> toInt64(n), range(toUInt64(first_cell), toUInt64(last_cell) + 1)) AS cell
        GROUP BY key, scheme, cell, label_number
    ),
    cells AS
    (
        SELECT
            key, scheme, cell * 3000000 AS cell_at, sum(covered_us) >= 1500000 AS counts,
            argMax(label_number, (covered_us, -label_number)) AS winner,
            if(scheme = 'behaviour', least(winner, 2), winner) AS said
        FROM covered
        GROUP BY key, scheme, cell
    ),
    placed AS
    (
        SELECT
            c.key AS key, c.scheme AS scheme, w.1 AS window, w.2 AS start, w.3 AS stop, c.cell_at AS cell_at,
            -- Of the lesson so far, cells that reach into it.
            c.counts AND (w.1 != 'lesson' OR c.cell_at BETWEEN l.first - 2999999 AND l.cut) AS counts,
            c.said AS said, c.winner AS winner
        FROM cells AS c
        INNER JOIN lessons AS l ON c.key = l.key
        ARRAY JOIN arrayConcat(
            [('lesson', l.first, l.last)],
            arrayMap(
                hops -> ('10m/1m', c.cell_at - positiveModulo(c.cell_at, 60000000) - 60000000 * hops AS from, from + 600000000),
                range(10)
            )
        ) AS w
    ),
    counted AS
    (
        SELECT
            key, scheme, window, start, stop,
            countIf(counts) AS n,
            countIf(counts AND winner = 0) + countIf(counts AND winner = 1) / 2 AS teacher,
            arraySort(groupArrayIf((cell_at, said), counts)) AS in_order,
            arrayCount((one, other) -> one.2 != other.2, arrayPopFront(in_order), arrayPopBack(in_order)) AS conversions,
            countIf(counts AND winner BETWEEN 1 AND 7) AS f1_7,
            countIf(counts AND winner BETWEEN 1 AND 3) AS f1_3,
            countIf(counts AND winner = 4) AS f4,
            countIf(counts AND winner = 5) AS f5,
            countIf(counts AND winner BETWEEN 6 AND 7) AS f6_7,
            countIf(counts AND winner = 8) AS f8,
            countIf(counts AND winner = 9) AS f9,
            countIf(counts AND winner = 10) AS f10
        FROM placed
        GROUP BY key, scheme, window, start, stop
    ),
    metrics AS
    (
        SELECT
            f.1 AS metric, window, key, f.2 AS item, if(window = 'lesson', toInt64(0), start) AS slot, start, stop,
            f.3 AS numerator, f.4 AS denominator, toUInt32(f.5) AS sample_size, [] AS parts
        FROM
        (
            SELECT
                *,
                multiIf(
                    n = 0, '', teacher / n <= 0.3, 'practice', teacher / n >= 0.7, 'lecture', conversions / n >= 0.4, 'dialogue',
                    'mixed'
                ) AS mode
            FROM counted
        )
        ARRAY JOIN multiIf(
            scheme = 'behaviour',
            arrayConcat(
                [
                    ('teacher_occupancy', '', toFloat64(teacher), toFloat64(n), n),
                    ('behaviour_conversion', '', toFloat64(conversions), toFloat64(n), n)
                ],
                if(
                    window = 'lesson',
                    arrayMap(
                        m -> ('st_mode', m, toFloat64(m = mode), toFloat64(n > 0), n),
                        ['practice', 'lecture', 'dialogue', 'mixed']
                    ), []
                )
            ),
            arrayConcat(
                [
                    ('teacher_talk_share', '', toFloat64(f1_7), toFloat64(n), n),
                    ('student_talk_share', '', toFloat64(f8 + f9), toFloat64(n), n),
                    ('silence_share', '', toFloat64(f10), toFloat64(n), n)
                ],
                if(
                    window = 'lesson',
                    [
                        ('pupil_initiation_ratio', '', toFloat64(f9), toFloat64(f8 + f9), f8 + f9),
                        ('question_ratio', '', toFloat64(f4), toFloat64(f4 + f5), f4 + f5),
                        ('teacher_response_ratio', '', toFloat64(f1_3), toFloat64(f1_3 + f6_7), f1_3 + f6_7)
                    ], []
                )
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
