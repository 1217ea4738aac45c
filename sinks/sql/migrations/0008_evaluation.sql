-- The evaluation (评价): its configurations, the scores, and the quality of the data behind them. Nothing here is ever
-- changed: what is new is appended, and what was read can be read again as of that instant.
-- Every statement can be run again.

CREATE TABLE IF NOT EXISTS evaluation_configs
(
    config_version UInt32               COMMENT 'version of the configuration; another content, another version',
    checksum       String               COMMENT 'SHA-256 of its content, comments and layout left out',
    from_week      Date                 COMMENT 'Monday of the first week that is scored by it',
    yaml           String               COMMENT 'the file as it was activated',
    activated_at   DateTime64(3, 'UTC') COMMENT 'from this instant on it counts'
)
ENGINE = MergeTree
ORDER BY (config_version, activated_at)
COMMENT 'The evaluation''s configurations: dimensions, indicators, norms and weights (评价方案)';

CREATE TABLE IF NOT EXISTS evaluation_nodes
(
    config_version UInt32                  COMMENT 'version of the configuration',
    kind           LowCardinality(String)  COMMENT 'whom this tree is for: teacher, class, school, group or district',
    number         UInt16                  COMMENT 'place in the order of the tree, from 0, parents first',
    node           String                  COMMENT 'path in the tree, parts joined by /; empty for the whole',
    depth          UInt8                   COMMENT '0 for the whole',
    chinese        String                  COMMENT 'Chinese name',
    english        String                  COMMENT 'English name',
    own_weight     Float64                 COMMENT 'weight as configured, relative to the siblings',
    weight         Float64                 COMMENT 'share of the whole, 0 to 1',
    metric         LowCardinality(String)  COMMENT 'of an indicator: its metric; otherwise empty',
    item           LowCardinality(String)  COMMENT 'of an indicator: the item of the metric',
    unit           LowCardinality(String)  COMMENT 'of an indicator: the unit of the metric',
    norm           String                  COMMENT 'of an indicator: how its figure earns points, in words',
    min_sample     UInt32                  COMMENT 'of an indicator: with a smaller sample it is not available',
    about          String                  COMMENT 'what the configuration says about it'
)
ENGINE = ReplacingMergeTree
ORDER BY (config_version, kind, number)
COMMENT 'The nodes of every configuration, as a tree for each kind; made from evaluation_configs';

CREATE TABLE IF NOT EXISTS scores
(
    kind           LowCardinality(String)  COMMENT 'teacher, class, school, group or district',
    entity_id      String                  COMMENT 'who or what is scored',
    school_id      LowCardinality(String)  COMMENT 'school of a teacher, of a class, or the school itself; otherwise empty',
    week           Date                    COMMENT 'Monday of the ISO week',
    node           String                  COMMENT 'path in the tree, parts joined by /; empty for the whole',
    value          Nullable(Float64)       COMMENT 'score, 0 to 1; NULL below 0.6 coverage',
    coverage       Float64                 COMMENT 'share of the weight below the node for which figures are there, 0 to 1',
    weight         Float64                 COMMENT 'share of the node in the whole, 0 to 1',
    figure         Nullable(Float64)       COMMENT 'of an indicator: its figure, in the unit of the metric; NULL where there is none',
    sample_size    UInt64                  COMMENT 'of an indicator: that of its figure; otherwise the smallest of its available indicators',
    config_version UInt32                  COMMENT 'configuration it was scored by',
    live           Bool                    COMMENT 'false: the node, or the entity in this school and week, is no longer scored',
    as_of          DateTime64(3, 'UTC')    COMMENT 'instant as of which the figures were read',
    recorded_at    DateTime64(3, 'UTC')    COMMENT 'when it was recorded'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(week)
ORDER BY (kind, school_id, entity_id, week, node, recorded_at)
TTL toDateTime(recorded_at) + INTERVAL 3650 DAY
COMMENT 'Every version of every score; the latest recorded_at of a node counts';

CREATE TABLE IF NOT EXISTS data_quality
(
    kind               LowCardinality(String)  COMMENT 'school, group or district',
    entity_id          String                  COMMENT 'the school or the group; district for the district',
    week               Date                    COMMENT 'Monday of the ISO week',
    sources            UInt64                  COMMENT 'devices that sent a sequence',
    sequences_received UInt64                  COMMENT 'distinct sequence numbers stored, added up over the devices',
    sequences_expected UInt64                  COMMENT 'highest - lowest sequence + 1, added up over the devices',
    events             UInt64                  COMMENT 'distinct events stored whose event time lies in the week',
    late_events        UInt64                  COMMENT 'of these, later than the watermark when they came',
    duplicates         UInt64                  COMMENT 'records dropped as already stored, by their event time',
    district_events       UInt64               COMMENT 'events of the whole district, as in events',
    district_dead_letters UInt64               COMMENT 'records of the whole district refused in the week; a refused record names no school for certain',
    as_of              DateTime64(3, 'UTC')    COMMENT 'instant at which it was counted',
    recorded_at        DateTime64(3, 'UTC')    COMMENT 'when it was recorded'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(week)
ORDER BY (kind, entity_id, week, recorded_at)
TTL toDateTime(recorded_at) + INTERVAL 3650 DAY
COMMENT 'Quality of the data beside every score (figure 32); the latest recorded_at counts';

CREATE TABLE IF NOT EXISTS score_runs
(
    as_of        DateTime64(3, 'UTC')  COMMENT 'instant as of which the figures were read',
    weeks        Array(Date)           COMMENT 'Mondays of the weeks that were scored again',
    rows_written UInt64                COMMENT 'rows appended to scores'
)
ENGINE = MergeTree
ORDER BY as_of
TTL toDateTime(as_of) + INTERVAL 3650 DAY
COMMENT 'When the scores were brought up to date';
