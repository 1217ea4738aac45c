-- What was dropped because it was stored already: tells the duplicate share of a school, beside the checkpoints' counters.
CREATE TABLE IF NOT EXISTS duplicates
(
    topic      LowCardinality(String)  COMMENT 'Kafka topic of the record',
    partition  UInt16                  COMMENT 'Kafka partition of the record',
    position   UInt64                  COMMENT 'epoch x 2^48 + offset of the record',
    key        String                  COMMENT 'partition key: the lesson, the teacher, the activity or the entity',
    time       DateTime64(6, 'UTC')    COMMENT 'event time, as this copy tells it',
    source     LowCardinality(String)  COMMENT 'the device',
    schoolid   LowCardinality(String)  COMMENT 'empty where the event names none',
    dropped_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was inserted'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, position)
TTL toDateTime(dropped_at) + INTERVAL 730 DAY
COMMENT 'Records that were dropped, since an event with their (key, source, id) was stored before';
