-- Metrics 1 to 4: who speaks, by behaviour samples and FIAS codes.
WITH
    /* events */
    samples AS
    (
        SELECT
            key, at, speaker, ifNull(fias_code, 0) AS code,
            lagInFrame(speaker) OVER samples_of_lesson AS speaker_before,
            lagInFrame(toNullable(at)) OVER samples_of_lesson AS at_before
        FROM events
        WHERE type = 'classroom.speech.recorded'
        WINDOW samples_of_lesson AS (
            PARTITION BY key ORDER BY at, source, id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        )
    ),
    -- Every sample in every window that holds it. A change of speaker counts where the sample before lies inside as well.
    placed AS
    (
        SELECT
            key, '10m/1m' AS window, at - positiveModulo(at, 60000000) - 60000000 * hops AS start, start + 600000000 AS stop,
            speaker, code, speaker != speaker_before AND ifNull(at_before >= start, 0) AS converts
        FROM samples
        ARRAY JOIN range(10) AS hops
        UNION ALL
        SELECT
            s.key, 'lesson', l.first, l.last, s.speaker, s.code,
            s.speaker != s.speaker_before AND isNotNull(s.at_before)
        FROM samples AS s
        INNER JOIN lessons AS l ON s.key = l.key
    ),
    counted AS
    (
        SELECT
            key, window, start, stop,
            count() AS n,
            countIf(speaker = 'teacher') + countIf(speaker = 'both') / 2 AS teacher,
            countIf(converts) AS conversions,
            countIf(code BETWEEN 1 AND 10) AS coded,
            countIf(code BETWEEN 1 AND 7) AS f1_7,
            countIf(code BETWEEN 1 AND 3) AS f1_3,
            countIf(code = 4) AS f4,
            countIf(code = 5) AS f5,
            countIf(code BETWEEN 6 AND 7) AS f6_7,
            countIf(code = 8) AS f8,
            countIf(code = 9) AS f9,
            countIf(code = 10) AS f10
        FROM placed
        GROUP BY key, window, start, stop
    ),
    metrics AS
    (
        SELECT
            f.1 AS metric, window, key, '' AS item, if(window = 'lesson', toInt64(0), start) AS slot, start, stop,
            f.2 AS numerator, f.3 AS denominator, toUInt32(f.3) AS sample_size, [] AS parts
        FROM counted
        ARRAY JOIN arrayConcat(
            [
                ('teacher_occupancy', toFloat64(teacher), toFloat64(n)),
                ('behaviour_conversion', toFloat64(conversions), toFloat64(n))
            ],
            if(
                coded > 0,
                [
                    ('teacher_talk_share', toFloat64(f1_7), toFloat64(coded)),
                    ('student_talk_share', toFloat64(f8 + f9), toFloat64(coded)),
                    ('silence_share', toFloat64(f10), toFloat64(coded))
                ], []
            ),
            if(
                coded > 0 AND window = 'lesson',
                [
                    ('pupil_initiation_ratio', toFloat64(f9), toFloat64(f8 + f9)),
                    ('question_ratio', toFloat64(f4), toFloat64(f4 + f5)),
                    ('teacher_response_ratio', toFloat64(f1_3), toFloat64(f1_3 + f6_7))
                ], []
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
