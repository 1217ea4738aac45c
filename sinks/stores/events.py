"""The stored events: written once, read back to rebuild the state of a key."""

from collections.abc import Sequence

import polars as pl

from schemas.codec.decode import event_columns
from schemas.errors import MustStop, RowsRejected
from schemas.events.event_types import Family
from sinks.clickhouse.answers import in_parts
from sinks.clickhouse.client import Warehouse

#: So many keys are asked for in one query, which bounds its text.
KEYS_PER_QUERY = 2_000
#: Events of one write that ClickHouse may reject; each costs some inserts to find.
MOST_REFUSED_EVENTS = 1_000
DUPLICATES = "duplicates"
DUPLICATE_COLUMNS = ("partition", "position", "key", "time_us", "source", "id", "schoolid")
_EVERY_FAMILY = ("key", "type", "source", "id", "time_us")


class EventStore:
    """The ``events_<family>`` tables, and ``duplicates``."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def insert(self, family: Family, events: pl.DataFrame) -> dict[tuple[int, int], str]:
        """Insert events as the codec gives them, with ``partition`` and ``position``.

        Returns those that ClickHouse will never take, by partition and position, with what it says; all others are stored.
        Raises :class:`MustStop` if they are more than ``MOST_REFUSED_EVENTS``: then the table is at fault.
        """
        rejected: dict[tuple[int, int], str] = {}
        parts = [events]
        while parts:
            part = parts.pop()
            try:
                self._warehouse.insert(family.table, part, months_of="time_us")
            except RowsRejected as error:
                if part.height > 1:
                    parts += [part[: part.height // 2], part[part.height // 2 :]]
                    continue
                if len(rejected) == MOST_REFUSED_EVENTS:
                    raise MustStop(
                        f"ClickHouse rejects more than {MOST_REFUSED_EVENTS:,} events of one write. {error}",
                        f"Compare {family.table} and its constraints with sinks/sql/migrations",
                    ) from error
                rejected[part.item(0, "partition"), part.item(0, "position")] = str(error)
        return rejected

    def note_duplicates(self, family: Family, dropped: pl.DataFrame) -> None:
        """Record which records were dropped because their event is stored already; columns as for ``insert``."""
        if dropped.is_empty():
            return
        rows = dropped.select(pl.lit(family.topic).alias("topic"), *DUPLICATE_COLUMNS)
        self._warehouse.insert(DUPLICATES, rows)

    def events_of(self, family: Family, columns: Sequence[str], keys: Sequence[str], below: dict[int, int]) -> pl.DataFrame:
        """Return the stored events of ``keys`` as ``key, type, source, id, time_us`` and ``columns``.

        ``below`` gives, for each partition, the position from which events do not count yet: what a crashed worker
        stored beyond its checkpoint will come again.
        """
        sql = (
            f"SELECT {_selected(family, columns)} FROM {family.table} WHERE key IN {{keys:Array(String)}} "  # noqa: S608 - names come from the models
            "AND position < transform(partition, {partitions:Array(UInt16)}, {positions:Array(UInt64)},"
            " toUInt64(18446744073709551615))"
        )
        limits = {
            "partitions": list(below),
            "positions": list(below.values()),
        }
        parts = [
            self._warehouse.query(
                f"read the stored events of {family.table}",
                sql,
                {"keys": some, **limits},
            )
            for some in in_parts(keys, KEYS_PER_QUERY)
        ]
        return pl.concat(parts)

    def stored_between(
        self, family: Family, columns: Sequence[str], partition: int, positions: tuple[int, int]
    ) -> pl.DataFrame:
        """Return what is stored of a partition from the first position to before the second.

        The columns are those of ``cached``, ``partition`` and ``position``.
        """
        return self._warehouse.query(
            f"read what is stored above the checkpoint in {family.table}",
            f"SELECT {_selected(family, columns)}, partition, position FROM {family.table} FINAL "  # noqa: S608 - as above
            "WHERE partition = {partition:UInt16} AND position >= {low:UInt64} AND position < {high:UInt64}",
            {"partition": partition, "low": positions[0], "high": positions[1]},
        )


def _selected(family: Family, columns: Sequence[str]) -> str:
    """Return the columns as an event has them: where a field is absent the table has an empty text, and an event NULL."""
    kinds = event_columns(family)

    def selected(name: str) -> str:
        if name.endswith("_us"):
            return f"toUnixTimestamp64Micro({name.removesuffix('_us')}) AS {name}"
        return f"nullIf({name}, '') AS {name}" if name not in _EVERY_FAMILY and kinds[name] == pl.String else name

    return ", ".join(selected(name) for name in [*_EVERY_FAMILY, *columns])
