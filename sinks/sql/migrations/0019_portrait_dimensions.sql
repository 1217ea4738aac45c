-- In which dimensions each entity was ever observed, and since when: the evaluator need not read the portraits of years to know
-- that it has found the last of each. Every statement can be run again.
CREATE TABLE IF NOT EXISTS portrait_dimensions
(
    kind              LowCardinality(String)  COMMENT 'student, teacher, class, school or group',
    entity_id         String                  COMMENT 'the student, teacher, class, school or group',
    dimension         LowCardinality(String)  COMMENT 'name of the dimension',
    first_day         SimpleAggregateFunction(min, Date32) COMMENT 'first local day of which anything was said'
)
ENGINE = AggregatingMergeTree
ORDER BY (kind, entity_id, dimension)
COMMENT 'Since when the portraits say something of each entity in each dimension';

-- Writes with the rights of who ran the migration: the evaluator needs none on the table but to read it.
CREATE MATERIALIZED VIEW IF NOT EXISTS portrait_dimensions_of_portraits TO portrait_dimensions
DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT kind, entity_id, dimension, min(day) AS first_day
FROM portraits
GROUP BY kind, entity_id, dimension;

-- What was said before. The view comes first: what is said meanwhile is noted twice, not never.
INSERT INTO portrait_dimensions
SELECT kind, entity_id, dimension, min(day)
FROM portraits
GROUP BY kind, entity_id, dimension;
