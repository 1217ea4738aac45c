"""The event cache: a bounded cache of stored events, and the exact duplicate check.

State is a pure function of the stored events, so it may be thrown away at any time: a key that comes again is read back
from the store. That one rule covers the start of a worker, a rebalance, and an event that comes days late.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from streams.core.codes import coded

#: What makes an event the same event; never its time.
IDENTITY = ("key", "source", "id")
#: A hash of the identity. Equal ones may be the same event, others never are.
_MARK: Final = "mark"
#: Each write adds a chunk to every column, and every look at a column goes through its chunks.
_MAX_CHUNKS: Final = 64


@dataclass(frozen=True, slots=True)
class Added:
    """What came of some events: ``fresh`` were new, ``dropped`` were known already; both whole.

    ``cached`` are the new ones as the cache keeps them, in the order of ``fresh``.
    """

    fresh: pl.DataFrame
    dropped: pl.DataFrame
    cached: pl.DataFrame


class EventCache:
    """Stored events of some keys of one family: ``key, type, source, id, time_us`` and the columns that its fold needs.

    Text is coded, as ``streams/core/codes.py`` says. ``max_rows`` bounds what is kept between flushes; the keys longest
    untouched are forgotten first.
    """

    def __init__(self, schema: pl.Schema, max_rows: int) -> None:
        self._max_rows = max_rows
        self._plain = schema
        self._schema = coded(schema)
        self._frame = _marked(pl.DataFrame(schema=self._schema))
        self._forgotten_rows = 0
        #: Insertion order is the order of last use.
        self._keys: dict[str, None] = {}

    @property
    def height(self) -> int:
        """Rows in memory."""
        return self._frame.height

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return those of ``keys`` whose events are not in memory."""
        return [key for key in keys if key not in self._keys]

    def load(self, keys: Sequence[str], stored: pl.DataFrame) -> None:
        """Take in every stored event of ``keys``; a replayed insert may have stored one twice."""
        self._remember(_marked(self.part(stored).unique(IDENTITY)))
        self._keys.update(dict.fromkeys(keys))

    def add(self, events: pl.DataFrame) -> Added:
        """Remember the events not seen before, and return them in order.

        All keys must be in memory. Of several events with one identity the first counts.
        """
        cached = _marked(self.part(events))
        repeats = _repeats(cached, self._frame)
        if repeats is None:
            fresh, dropped = events, events.clear()
        else:
            fresh, dropped, cached = events.filter(~repeats), events.filter(repeats), cached.filter(~repeats)
        self._remember(cached)
        return Added(fresh, dropped, cached.drop(_MARK))

    def slices(self, fresh: pl.DataFrame, most_rows: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Yield all events of some keys that have ``fresh`` ones, and these; then those of others, and so on.

        ``fresh`` must be among what was added. A slice has whole keys, and about ``most_rows`` events, unless a key alone
        has more: what is in memory is copied slice by slice.
        """
        every = self._frame.drop(_MARK)
        key, fresh_key = (frame["key"].to_physical() for frame in (every, fresh))
        sizes = key.filter(key.is_in(fresh_key.unique().implode())).value_counts(name="size")
        numbered = sizes.select("key", slice=(pl.col("size").cum_sum() - pl.col("size")) // most_rows)
        for part in numbered.partition_by("slice", include_key=False):
            keys = part["key"].implode()
            yield every.filter(key.is_in(keys)), fresh.filter(fresh_key.is_in(keys))

    def part(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return the columns of ``events`` that are kept."""
        return events.select(self._schema.names()).cast(self._schema)

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
        """Drop ``keys`` and their events."""
        gone = pl.Series("key", list(keys), self._schema["key"])
        before = self._frame.height
        kept = ~self._frame["key"].is_in(gone.implode())
        columns = self._frame.get_columns()
        self._frame = self._frame.clear()
        # One by one, so that no more than one column is in memory twice.
        self._frame = pl.DataFrame([columns.pop(0).filter(kept) for _ in range(len(columns))])
        self._forgotten_rows += before - self._frame.height
        if self._forgotten_rows > self._max_rows:
            self._code_again()
        for key in gone:
            self._keys.pop(key, None)

    def clear(self) -> None:
        """Drop everything."""
        self._frame = self._frame.clear()
        self._keys.clear()
        self._code_again()

    def _remember(self, cached: pl.DataFrame) -> None:
        self._frame = pl.concat([self._frame, cached])
        if self._frame.n_chunks() > _MAX_CHUNKS:
            # Column by column, so that no more than one is in memory twice.
            for index in range(self._frame.width):
                self._frame.replace_column(index, self._frame.to_series(index).rechunk())

    def _code_again(self) -> None:
        """Begin a new dictionary, without what only forgotten events used."""
        self._schema = coded(self._plain)
        self._frame = _marked(self.part(self._frame))
        self._forgotten_rows = 0


def _marked(cached: pl.DataFrame) -> pl.DataFrame:
    """Add the hash of each identity."""
    codes = [pl.col(name).to_physical().hash(seed) for seed, name in enumerate(("key", "source"))]
    return cached.with_columns((pl.col("id").hash(len(codes)) ^ codes[0] ^ codes[1]).alias(_MARK))


def _repeats(cached: pl.DataFrame, known: pl.DataFrame) -> pl.Series | None:
    """Return which rows of ``cached`` have the identity of an earlier one or of one that is ``known``; None if no row has.

    Only where the hashes are equal the identities are compared.
    """
    marks = cached[_MARK]
    alike = known.filter(known[_MARK].is_in(marks.implode()))
    if alike.is_empty() and marks.n_unique() == len(marks):
        return None
    twice = pl.concat([marks.filter(~marks.is_first_distinct()), alike[_MARK]])
    suspects = cached.select(IDENTITY).with_row_index("nth").filter(marks.is_in(twice.implode()))
    fresh = suspects.unique(IDENTITY, keep="first", maintain_order=True).join(alike, on=IDENTITY, how="anti")
    repeats = suspects["nth"].filter(~suspects["nth"].is_in(fresh["nth"].implode()))
    return cached.select(pl.int_range(pl.len(), dtype=pl.UInt32).is_in(repeats.implode())).to_series()
