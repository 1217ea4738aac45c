-- The rows of the classes of lessons in several places, out of those that their events make under keys of their own.
SELECT
    r.metric AS metric, 'place' AS window, splitByChar('\x1F', r.key)[1] AS key, splitByChar('\x1F', r.key)[2] AS item,
    r.slot AS slot, r.window_start AS window_start, r.window_end AS window_end, r.value AS value, r.numerator AS numerator,
    r.denominator AS denominator, r.sample_size AS sample_size,
    -- Who is of the other class is no guest of the lesson.
    if(r.metric = 'participation_breadth', [], r.parts) AS parts
FROM (/* recomputed rows */) AS r
WHERE r.window = 'lesson' AND r.item = '' AND r.metric IN /* of classes */
