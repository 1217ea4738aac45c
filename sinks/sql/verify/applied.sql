-- What every recomputation begins with: how far each partition of the topic is applied, and which keys are ahead of that.
--
-- Parameters: topic, key_from, key_to.
(
    SELECT (groupArray(partition), groupArray(position))
    FROM checkpoints FINAL
    WHERE topic = {topic:String}
) AS applied,
-- Metrics are written before the checkpoint: a key whose metrics are ahead of it is compared as of its metrics.
(
    SELECT (groupArray(key), groupArray(highest))
    FROM
    (
        SELECT key, max(revision) AS highest
        FROM metric_rows
        WHERE topic = {topic:String} AND key >= {key_from:String} AND key <= {key_to:String}
        GROUP BY key
        HAVING highest > transform(any(partition), applied.1, applied.2, toUInt64(0))
    )
) AS ahead,
