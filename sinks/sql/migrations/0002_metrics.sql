-- What the stream computes, how far it has come, and what it refused.

CREATE TABLE metric_rows
(
    metric            LowCardinality(String)  COMMENT 'name of the figure',
    window            LowCardinality(String)  COMMENT 'name of the window',
    key               String                  COMMENT 'the lesson, the teacher or the activity',
    item              String                  COMMENT 'the prompt, for figures of one prompt; otherwise empty',
    slot              DateTime64(6, 'UTC')    COMMENT 'window start; the Unix epoch for windows whose start can move',
    window_start      DateTime64(6, 'UTC')    COMMENT 'first instant of the window',
    window_end        DateTime64(6, 'UTC')    COMMENT 'first instant after the window',
    value             Nullable(Float64)       COMMENT 'numerator / denominator; NULL where the denominator is 0',
    numerator         Float64                 COMMENT 'see the metric catalogue',
    denominator       Float64                 COMMENT 'see the metric catalogue',
    sample_size       UInt32                  COMMENT 'see the metric catalogue',
    catalogue_version UInt16                  COMMENT 'version of the formulas',
    topic             LowCardinality(String)  COMMENT 'where the events came from',
    partition         UInt16                  COMMENT 'where the events came from',
    revision          UInt64                  COMMENT 'position up to which events are in; the highest revision counts',
    written_at        DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was inserted'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (key, metric, window, item, slot)
COMMENT 'Every figure, as an absolute value that replaces the one before; read it through v1_figures';

CREATE TABLE checkpoints
(
    topic        LowCardinality(String)  COMMENT 'Kafka topic',
    partition    UInt16                  COMMENT 'Kafka partition',
    position     UInt64                  COMMENT 'epoch x 2^48 + next offset; everything below is stored',
    epoch        UInt16                  COMMENT 'raised when the topic was recreated or truncated',
    next_offset  UInt64                  COMMENT 'the next offset to read',
    last_fingerprint UInt32              COMMENT 'CRC-32 of the last record applied; another one there means another log',
    max_time     DateTime64(6, 'UTC')    COMMENT 'latest event time seen',
    watermark    DateTime64(6, 'UTC')    COMMENT 'no earlier event is expected',
    consumed     UInt64                  COMMENT 'records read since the beginning',
    stored       UInt64                  COMMENT 'unique events stored since the beginning',
    duplicates   UInt64                  COMMENT 'records dropped as already stored',
    dead_letters UInt64                  COMMENT 'records refused',
    worker       String                  COMMENT 'who wrote this',
    written_at   DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was inserted'
)
ENGINE = ReplacingMergeTree(position)
ORDER BY (topic, partition)
COMMENT 'How far each partition has been applied; the truth about offsets';

CREATE TABLE dead_letters
(
    topic       LowCardinality(String)  COMMENT 'Kafka topic of the record',
    partition   UInt16                  COMMENT 'Kafka partition of the record',
    position    UInt64                  COMMENT 'epoch x 2^48 + offset of the record',
    reason      LowCardinality(String)  COMMENT 'why it was refused',
    field       String                  COMMENT 'which field, where one is to blame',
    value_bytes UInt32                  COMMENT 'size of the record; its bytes are in the dead-letter topic',
    recorded_at DateTime64(3, 'UTC')    COMMENT 'timestamp of the record',
    refused_at  DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was inserted'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, position)
COMMENT 'What was refused and why; the original bytes are in the dead-letter topic';
