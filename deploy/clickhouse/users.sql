-- The rights of classpulse's users, for a ClickHouse that keeps its users in SQL (a cluster, a managed service).
-- Under docker-compose.yml they come from users.xml beside this file instead, and this file is not used.
--
-- Create the users first, with passwords of your own, for example
--     CREATE USER classpulse_worker IDENTIFIED WITH sha256_password BY '...';
-- then run this as a user that may grant, after `classpulse migrate`. On a cluster add ON CLUSTER to each statement.
-- Another database than classpulse: replace the name here as well.

-- Used by `classpulse migrate` alone. It cannot drop the database and cannot grant.
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, ALTER, OPTIMIZE, TRUNCATE, SELECT, INSERT, SHOW ON classpulse.* TO classpulse_admin;
-- Counts where the server asks for a right to use an engine (table_engines_require_grant).
GRANT TABLE ENGINE ON MergeTree TO classpulse_admin;
GRANT TABLE ENGINE ON ReplacingMergeTree TO classpulse_admin;
-- `classpulse migrate` connects to the database default before classpulse exists.
GRANT SHOW DATABASES ON default.* TO classpulse_admin;

-- Used by the workers, and by `classpulse verify`, which reads every table and writes none. No DDL, no deletion: what
-- was stored cannot be taken back with this password.
GRANT SELECT, INSERT ON classpulse.events_classroom TO classpulse_worker;
GRANT SELECT, INSERT ON classpulse.events_prep TO classpulse_worker;
GRANT SELECT, INSERT ON classpulse.events_research TO classpulse_worker;
GRANT SELECT, INSERT ON classpulse.events_registry TO classpulse_worker;
GRANT SELECT, INSERT ON classpulse.metric_rows TO classpulse_worker;
GRANT SELECT, INSERT ON classpulse.checkpoints TO classpulse_worker;
GRANT SELECT, INSERT ON classpulse.dead_letters TO classpulse_worker;
GRANT SELECT, INSERT ON classpulse.duplicates TO classpulse_worker;
GRANT SELECT, INSERT ON classpulse.pseudonym_keys TO classpulse_worker;
-- Filled by the server's materialized views, with the rights of who ran the migration: keep that user.
GRANT SELECT ON classpulse.event_days TO classpulse_worker;
GRANT SELECT ON classpulse.checkpoint_days TO classpulse_worker;
-- For `classpulse verify`, which recomputes the portraits as well, and for the queries that `classpulse explain` prints.
GRANT SELECT ON classpulse.pane_versions TO classpulse_worker;
GRANT SELECT ON classpulse.portraits TO classpulse_worker;
GRANT SELECT ON classpulse.portrait_peers TO classpulse_worker;
GRANT SELECT ON classpulse.portrait_places TO classpulse_worker;
GRANT SELECT ON classpulse.portrait_runs TO classpulse_worker;
GRANT SELECT ON classpulse.v1_* TO classpulse_worker;
GRANT SELECT ON classpulse.vendor_v1_received TO classpulse_worker;

-- Used by `classpulse evaluate`, `classpulse explain` and `classpulse report`: it appends versions of metrics, portraits and
-- scores, and changes none. Of the events it reads where a metric belongs and what tells the quality of the data: no answer,
-- no attendance, no text. Of the registry it reads all, the classes' rosters as well, since a student's portrait needs the
-- student's class.
GRANT SELECT, INSERT ON classpulse.pane_versions TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.pane_keys TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.evaluator_cycles TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.portraits TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.portrait_peers TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.portrait_places TO classpulse_evaluator;
GRANT SELECT ON classpulse.portrait_dimensions TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.portrait_runs TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.evaluation_configs TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.evaluation_nodes TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.scores TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.data_quality TO classpulse_evaluator;
GRANT SELECT, INSERT ON classpulse.score_runs TO classpulse_evaluator;
GRANT SELECT ON classpulse.figure_keys TO classpulse_evaluator;
GRANT SELECT ON classpulse.metric_rows TO classpulse_evaluator;
GRANT SELECT ON classpulse.checkpoints TO classpulse_evaluator;
GRANT SELECT ON classpulse.duplicates TO classpulse_evaluator;
GRANT SELECT(topic, partition, position, refused_at) ON classpulse.dead_letters TO classpulse_evaluator;
GRANT SELECT(key, time, source, id, type, schoolid, classid, teacher_id, course, grade, mode, roster, scheduled_start, scheduled_end, sequence, late, stored_at) ON classpulse.events_classroom TO classpulse_evaluator;
GRANT SELECT(key, time, source, id, type, schoolid, sequence, late, stored_at) ON classpulse.events_prep TO classpulse_evaluator;
GRANT SELECT(key, time, source, id, type, schoolid, host_id, scheduled_start, scheduled_end, sequence, late, stored_at) ON classpulse.events_research TO classpulse_evaluator;
GRANT SELECT ON classpulse.events_registry TO classpulse_evaluator;
GRANT SELECT ON classpulse.v1_* TO classpulse_evaluator;

-- Used by the evaluation services and Grafana: the views, which are the contract.
GRANT SELECT ON classpulse.v1_* TO classpulse_reader;
-- A view reads with the rights of who asks (SQL SECURITY INVOKER, ClickHouse's default), so the reader needs what the
-- views read. DEFINER would spare that, but then whoever may create a view could read through the definer, and the
-- metrics would stop when the definer is removed. Of the events only the columns of the views are granted: no
-- student's answer or attendance, and no roster, can be read with this password. What it does see of a student is what
-- portraits and roll-ups are made of: sums over one lesson and the portrait, by pseudonym.
GRANT SELECT ON classpulse.metric_rows TO classpulse_reader;
GRANT SELECT ON classpulse.checkpoints TO classpulse_reader;
GRANT SELECT(key, time, source, id, type, schoolid, classid, teacher_id, course, grade, mode, scheduled_start, scheduled_end) ON classpulse.events_classroom TO classpulse_reader;
GRANT SELECT(key, time, source, id, type, schoolid) ON classpulse.events_research TO classpulse_reader;
GRANT SELECT(key, time, source, id, type, name, group_id, school_id, stage, course, grade, career_stage, stored_at) ON classpulse.events_registry TO classpulse_reader;
GRANT SELECT ON classpulse.pane_versions TO classpulse_reader;
GRANT SELECT ON classpulse.evaluator_cycles TO classpulse_reader;
GRANT SELECT ON classpulse.portraits TO classpulse_reader;
GRANT SELECT ON classpulse.portrait_peers TO classpulse_reader;
GRANT SELECT ON classpulse.portrait_places TO classpulse_reader;
GRANT SELECT ON classpulse.scores TO classpulse_reader;
GRANT SELECT ON classpulse.data_quality TO classpulse_reader;
GRANT SELECT ON classpulse.evaluation_configs TO classpulse_reader;
GRANT SELECT ON classpulse.evaluation_nodes TO classpulse_reader;

-- Used by a device vendor, for `classpulse received`: what became of one event, and nothing else. The view reads with the
-- rights of who ran the migration (SQL SECURITY DEFINER): keep that user. The vendor must not change settings, since a
-- setting can add conditions to the tables below a view: give it a profile with readonly = 1, for example
--     CREATE SETTINGS PROFILE classpulse_vendor SETTINGS readonly = 1, max_memory_usage = 200000000, max_execution_time = 10,
--         max_threads = 1 TO classpulse_vendor;
GRANT SELECT ON classpulse.vendor_v1_received TO classpulse_vendor;

-- The reader's limits, as in users.xml: give it a profile, for example
--     CREATE SETTINGS PROFILE classpulse_reader SETTINGS readonly = 2, max_memory_usage = 1000000000 MIN 1 MAX 1000000000,
--         max_execution_time = 60 MIN 1 MAX 120, max_rows_to_read = 500000000 MIN 1 MAX 500000000,
--         max_result_rows = 1000000 MIN 1 MAX 1000000, max_threads = 2 MIN 1 MAX 4 TO classpulse_reader;
