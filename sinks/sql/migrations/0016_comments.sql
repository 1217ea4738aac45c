-- What the comments of tables say, in the words of the glossary: a metric, not a figure. Every statement can be run again.
ALTER TABLE metric_rows MODIFY COMMENT 'Every metric, as an absolute value that replaces the one before; read it through the v1_ views';
ALTER TABLE metric_rows COMMENT COLUMN metric 'name of the metric', COMMENT COLUMN item 'the prompt, student, strategy or platform that the row is about; otherwise empty', COMMENT COLUMN parts 'what the metric is merged from; see the metric catalogue';
ALTER TABLE pane_versions MODIFY COMMENT 'Every closed metric with its school, class and teacher, in all its versions; read it through the views';
ALTER TABLE pane_versions COMMENT COLUMN metric 'name of the metric';
ALTER TABLE figure_keys MODIFY COMMENT 'When metrics of each key were last written';
ALTER TABLE figure_keys COMMENT COLUMN changed_at 'when metrics of the key were last written';
ALTER TABLE pane_keys MODIFY COMMENT 'Up to when the metrics of each key are in pane_versions';
ALTER TABLE portrait_peers MODIFY COMMENT 'What the levels of a week are compared with (metric 29), one more row whenever it changes';
ALTER TABLE portraits COMMENT COLUMN observed 'the metric of the dimension on the day; NULL on the day on which the entity becomes inactive', COMMENT COLUMN level 'decayed level at the end of the day (metric 28)', COMMENT COLUMN active_days_7 'days with an observation in any dimension among the 7 that end with the day (metric 30)';
ALTER TABLE scores COMMENT COLUMN coverage 'share of the weight below the node for which metrics are there, 0 to 1', COMMENT COLUMN figure 'of an indicator: its metric, in the unit of the metric; NULL where there is none', COMMENT COLUMN sample_size 'of an indicator: that of its metric; otherwise the smallest of its available indicators', COMMENT COLUMN as_of 'instant as of which the metrics were read';
ALTER TABLE data_quality MODIFY COMMENT 'Quality of the data beside every score (metric 32); the latest recorded_at counts';
ALTER TABLE data_quality COMMENT COLUMN district_dead_letters 'records of the whole district rejected in the week; a rejected record names no school for certain';
ALTER TABLE score_runs COMMENT COLUMN as_of 'instant as of which the metrics were read';
ALTER TABLE checkpoints COMMENT COLUMN dead_letters 'records rejected';
ALTER TABLE dead_letters MODIFY COMMENT 'What was rejected and why; the original bytes are in the dead-letter topic';
ALTER TABLE dead_letters COMMENT COLUMN reason 'why it was rejected', COMMENT COLUMN refused_at 'when it was inserted';
ALTER TABLE evaluation_nodes COMMENT COLUMN norm 'of an indicator: how its metric earns points, in words';
ALTER TABLE checkpoint_days COMMENT COLUMN dead_letters 'records rejected below it, since the beginning';
