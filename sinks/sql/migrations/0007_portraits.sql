-- The portraits (figures 28 to 30), as versions that are only ever added: what a portrait said at any instant can be read
-- again. schemas/evaluation/portraits.py says what the figures mean; read them through the v1_portrait views.
-- Every statement can be run again.

-- By school first: "all portraits of a school" is one stretch of the table, and so is one entity of it over time.
CREATE TABLE IF NOT EXISTS portraits
(
    school_id         LowCardinality(String)  COMMENT 'school the entity belongs to, as registered at the end of the ISO week; empty for groups and where the registry names none',
    kind              LowCardinality(String)  COMMENT 'student, teacher, class, school or group',
    entity_id         String                  COMMENT 'the student, teacher, class, school or group',
    dimension         LowCardinality(String)  COMMENT 'name of the dimension',
    day               Date32                  COMMENT 'local day of the district',
    observed          Nullable(Float64)       COMMENT 'the dimension''s figure of the day; NULL on the day on which the entity becomes inactive',
    level             Float64                 COMMENT 'decayed level at the end of the day (figure 28)',
    active_days_7     UInt8                   COMMENT 'days with an observation in any dimension among the 7 that end with the day (figure 30)',
    active_days_28    UInt8                   COMMENT 'the same among the 28 days that end with the day',
    inactive          UInt8                   COMMENT '1: on this day the entity has been without an observation for 7 days',
    peer_group        LowCardinality(String)  COMMENT 'whom it is compared with; empty: nobody',
    live              UInt8                   COMMENT '0: since recorded_at the portrait says nothing here any more',
    portrait_version  UInt16                  COMMENT 'version of the formulas and dimensions',
    recorded_at       DateTime64(3, 'UTC')    COMMENT 'since when the portrait says so; the latest counts',
    -- Finds an entity whose school is not named.
    INDEX portraits_entity entity_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (school_id, kind, entity_id, dimension, day, recorded_at)
TTL toDateTime(recorded_at) + INTERVAL 3650 DAY
COMMENT '数字画像: one row for each entity, dimension and day of the portraits, and one more whenever it changes';

CREATE TABLE IF NOT EXISTS portrait_peers
(
    kind              LowCardinality(String)  COMMENT 'student, teacher, class, school or group',
    week              Date32                  COMMENT 'Monday of the ISO week',
    dimension         LowCardinality(String)  COMMENT 'name of the dimension',
    peer_group        LowCardinality(String)  COMMENT 'who is compared with each other',
    peers             UInt32                  COMMENT 'entities of the group observed in the dimension in the week; 0: none any more',
    median            Nullable(Float64)       COMMENT 'median of their last levels of the week',
    mad               Nullable(Float64)       COMMENT 'median of the absolute deviations from that median',
    portrait_version  UInt16                  COMMENT 'version of the formulas and dimensions',
    recorded_at       DateTime64(3, 'UTC')    COMMENT 'since when it is so; the latest counts'
)
ENGINE = MergeTree
ORDER BY (kind, week, dimension, peer_group, recorded_at)
TTL toDateTime(recorded_at) + INTERVAL 3650 DAY
COMMENT 'What the levels of a week are compared with (figure 29), one more row whenever it changes';

CREATE TABLE IF NOT EXISTS portrait_places
(
    kind              LowCardinality(String)  COMMENT 'student, teacher, class or school',
    entity_id         String                  COMMENT 'the student, teacher, class or school',
    from_week         Date32                  COMMENT 'Monday of the first ISO week for which it holds',
    school_id         LowCardinality(String)  COMMENT 'school the entity belongs to',
    peer_group        LowCardinality(String)  COMMENT 'whom it is compared with; empty: nobody',
    live              UInt8                   COMMENT '0: since recorded_at nothing begins with this week any more',
    recorded_at       DateTime64(3, 'UTC')    COMMENT 'since when it is so; the latest counts'
)
ENGINE = MergeTree
ORDER BY (kind, entity_id, from_week, recorded_at)
TTL toDateTime(recorded_at) + INTERVAL 3650 DAY
COMMENT 'Where each entity belongs from which week on, as the registry says, one more row whenever it changes';

CREATE TABLE IF NOT EXISTS portrait_runs
(
    recorded_at       DateTime64(3, 'UTC')    COMMENT 'recorded_at of the rows of the run',
    panes_until       DateTime64(3, 'UTC')    COMMENT 'latest recorded_at of the pane versions it has seen',
    registry_until    DateTime64(3, 'UTC')    COMMENT 'latest stored_at of the registry events it has seen',
    last_day_over     Date32                  COMMENT 'last local day that was over',
    portrait_version  UInt16                  COMMENT 'version of the formulas and dimensions',
    rows_written      UInt64                  COMMENT 'rows added to portraits, portrait_peers and portrait_places'
)
ENGINE = MergeTree
ORDER BY recorded_at
TTL toDateTime(recorded_at) + INTERVAL 3650 DAY
COMMENT 'How far the portraits are';
