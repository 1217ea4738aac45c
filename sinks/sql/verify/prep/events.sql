-- 备课: what the queries of this folder share, the stored events that count.
--
-- Parameters: topic, key_from, key_to (first and last teacher), keys (only these; empty: all of them), time_zone (IANA name of
-- the zone whose midnights bound the windows). Times are Int64 microseconds since the epoch until the last SELECT.
/* applied */
    events AS
    (
        SELECT
            key, subject AS plan, type, source, id, toUnixTimestamp64Micro(time) AS at,
            toDate32(toTimeZone(time, {time_zone:String})) AS day,
            substantive, characters_changed, had_input, editor_id, owner_id, origin, platform, ifNull(toUnixTimestamp64Micro(lesson_start), 0) AS lesson_at
        FROM events_prep FINAL
        WHERE key >= {key_from:String} AND key <= {key_to:String}
          AND (empty({keys:Array(String)}) OR has({keys:Array(String)}, key))
          AND position < greatest(
              transform(partition, applied.1, applied.2, toUInt64(0)), transform(key, ahead.1, ahead.2, toUInt64(0))
          )
    ),
