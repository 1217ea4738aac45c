-- What the figures of catalogue version 2 need: the parts a figure is merged from, and which events came late.
-- Every statement can be run again.

ALTER TABLE metric_rows
    ADD COLUMN IF NOT EXISTS parts Array(Nullable(Float64)) COMMENT 'what the figure is merged from; see the metric catalogue' AFTER sample_size;

ALTER TABLE events_classroom
    ADD COLUMN IF NOT EXISTS late Bool DEFAULT false COMMENT 'later than the watermark of its partition when it came' AFTER position;
ALTER TABLE events_prep
    ADD COLUMN IF NOT EXISTS late Bool DEFAULT false COMMENT 'later than the watermark of its partition when it came' AFTER position;
ALTER TABLE events_research
    ADD COLUMN IF NOT EXISTS late Bool DEFAULT false COMMENT 'later than the watermark of its partition when it came' AFTER position;
ALTER TABLE events_registry
    ADD COLUMN IF NOT EXISTS late Bool DEFAULT false COMMENT 'later than the watermark of its partition when it came' AFTER position;
