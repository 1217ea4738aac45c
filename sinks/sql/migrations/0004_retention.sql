-- How long what is kept. Every table ages by the server's clock at the time of storing, never by event time: an event
-- that comes years late is accepted and must not vanish at once. docs/retention.md says why so long, and how to change it.
--
-- A TTL deletes when parts are merged, so what is past its time may still be there, or not. Nothing may depend on which:
-- the two tables below say what may be gone. Every statement here can be run again.

-- What the views need of old figures (school, class, teacher of a lesson; school of an activity) stays as long as the
-- figures do; the lists of persons in it do not.
ALTER TABLE events_classroom
    MODIFY TTL toDateTime(stored_at) + INTERVAL 3650 DAY,
               toDateTime(stored_at) + INTERVAL 1095 DAY DELETE WHERE type != 'classroom.lesson.started';

ALTER TABLE events_classroom
    MODIFY COLUMN roster Array(String) TTL toDateTime(stored_at) + INTERVAL 1095 DAY;

ALTER TABLE events_prep
    MODIFY TTL toDateTime(stored_at) + INTERVAL 1095 DAY;

ALTER TABLE events_research
    MODIFY TTL toDateTime(stored_at) + INTERVAL 3650 DAY,
               toDateTime(stored_at) + INTERVAL 1095 DAY DELETE WHERE type != 'research.activity.published';

ALTER TABLE events_research
    MODIFY COLUMN invited Array(String) TTL toDateTime(stored_at) + INTERVAL 1095 DAY;

-- The registry says what is, not what happened: a school is still a school when its event is old.
ALTER TABLE events_registry
    MODIFY TTL toDateTime(stored_at) + INTERVAL 3650 DAY;

ALTER TABLE metric_rows
    MODIFY TTL toDateTime(written_at) + INTERVAL 3650 DAY;

ALTER TABLE dead_letters
    MODIFY TTL toDateTime(refused_at) + INTERVAL 730 DAY;

-- Which keys may have lost events, and up to which event time: the days on which events of the key were stored.
CREATE TABLE IF NOT EXISTS event_days
(
    topic     LowCardinality(String)  COMMENT 'Kafka topic of the events',
    key       String                  COMMENT 'partition key: the lesson, the teacher, the activity or the entity',
    day       Date                    COMMENT 'day (UTC) on which events of the key were stored',
    last_time DateTime64(6, 'UTC')    COMMENT 'latest event time among them'
)
ENGINE = ReplacingMergeTree(last_time)
ORDER BY (topic, key, day)
TTL day + INTERVAL 3650 DAY
COMMENT 'When the events of each key were stored: tells which keys may have lost events to the TTL';

-- From where the counters can be held against the tables: one row for each partition and day, and never deleted (a
-- dozen rows a day, of no person).
CREATE TABLE IF NOT EXISTS checkpoint_days
(
    topic        LowCardinality(String)  COMMENT 'Kafka topic',
    partition    UInt16                  COMMENT 'Kafka partition',
    day          Date                    COMMENT 'day (UTC) on which the checkpoint was written',
    position     UInt64                  COMMENT 'position of the last checkpoint of the day',
    stored       UInt64                  COMMENT 'unique events stored below it, since the beginning',
    dead_letters UInt64                  COMMENT 'records refused below it, since the beginning'
)
ENGINE = ReplacingMergeTree(position)
ORDER BY (topic, partition, day)
COMMENT 'The last checkpoint of each day: where counting begins once older events are gone';

-- Filled by the server, so that no way of inserting can forget them. A latest time and a highest position are no sums:
-- an insert that is repeated, because its answer was lost, changes nothing. A view that fails fails the insert, which
-- the worker repeats. They write with the rights of who ran the migration, so the workers need none on these tables.
CREATE MATERIALIZED VIEW IF NOT EXISTS event_days_of_classroom TO event_days
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT 'classpulse.classroom' AS topic, key, toDate(stored_at) AS day, max(time) AS last_time
FROM events_classroom GROUP BY key, day;

CREATE MATERIALIZED VIEW IF NOT EXISTS event_days_of_prep TO event_days
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT 'classpulse.prep' AS topic, key, toDate(stored_at) AS day, max(time) AS last_time
FROM events_prep GROUP BY key, day;

CREATE MATERIALIZED VIEW IF NOT EXISTS event_days_of_research TO event_days
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT 'classpulse.research' AS topic, key, toDate(stored_at) AS day, max(time) AS last_time
FROM events_research GROUP BY key, day;

CREATE MATERIALIZED VIEW IF NOT EXISTS event_days_of_registry TO event_days
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT 'classpulse.registry' AS topic, key, toDate(stored_at) AS day, max(time) AS last_time
FROM events_registry GROUP BY key, day;

CREATE MATERIALIZED VIEW IF NOT EXISTS checkpoint_days_of_checkpoints TO checkpoint_days
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT topic, partition, toDate(written_at) AS day, position, stored, dead_letters
FROM checkpoints;

-- What was stored before these tables existed. The views come first: what is stored meanwhile is noted twice, not never.
INSERT INTO event_days
SELECT 'classpulse.classroom', key, toDate(stored_at) AS day, max(time) FROM events_classroom GROUP BY key, day
UNION ALL
SELECT 'classpulse.prep', key, toDate(stored_at) AS day, max(time) FROM events_prep GROUP BY key, day
UNION ALL
SELECT 'classpulse.research', key, toDate(stored_at) AS day, max(time) FROM events_research GROUP BY key, day
UNION ALL
SELECT 'classpulse.registry', key, toDate(stored_at) AS day, max(time) FROM events_registry GROUP BY key, day;

-- Nothing had expired until now, so each partition is known from its beginning, where every counter was 0.
INSERT INTO checkpoint_days
SELECT topic, partition, min(day), 0, 0, 0
FROM
(
    SELECT 'classpulse.classroom' AS topic, partition, toDate(stored_at) AS day FROM events_classroom
    UNION ALL
    SELECT 'classpulse.prep' AS topic, partition, toDate(stored_at) AS day FROM events_prep
    UNION ALL
    SELECT 'classpulse.research' AS topic, partition, toDate(stored_at) AS day FROM events_research
    UNION ALL
    SELECT 'classpulse.registry' AS topic, partition, toDate(stored_at) AS day FROM events_registry
    UNION ALL
    SELECT toString(topic) AS topic, partition, toDate(refused_at) AS day FROM dead_letters
)
GROUP BY topic, partition;

INSERT INTO checkpoint_days
SELECT topic, partition, toDate(written_at), position, stored, dead_letters FROM checkpoints FINAL;
