-- What roll-ups, portraits and scores are made from: every closed figure with the place it belongs to, and its history.
-- Every statement can be run again.

-- A row is never changed. A figure that is revised gets another row, which names the rows it takes the place of: what
-- held at an instant are the rows recorded until then that none recorded until then replaces. So a row both counts and
-- retracts, and there is no moment at which one has happened without the other.
CREATE TABLE IF NOT EXISTS pane_versions
(
    family            LowCardinality(String)  COMMENT 'classroom, prep or research',
    school_id         LowCardinality(String)  COMMENT 'school; empty where the events name none',
    class_id          LowCardinality(String)  COMMENT 'class of the lesson; otherwise empty',
    teacher_id        LowCardinality(String)  COMMENT 'who taught, who prepared, who hosted; of a participant row the participant',
    course            LowCardinality(String)  COMMENT 'school subject; empty where it is not known',
    grade             UInt8                   COMMENT 'grade of the lesson; otherwise 0',
    day               Date                    COMMENT 'local day of the lesson''s start, of the week''s Monday, of the activity''s scheduled end',
    window            LowCardinality(String)  COMMENT 'lesson, student, iso_week, activity or participant',
    key               String                  COMMENT 'the lesson, the teacher or the activity',
    metric            LowCardinality(String)  COMMENT 'name of the figure',
    item              String                  COMMENT 'see the metric catalogue',
    window_start      DateTime64(6, 'UTC')    COMMENT 'first instant of the window',
    window_end        DateTime64(6, 'UTC')    COMMENT 'first instant after the window',
    value             Nullable(Float64)       COMMENT 'numerator / denominator; NULL where the denominator is 0',
    numerator         Float64                 COMMENT 'see the metric catalogue',
    denominator       Float64                 COMMENT 'see the metric catalogue',
    sample_size       UInt32                  COMMENT 'see the metric catalogue',
    parts             Array(Nullable(Float64)) COMMENT 'see the metric catalogue; of engagement_index also the full rate, at the end',
    earlier           Array(Tuple(school_id String, class_id String, teacher_id String)) COMMENT 'the places of the lesson before this one (双师): where one of them counts, this one does not',
    catalogue_version UInt16                  COMMENT 'version of the formulas',
    revision          UInt64                  COMMENT 'position up to which events are in',
    live              Bool                    COMMENT 'false: withdrawn from this place',
    recorded_at       DateTime64(3, 'UTC')    COMMENT 'from this instant on the row counts',
    row_id            UInt64                  COMMENT 'names the row',
    replaces          Array(UInt64)           COMMENT 'row_id of the rows that no longer count from recorded_at on',
    -- Finds the versions of a few hundred keys without reading all; fine enough to say no for so many at once.
    INDEX pane_versions_key key TYPE bloom_filter(0.00001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYear(day)
ORDER BY (school_id, day, metric, key, item, recorded_at)
TTL toDateTime(recorded_at) + INTERVAL 3650 DAY
COMMENT 'Every closed figure with its school, class and teacher, in all its versions; read it through the views';

-- Which keys have figures that were written since: one row a key, so that the evaluator need not read every figure.
CREATE TABLE IF NOT EXISTS figure_keys
(
    topic      LowCardinality(String)  COMMENT 'Kafka topic of the events',
    key        String                  COMMENT 'the lesson, the teacher or the activity',
    changed_at DateTime64(3, 'UTC')    COMMENT 'when figures of the key were last written'
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY (topic, key)
TTL toDateTime(changed_at) + INTERVAL 3650 DAY
COMMENT 'When figures of each key were last written';

-- Writes with the rights of who ran the migration, as those of 0004 do: the workers need none on the table.
CREATE MATERIALIZED VIEW IF NOT EXISTS figure_keys_of_metric_rows TO figure_keys
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT topic, key, max(written_at) AS changed_at
FROM metric_rows
WHERE window IN ('lesson', 'student', 'iso_week', 'activity', 'participant')
GROUP BY topic, key;

-- What was stored before. The view comes first: what is stored meanwhile is noted twice, not never.
INSERT INTO figure_keys
SELECT topic, key, max(written_at)
FROM metric_rows
WHERE window IN ('lesson', 'student', 'iso_week', 'activity', 'participant')
GROUP BY topic, key;

-- How far the evaluator has come, key by key; the last row inserted counts.
CREATE TABLE IF NOT EXISTS pane_keys
(
    topic      LowCardinality(String)  COMMENT 'Kafka topic of the events',
    key        String                  COMMENT 'the lesson, the teacher, the activity or the entity',
    partition  UInt16                  COMMENT 'Kafka partition of the key',
    handled_at DateTime64(3, 'UTC')    COMMENT 'what was written before is taken over',
    next_close DateTime64(6, 'UTC')    COMMENT 'watermark at which the next window of the key closes; 2200 if none is open'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, key)
TTL toDateTime(handled_at) + INTERVAL 3650 DAY
COMMENT 'Up to when the figures of each key are taken over into pane_versions';

CREATE TABLE IF NOT EXISTS evaluator_cycles
(
    cycle_at     DateTime64(3, 'UTC')  COMMENT 'recorded_at of what the cycle wrote',
    finished_at  DateTime64(3, 'UTC')  COMMENT 'when the cycle was complete',
    rows_written UInt64                COMMENT 'rows of all steps'
)
ENGINE = ReplacingMergeTree(finished_at)
ORDER BY cycle_at
TTL toDateTime(finished_at) + INTERVAL 3650 DAY
COMMENT 'Completed cycles of the evaluator: what was read as of one of them reads the same for ever';
