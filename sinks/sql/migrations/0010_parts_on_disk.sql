-- What a write and a look at stored keys cost the server: how parts lie on disk, when they are merged, how a key is found.
-- No row changes, and no order. What is stored already takes the new form when it is merged.
-- Every statement can be run again.

-- A part as a write leaves it is one file and not one a column: with some forty columns, most of them empty, creating the
-- files costs as much as what is in them. Merging makes them wide, column by column.
-- Statistics of every column would be computed at each merge, a third of its cost; nothing here is planned by them.
-- Ten parts of a size make the next, not five: each row is merged less often, for a few more parts to read.
ALTER TABLE events_classroom MODIFY SETTING min_level_for_wide_part = 1, auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE events_prep MODIFY SETTING min_level_for_wide_part = 1, auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE events_research MODIFY SETTING min_level_for_wide_part = 1, auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE events_registry MODIFY SETTING min_level_for_wide_part = 1, auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE metric_rows MODIFY SETTING min_level_for_wide_part = 1, auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE duplicates MODIFY SETTING auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE dead_letters MODIFY SETTING auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE checkpoints MODIFY SETTING auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE event_days MODIFY SETTING auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE checkpoint_days MODIFY SETTING auto_statistics_types = '', merge_selector_base = 10;
ALTER TABLE figure_keys MODIFY SETTING auto_statistics_types = '', merge_selector_base = 10;

-- Each write asks for the stored events of keys that are new to its worker, and mostly there are none. The primary index
-- alone cannot say no: a key that is not there lies between two others in every part, and a granule of each is read, more
-- of them the more is stored. A granule holds few keys, so their filter is small, and fine enough for many at once.
ALTER TABLE events_classroom ADD INDEX IF NOT EXISTS events_key key TYPE bloom_filter(0.00001) GRANULARITY 1;
ALTER TABLE events_prep ADD INDEX IF NOT EXISTS events_key key TYPE bloom_filter(0.00001) GRANULARITY 1;
ALTER TABLE events_research ADD INDEX IF NOT EXISTS events_key key TYPE bloom_filter(0.00001) GRANULARITY 1;
ALTER TABLE events_registry ADD INDEX IF NOT EXISTS events_key key TYPE bloom_filter(0.00001) GRANULARITY 1;

-- In the background: until it is done, a look at old parts costs what it did.
ALTER TABLE events_classroom MATERIALIZE INDEX events_key;
ALTER TABLE events_prep MATERIALIZE INDEX events_key;
ALTER TABLE events_research MATERIALIZE INDEX events_key;
ALTER TABLE events_registry MATERIALIZE INDEX events_key;
