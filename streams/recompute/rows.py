"""The stored metric rows as ``classpulse recompute`` reads and deletes them."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from schemas.events.event_types import Family
from sinks.clickhouse.answers import in_parts
from sinks.clickhouse.client import WRITE_SETTINGS, Warehouse
from sinks.stores.events import KEYS_PER_QUERY

__all__ = ["RowStore"]

#: Rows named in one DELETE; each rewrites a column of every part it touches, so many at once are cheaper.
ROWS_PER_DELETE: Final = 5_000
#: Codes of ClickHouse: only reading is allowed; the right is missing.
NO_RIGHT: Final = (164, 497)

_STORED: Final = """
SELECT
    toString(metric) AS metric, toString(window) AS window, key, item, toUnixTimestamp64Micro(slot) AS slot_us,
    toUnixTimestamp64Micro(window_start) AS window_start_us, toUnixTimestamp64Micro(window_end) AS window_end_us,
    value, numerator, denominator, sample_size, parts, catalogue_version, revision
FROM metric_rows FINAL
WHERE key IN {keys:Array(String)} AND topic = {topic:String}
"""


class RowStore:
    """The table ``metric_rows``, row by row, and where keys come from."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._may_delete = True

    def origins(self, family: Family, keys: Sequence[str]) -> pl.DataFrame:
        """Return ``key, partition``: one row for each key, and more where a key is in several partitions."""
        sql = f"SELECT DISTINCT key, partition FROM {family.table} WHERE key IN {{keys:Array(String)}}"  # noqa: S608 - a declared name
        return self._read("read which partition each key is in", sql, keys)

    def stored(self, family: Family, keys: Sequence[str], metrics: Collection[str]) -> pl.DataFrame:
        """Return the rows of ``keys``: the columns of ``ROW_SCHEMA``, ``catalogue_version`` and ``revision``.

        All of the family's metrics where ``metrics`` is empty, also those that no catalogue knows any more.
        """
        named = " AND metric IN {metrics:Array(String)}" if metrics else ""
        return self._read("read the stored metrics", _STORED + named, keys, topic=family.topic, metrics=list(metrics))

    def delete(self, family: Family, rows: pl.DataFrame) -> int:
        """Delete ``rows`` as they were seen; return how many. 0 where the user has no right to.

        ``rows`` has the columns that identify a row, and ``applied``: a row that got a higher revision meanwhile stays.
        Whoever deletes may also note that the keys' metrics changed, which an insert would do by itself.
        """
        deleted = 0
        for (applied,), same in rows.group_by("applied"):
            for places in in_parts(same.select("metric", "window", "key", "item", "slot_us").rows(), ROWS_PER_DELETE):
                if not self._may_delete:
                    return deleted
                keys = sorted({key for _metric, _window, key, _item, _slot_us in places})
                what = f"delete {len(places)} metrics that no event explains"
                parameters = {"keys": keys, "applied": applied, "places": places}
                self._may_delete = self._warehouse.call(what, partial(_deleted, parameters=parameters))
                if self._may_delete:
                    deleted += len(places)
                    self._note_changed(family, keys)
        return deleted

    def _note_changed(self, family: Family, keys: Sequence[str]) -> None:
        self._warehouse.call(
            "note which keys' metrics changed",
            # Not as a command: the driver puts all that belongs to one into the URL.
            lambda client: client.raw_query(
                "INSERT INTO figure_keys (topic, key, changed_at)"
                " SELECT {topic:String}, arrayJoin({keys:Array(String)}), now64(3)",
                parameters={"topic": family.topic, "keys": list(keys)},
                settings=WRITE_SETTINGS,
            ),
        )

    def _read(self, what: str, sql: str, keys: Sequence[str], **parameters: Any) -> pl.DataFrame:
        parts = [self._warehouse.query(what, sql, {"keys": some, **parameters}) for some in in_parts(keys, KEYS_PER_QUERY)]
        return pl.concat(parts)


def _deleted(client: Client, parameters: dict[str, Any]) -> bool:
    try:
        client.raw_query(
            "DELETE FROM metric_rows WHERE key IN {keys:Array(String)} AND revision <= {applied:UInt64}"
            " AND (toString(metric), toString(window), key, item, toUnixTimestamp64Micro(slot))"
            " IN {places:Array(Tuple(String, String, String, String, Int64))}",
            parameters=parameters,
            settings={"lightweight_deletes_sync": 2},
        )
    except ClickHouseError as error:
        if isinstance(error, Error) and error.code in NO_RIGHT:
            return False
        raise
    return True
