-- The stored events: one table a family, one column a field, unique by (source, id).
-- The writer drops duplicates before it inserts; the engine removes what a replay inserted twice (same key, same row).
-- Strings are '' where a field is absent, since no field may be empty; numbers and times are NULL.

CREATE TABLE events_classroom
(
    key            String                          COMMENT 'partition key: the lesson',
    time           DateTime64(6, 'UTC')            COMMENT 'event time, by the device''s clock',
    source         LowCardinality(String)          COMMENT 'the device',
    id             String                          COMMENT 'unique within source',
    type           LowCardinality(String)          COMMENT 'name of the event type',
    subject        String                          COMMENT 'what the event is about',
    sequence       Nullable(Int64)                 COMMENT 'the device''s counter',
    schoolid       LowCardinality(String)          COMMENT 'empty where the event names none',
    classid        LowCardinality(String)          COMMENT 'empty where the event names none',
    lessonid       String                          COMMENT 'empty where the event names none',
    recordedtime   Nullable(DateTime64(6, 'UTC'))  COMMENT 'when an offline device wrote it down',
    schema_version LowCardinality(String)          COMMENT 'version of the data schema',
    partition      UInt16                          COMMENT 'Kafka partition',
    position       UInt64                          COMMENT 'epoch x 2^48 + Kafka offset',
    stored_at      DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was inserted',
    assessment_id      String,
    channel            LowCardinality(String),
    correct            Nullable(Bool),
    course             String,
    duration_ms        Nullable(Int64),
    fias_code          Nullable(Int64),
    grade              Nullable(Int64),
    kind               LowCardinality(String),
    latency_ms         Nullable(Int64),
    mode               LowCardinality(String),
    plan_id            String,
    platform           LowCardinality(String),
    progress           Nullable(Float64),
    prompt_id          String,
    reason             LowCardinality(String),
    roster             Array(String),
    scheduled_end      Nullable(DateTime64(6, 'UTC')),
    scheduled_start    Nullable(DateTime64(6, 'UTC')),
    score              Nullable(Float64),
    speaker            LowCardinality(String),
    strategy           LowCardinality(String),
    student_id         String,
    teacher_id         String,
    tool               String
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (key, time, source, id)
COMMENT '智慧课堂: the stored events, unique by (source, id)';

CREATE TABLE events_prep
(
    key            String                          COMMENT 'partition key: the teacher',
    time           DateTime64(6, 'UTC')            COMMENT 'event time, by the device''s clock',
    source         LowCardinality(String)          COMMENT 'the device',
    id             String                          COMMENT 'unique within source',
    type           LowCardinality(String)          COMMENT 'name of the event type',
    subject        String                          COMMENT 'what the event is about',
    sequence       Nullable(Int64)                 COMMENT 'the device''s counter',
    schoolid       LowCardinality(String)          COMMENT 'empty where the event names none',
    classid        LowCardinality(String)          COMMENT 'empty where the event names none',
    lessonid       String                          COMMENT 'empty where the event names none',
    recordedtime   Nullable(DateTime64(6, 'UTC'))  COMMENT 'when an offline device wrote it down',
    schema_version LowCardinality(String)          COMMENT 'version of the data schema',
    partition      UInt16                          COMMENT 'Kafka partition',
    position       UInt64                          COMMENT 'epoch x 2^48 + Kafka offset',
    stored_at      DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was inserted',
    audience           LowCardinality(String),
    characters_changed Nullable(Int64),
    course             String,
    editor_id          String,
    grade              Nullable(Int64),
    lesson_id          String,
    lesson_start       Nullable(DateTime64(6, 'UTC')),
    origin             LowCardinality(String),
    platform           LowCardinality(String),
    resource_id        String,
    reviewer_id        String,
    score              Nullable(Float64),
    substantive        Nullable(Bool)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (key, time, source, id)
COMMENT '备课: the stored events, unique by (source, id)';

CREATE TABLE events_research
(
    key            String                          COMMENT 'partition key: the activity',
    time           DateTime64(6, 'UTC')            COMMENT 'event time, by the device''s clock',
    source         LowCardinality(String)          COMMENT 'the device',
    id             String                          COMMENT 'unique within source',
    type           LowCardinality(String)          COMMENT 'name of the event type',
    subject        String                          COMMENT 'what the event is about',
    sequence       Nullable(Int64)                 COMMENT 'the device''s counter',
    schoolid       LowCardinality(String)          COMMENT 'empty where the event names none',
    classid        LowCardinality(String)          COMMENT 'empty where the event names none',
    lessonid       String                          COMMENT 'empty where the event names none',
    recordedtime   Nullable(DateTime64(6, 'UTC'))  COMMENT 'when an offline device wrote it down',
    schema_version LowCardinality(String)          COMMENT 'version of the data schema',
    partition      UInt16                          COMMENT 'Kafka partition',
    position       UInt64                          COMMENT 'epoch x 2^48 + Kafka offset',
    stored_at      DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was inserted',
    characters         Nullable(Int64),
    feedback_id        String,
    host_id            String,
    improvement_id     String,
    invited            Array(String),
    kind               LowCardinality(String),
    lesson_end         Nullable(DateTime64(6, 'UTC')),
    lesson_id          String,
    mode               LowCardinality(String),
    report_id          String,
    rubric_scores      Array(Float64),
    scheduled_end      Nullable(DateTime64(6, 'UTC')),
    scheduled_start    Nullable(DateTime64(6, 'UTC')),
    teacher_id         String
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (key, time, source, id)
COMMENT '教研: the stored events, unique by (source, id)';

CREATE TABLE events_registry
(
    key            String                          COMMENT 'partition key: the entity',
    time           DateTime64(6, 'UTC')            COMMENT 'event time, by the device''s clock',
    source         LowCardinality(String)          COMMENT 'the device',
    id             String                          COMMENT 'unique within source',
    type           LowCardinality(String)          COMMENT 'name of the event type',
    subject        String                          COMMENT 'what the event is about',
    sequence       Nullable(Int64)                 COMMENT 'the device''s counter',
    schoolid       LowCardinality(String)          COMMENT 'empty where the event names none',
    classid        LowCardinality(String)          COMMENT 'empty where the event names none',
    lessonid       String                          COMMENT 'empty where the event names none',
    recordedtime   Nullable(DateTime64(6, 'UTC'))  COMMENT 'when an offline device wrote it down',
    schema_version LowCardinality(String)          COMMENT 'version of the data schema',
    partition      UInt16                          COMMENT 'Kafka partition',
    position       UInt64                          COMMENT 'epoch x 2^48 + Kafka offset',
    stored_at      DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was inserted',
    career_stage       LowCardinality(String),
    course             String,
    grade              Nullable(Int64),
    group_id           String,
    name               String,
    school_id          String,
    stage              LowCardinality(String),
    students           Array(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (key, time, source, id)
COMMENT '注册: the stored events, unique by (source, id)';

