"""The view of a device vendor: what became of one event whose key, source and id it knows.

It reads with the rights of who migrates, so it is granted to those alone who cannot change a setting (a setting can add
conditions of its own to the tables below a view) or may read those tables anyway. Hence a name that `v1_*` does not cover.
"""

from typing import Final

from schemas.events.event_types import FAMILIES
from sinks.views.contract import View

__all__ = ["DUPLICATE", "RECEIVED", "REJECTED", "STORED", "VIEWS"]

RECEIVED: Final = "vendor_v1_received"
STORED: Final = "stored"
DUPLICATE: Final = "duplicate"
REJECTED: Final = "rejected"

_EVENT: Final = "key = {key:String} AND source = {source:String} AND id = {id:String}"
_STORED: Final = "\n    UNION ALL ".join(f"SELECT type, stored_at FROM {one.table} WHERE {_EVENT}" for one in FAMILIES)

VIEWS: Final = [
    View(
        RECEIVED,
        "What became of one event: a row if it is stored, one if it came again, one if it was rejected; none if it is not "
        "there (yet)",
        {
            "outcome": "stored; duplicate: came again and was dropped; rejected: became a dead letter",
            "at": "when it was stored first, came last, or was rejected last",
            "records": "so many records",
            "type": "of a stored event: its type, short",
            "reason": "of a rejected one: why, at the last time; see docs/events.md",
            "field": "of a rejected one: which field, where one is to blame",
        },
        # Each part is an aggregate without keys: no condition of who asks can come below it and be tried on other rows.
        f"""SELECT '{STORED}' AS outcome, min(stored_at) AS at, toUInt64(count() > 0) AS records,
    any(toString(type)) AS type, '' AS reason, '' AS field
FROM
(
    {_STORED}
)
HAVING count() > 0
UNION ALL
SELECT '{DUPLICATE}', max(dropped_at), uniqExact(topic, partition, position), '', '', ''
FROM duplicates WHERE {_EVENT}
HAVING count() > 0
UNION ALL
SELECT '{REJECTED}', max(refused_at), uniqExact(topic, partition, position), '', argMax(toString(reason), refused_at),
    argMax(toString(field), refused_at)
FROM dead_letters
WHERE {{id:String}} != '' AND {{source:String}} != ''
    AND event = lower(hex(SHA256({{source:String}} || '\\n' || {{id:String}})))
HAVING count() > 0""",
        {
            "key": "partitionkey of the event: the lesson, the teacher, the activity or the entity",
            "source": "source of the event, in full",
            "id": "id of the event, in full",
        },
        definer=True,
    ),
]
