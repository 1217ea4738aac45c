-- Whose work it was: heartbeats without input, and what a teacher did to the plan of another. Every statement can be run again.
ALTER TABLE events_prep ADD COLUMN IF NOT EXISTS had_input Nullable(Bool), ADD COLUMN IF NOT EXISTS owner_id String;
