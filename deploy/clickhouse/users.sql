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
-- Filled by the server's materialized views, with the rights of who ran the migration: keep that user.
GRANT SELECT ON classpulse.event_days TO classpulse_worker;
GRANT SELECT ON classpulse.checkpoint_days TO classpulse_worker;

-- Used by the evaluation services and Grafana: the views, which are the contract.
GRANT SELECT ON classpulse.v1_* TO classpulse_reader;
-- A view reads with the rights of who asks (SQL SECURITY INVOKER, ClickHouse's default), so the reader needs what the
-- views read. DEFINER would spare that, but then whoever may create a view could read through the definer, and the
-- figures would stop when the definer is removed. Of the events only the columns of the views are granted: no
-- student's answer or attendance can be read with this password.
GRANT SELECT ON classpulse.metric_rows TO classpulse_reader;
GRANT SELECT ON classpulse.checkpoints TO classpulse_reader;
GRANT SELECT(key, time, source, id, type, schoolid, classid, teacher_id, course, grade, mode, scheduled_start, scheduled_end) ON classpulse.events_classroom TO classpulse_reader;
GRANT SELECT(key, time, source, id, type, schoolid) ON classpulse.events_research TO classpulse_reader;

-- The reader's limits, as in users.xml: give it a profile, for example
--     CREATE SETTINGS PROFILE classpulse_reader SETTINGS readonly = 2, max_memory_usage = 1000000000 MIN 1 MAX 1000000000,
--         max_execution_time = 60 MIN 1 MAX 120, max_rows_to_read = 500000000 MIN 1 MAX 500000000,
--         max_result_rows = 1000000 MIN 1 MAX 1000000, max_threads = 2 MIN 1 MAX 4 TO classpulse_reader;
