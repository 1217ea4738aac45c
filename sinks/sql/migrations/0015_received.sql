-- A vendor may ask what became of one event, by key, source and id (view vendor_v1_received); nothing else is shown to it.
-- Every statement can be run again. Records from before have no id here, and are not found.
ALTER TABLE duplicates ADD COLUMN IF NOT EXISTS id String COMMENT 'unique within source; empty for records from before' AFTER source;
ALTER TABLE duplicates ADD INDEX IF NOT EXISTS duplicates_id id TYPE bloom_filter(0.001) GRANULARITY 1;
-- Not source and id themselves: what stands in their place in a rejected record may be anything.
ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS event String COMMENT 'SHA-256 in hex of source, line feed and id; empty where they cannot be read' AFTER value_bytes;
ALTER TABLE dead_letters ADD INDEX IF NOT EXISTS dead_letters_event event TYPE bloom_filter(0.001) GRANULARITY 1;
