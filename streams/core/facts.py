"""The facts of the keys that are open: a bounded cache of stored events, and the exact duplicate check.

State is a pure function of the stored events, so it may be thrown away at any time: a key that comes again is read back
from the store. That one rule covers the start of a worker, a rebalance, and an event that comes days late.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

#: What makes an event the same event; never its time.
IDENTITY = ("key", "source", "id")


@dataclass(frozen=True, slots=True)
class Added:
    """What came of some events: ``fresh`` were new, ``dropped`` were known already; both whole.

    ``known`` holds the facts of all their keys, the new ones included.
    """

    fresh: pl.DataFrame
    known: pl.DataFrame
    dropped: pl.DataFrame


class Facts:
    """Stored events of some keys of one family: ``key, type, source, id, time_us`` and the family's fact columns.

    ``max_rows`` bounds what is kept between flushes; the keys longest untouched are forgotten first.
    """

    def __init__(self, schema: pl.Schema, max_rows: int) -> None:
        self._max_rows = max_rows
        self._frame = pl.DataFrame(schema=schema)
        #: Insertion order is the order of last use.
        self._keys: dict[str, None] = {}

    @property
    def height(self) -> int:
        """Rows in memory."""
        return self._frame.height

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those of ``keys`` whose facts are not in memory."""
        return [key for key in keys if key not in self._keys]

    def load(self, keys: Sequence[str], stored: pl.DataFrame) -> None:
        """Take in every stored event of ``keys``; a replayed insert may have stored one twice."""
        self._frame = pl.concat(
            [self._frame, stored.select(self._frame.columns).cast(self._frame.schema).unique(IDENTITY)]
        )
        self._keys.update(dict.fromkeys(keys))

    def add(self, events: pl.DataFrame) -> Added:
        """Remember the events not seen before, and return them in order.

        All keys must be in memory. Of several events with one identity the first counts.
        """
        numbered = events.with_row_index("nth")
        first = numbered.unique(IDENTITY, keep="first", maintain_order=True)
        known = self._frame.filter(pl.col("key").is_in(first["key"].unique().implode()))
        fresh = first.join(known, on=IDENTITY, how="anti", maintain_order="left")
        if fresh.height == events.height:
            dropped = events.clear()
        else:
            dropped = numbered.join(fresh, on="nth", how="anti").drop("nth")
        fresh = fresh.drop("nth")
        facts = self.part(fresh)
        self._frame = pl.concat([self._frame, facts])
        return Added(fresh, pl.concat([known, facts]), dropped)

    def part(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the columns of ``events`` that are kept as facts."""
        return events.select(self._frame.columns).cast(self._frame.schema)

    def touch(self, keys: Iterable[str]) -> None:
        """Note that ``keys`` were used now."""
        for key in keys:
            self._keys.pop(key, None)
            self._keys[key] = None

    def shrink(self) -> None:
        """Forget the keys longest untouched until the bound holds."""
        if self._frame.height <= self._max_rows:
            return
        sizes = dict(self._frame.group_by("key").len().iter_rows())
        excess = self._frame.height - self._max_rows * 3 // 4
        forgotten = []
        for key in self._keys:
            if excess <= 0:
                break
            forgotten.append(key)
            excess -= sizes.get(key, 0)
        self.forget(forgotten)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop ``keys`` and their facts."""
        gone = pl.Series("key", list(keys), pl.String)
        self._frame = self._frame.filter(~pl.col("key").is_in(gone.implode()))
        for key in gone:
            self._keys.pop(key, None)

    def clear(self) -> None:
        """Drop everything."""
        self._frame = self._frame.clear()
        self._keys.clear()
