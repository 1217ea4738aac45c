-- Whether any lesson of a range of keys was started in several schools and classes.
--
-- Parameters: key_from, key_to.
SELECT count() > 0
FROM
(
    SELECT key
    FROM events_classroom
    WHERE type = 'classroom.lesson.started' AND key >= {key_from:String} AND key <= {key_to:String}
    GROUP BY key
    HAVING uniqExact(schoolid, classid) > 1
)
