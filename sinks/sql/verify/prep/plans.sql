-- 备课: every row of metrics 18 to 21, recomputed from the stored events. Defined in schemas/metrics/prep/plans.py.
WITH
    /* events */
    -- What was done to each plan, in the order of time: when, and how many characters it changed.
    work AS
    (
        SELECT
            key, plan,
            arraySort(
                groupArrayIf((at, assumeNotNull(characters_changed)), type != 'prep.plan.completed' AND characters_changed > 0)
            ) AS changes,
            groupArrayIf(at, type = 'prep.plan.completed') AS completed
        FROM events
        WHERE (type = 'prep.plan.edited' AND substantive) OR type IN ('prep.plan.coedited', 'prep.plan.completed')
        GROUP BY key, plan
    ),
    -- Every plan.taught and when its plan was ready; 28 days are 2419200 seconds.
    lessons AS
    (
        SELECT
            t.key AS key, t.day AS day, t.lesson_at AS lesson_at,
            arrayFilter(one -> one.1 BETWEEN lesson_at - 2419200000000 AND lesson_at, w.changes) AS own,
            arrayFilter(at -> at BETWEEN lesson_at - 2419200000000 AND lesson_at, w.completed) AS done,
            arrayCumSum(one -> one.2, own) AS sums,
            notEmpty(own) OR notEmpty(done) AS is_known,
            if(notEmpty(own), own[arrayFirstIndex(sum -> sum * 100 >= sums[-1] * 80, sums)].1, arrayMin(done)) AS ready
        FROM (SELECT key, plan, day, lesson_at FROM events WHERE type = 'prep.plan.taught') AS t
        LEFT JOIN work AS w ON t.key = w.key AND t.plan = w.plan
    ),
    completions AS
    (
        SELECT key, plan, day, at, min(at) OVER (PARTITION BY key, plan) AS first_at
        FROM events
        WHERE type = 'prep.plan.completed'
    ),
    uses AS
    (
        SELECT key, plan, groupArray(lesson_at) AS lessons_at
        FROM events
        WHERE type = 'prep.plan.taught'
        GROUP BY key, plan
    ),
    -- Plans by the day of each completion; only the first one counts. 14 days are 1209600 seconds.
    outcomes AS
    (
        SELECT
            c.key AS key, c.day AS day, c.plan AS plan, c.at = c.first_at AS counts,
            arrayExists(lesson_at -> lesson_at >= first_at AND lesson_at <= first_at + 1209600000000, u.lessons_at) AS used
        FROM completions AS c
        LEFT JOIN uses AS u ON c.key = u.key AND c.plan = u.plan
    ),
    metrics AS
    (
        SELECT
            'lead_time_seconds' AS metric, w.1 AS window, key, '' AS item, w.2 AS first_day, w.3 AS days,
            arraySort(groupArrayIf((lesson_at - ready) / 1000000, is_known)) AS leads,
            length(leads) AS found,
            if(found = 0, 0, (leads[intDiv(found + 1, 2)] + leads[intDiv(found + 2, 2)]) / 2) AS numerator,
            toFloat64(found > 0) AS denominator, found AS sample_size,
            CAST(leads, 'Array(Nullable(Float64))') AS parts
        FROM lessons
        ARRAY JOIN arrayConcat(
            arrayMap(back -> ('7d/1d', day - back, 7), range(7)), [('iso_week', day - (toDayOfWeek(day) - 1), 7)]
        ) AS w
        GROUP BY key, window, first_day, days
        UNION ALL
        SELECT
            'co_prep_rate', window, key, '', first_day, days, [], 0,
            countIf(persons >= 2), toFloat64(count()), count(), []
        FROM
        (
            SELECT
                w.1 AS window, key, w.2 AS first_day, w.3 AS days, plan,
                uniqExactArray(arrayFilter(one -> one != '', [if(type = 'prep.plan.edited', key, editor_id), owner_id])) AS persons
            FROM events
            ARRAY JOIN arrayConcat(
                arrayMap(back -> ('28d/1d', day - back, 28), range(28)), [('iso_week', day - (toDayOfWeek(day) - 1), 7)]
            ) AS w
            WHERE type IN ('prep.plan.edited', 'prep.plan.coedited')
            GROUP BY key, window, first_day, days, plan
        )
        GROUP BY key, window, first_day, days
        UNION ALL
        SELECT
            'reuse_rate', w.1 AS window, key, level, w.2 AS first_day, w.3 AS days, [], 0,
            countIf(origin = 'reused'), toFloat64(count()), count(), []
        FROM (SELECT key, day, origin, arrayJoin(['', platform]) AS level FROM events WHERE type = 'prep.resource.attached')
        ARRAY JOIN arrayConcat(
            arrayMap(back -> ('28d/1d', day - back, 28), range(28)), [('iso_week', day - (toDayOfWeek(day) - 1), 7)]
        ) AS w
        GROUP BY key, window, level, first_day, days
        UNION ALL
        SELECT
            'plan_to_class_rate', w.1 AS window, key, '', w.2 AS first_day, w.3 AS days, [], 0,
            uniqExactIf(plan, counts AND used), toFloat64(uniqExactIf(plan, counts) AS plans), plans, []
        FROM outcomes
        ARRAY JOIN arrayConcat(
            arrayMap(back -> ('7d/1d', day - back, 7), range(7)), [('iso_week', day - (toDayOfWeek(day) - 1), 7)]
        ) AS w
        GROUP BY key, window, first_day, days
    )
SELECT
    metric, window, key, item,
    toTimeZone(toDateTime64(first_day, 6, {time_zone:String}), 'UTC') AS slot, slot AS window_start,
    toTimeZone(toDateTime64(first_day + days, 6, {time_zone:String}), 'UTC') AS window_end,
    if(denominator = 0, NULL, numerator / denominator) AS value,
    toFloat64(numerator) AS numerator, denominator, toUInt32(sample_size) AS sample_size, parts
FROM metrics
