-- Events of one range of keys below the position of their partition: how many, and how many with one identity.
--
-- Parameters: events_table, key_from, key_to, partitions, first_positions and positions (from where, and up to where, the
-- events of each partition are counted).
SELECT partition, count() AS unique_events, sum(times) AS rows
FROM
(
    SELECT partition, key, source, id, uniqExact(time) AS times
    FROM {events_table:Identifier}
    WHERE key >= {key_from:String} AND key <= {key_to:String}
      AND position >= transform(
          partition, {partitions:Array(UInt16)}, {first_positions:Array(UInt64)}, toUInt64(0)
      )
      AND position < transform(
          partition, {partitions:Array(UInt16)}, {positions:Array(UInt64)}, toUInt64(0)
      )
    GROUP BY partition, key, source, id
)
GROUP BY partition
