-- From where the counters of each partition of a topic can be held against a table: a checkpoint below which rows may be
-- gone and above which none is.
--
-- Parameters: topic, last_aged_day (what was written until this day may be gone).
-- `began` is the first day on which anything was stored; `base` is position, stored and dead_letters of the oldest
-- checkpoint after the aged day; `has_base` is 0 if there is none.
SELECT
    partition,
    least(
        min(day),
        ifNull((SELECT minOrNull(day) FROM event_days WHERE topic = {topic:String}), toDate('2149-06-06'))
    ) AS began,
    countIf(day > {last_aged_day:Date}) > 0 AS has_base,
    argMinIf((position, stored, dead_letters), day, day > {last_aged_day:Date}) AS base
FROM checkpoint_days FINAL
WHERE topic = {topic:String}
GROUP BY partition
