-- 教研: every row of participant_activity, recomputed from the stored events. Defined in schemas/metrics/research/participants.py.
WITH
    /* events */
    toDateTime64(0, 6, 'UTC') AS no_slot
SELECT
    'participant_activity' AS metric, 'participant' AS window, key, teacher_id AS item, no_slot AS slot,
    fromUnixTimestamp64Micro(start, 'UTC') AS window_start,
    fromUnixTimestamp64Micro(stop, 'UTC') AS window_end,
    if(present_us = 0, NULL, contributions / (present_us / 60000000)) AS value,
    toFloat64(contributions) AS numerator, present_us / 60000000 AS denominator,
    toUInt32(intDiv(present_us, 60000000)) AS sample_size,
    CAST(
        [
            is_invited, came, stayed, present_us / 1000000, contributions, observations, feedback_items, improvements
        ], 'Array(Nullable(Float64))'
    ) AS parts
FROM participants
