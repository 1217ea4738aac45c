-- Who let a configuration of the evaluation count, and why. Activations from before say nothing of it.
-- Every statement can be run again.

ALTER TABLE evaluation_configs ADD COLUMN IF NOT EXISTS activated_by String DEFAULT '' COMMENT 'who activated it, by their own word';
ALTER TABLE evaluation_configs ADD COLUMN IF NOT EXISTS reason String DEFAULT '' COMMENT 'why, by their own word';
ALTER TABLE evaluation_configs ADD COLUMN IF NOT EXISTS database_user String DEFAULT '' COMMENT 'the ClickHouse user that stored it';
ALTER TABLE evaluation_configs ADD COLUMN IF NOT EXISTS host_user String DEFAULT '' COMMENT 'the account and the host of the program that stored it';
