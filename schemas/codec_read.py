"""Many JSON records to one Arrow table in one call, and which records could not be read that way.

``pyarrow.json`` is strict about types when the schema is explicit, and fast, but it reads a *stream* of objects, and
some of what it lets pass is no JSON. What it was measured to do (version 26), and what is done about it here:

* a top-level ``null`` ends the process; a byte order mark is accepted: every record must begin with ``{`` and end
  with ``}``;
* two objects in one record give two rows, and a NUL byte ends the input early, so that the two together could shift
  rows unseen: no record may hold a NUL byte, and the rows are counted;
* ``NaN`` and ``Inf`` are numbers to it: such records are set aside;
* it recurses into values it ignores: records with many brackets are set aside;
* invalid UTF-8 passes: the whole input is checked at once;
* one wrong record is an error for the whole call: see ``_Reader``.
"""

import re
from collections.abc import Iterable
from itertools import accumulate, compress
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import json as arrow_json

from schemas.validate import DEPTH_LIMIT

#: Joined input of one call: bounds the copy in memory, and Arrow's 32-bit offsets end at 2 GiB.
CALL_LIMIT_BYTES: Final = 64 * 1024 * 1024
#: Rows of one call: a wrong record makes only its block be read again, and the call's overhead is still spread thin.
BLOCK_ROWS: Final = 1_000
_BEFORE_A_NUMBER: Final = frozenset(bytes([byte]) for byte in b":[,- \t\n\r\f\v")
_OBJECT_START, _OBJECT_END = ord("{"), ord("}")
_ERROR_ROW: Final = re.compile(r" in row (\d+)$")
#: Errors closer together than this, after the first few, cost more calls than looking at each record.
CROWD_ROWS: Final = 8
CROWD_ERRORS: Final = 16
#: Fewer rows than this are looked at one by one; another call would cost as much.
HALVING_LIMIT_ROWS: Final = 32
_SEVERAL_OBJECTS: Final = r"\}[ \t\r\n]*\{"


def read(
    schema: pa.Schema, rows: list[int], values: list[bytes], doubted: list[int]
) -> list[tuple[list[int], pa.Table]]:
    """Read ``values``, the JSON objects of the records ``rows``, against ``schema``.

    Returns tables with the rows they hold, in order. The rows that were not read are added to ``doubted``.
    """
    tables: list[tuple[list[int], pa.Table]] = []
    reader = _Reader(schema)
    for part_rows, part_values in _parts(rows, values):
        joined = b"\n".join(part_values)
        safe = _safe(joined, part_values)
        if all(safe):
            kept, table = reader.read(part_rows, part_values)
        else:
            kept, table = reader.read(list(compress(part_rows, safe)), list(compress(part_values, safe)))
        if len(kept) < len(part_rows):
            doubted.extend(set(part_rows).difference(kept))
        if table is not None:
            tables.append((kept, table))
    return tables


def _parts(rows: list[int], values: list[bytes]) -> Iterable[tuple[list[int], list[bytes]]]:
    """Cut the batch so that no call gets more than ``CALL_LIMIT_BYTES``, or one record."""
    if sum(map(len, values)) + len(values) <= CALL_LIMIT_BYTES:
        yield rows, values
        return
    start, size = 0, 0
    for index, value in enumerate(values):
        if size + len(value) > CALL_LIMIT_BYTES and index > start:
            yield rows[start:index], values[start:index]
            start, size = index, 0
        size += len(value) + 1
    yield rows[start:], values[start:]


def _safe(joined: bytes, values: list[bytes]) -> list[bool]:
    """Return which of ``values`` may be handed to the reader; a fault is looked for in all of them together first."""
    safe = [value[0] == _OBJECT_START and value[-1] == _OBJECT_END for value in values]
    if b"\0" in joined:
        safe = [good and b"\0" not in value for good, value in zip(safe, values, strict=True)]
    if not _is_utf8(joined):
        safe = [good and (value.isascii() or _is_utf8(value)) for good, value in zip(safe, values, strict=True)]
    if _may_hold_nan(joined):
        safe = [good and not _may_hold_nan(value) for good, value in zip(safe, values, strict=True)]
    if not _all_shallow(joined, max(map(len, values))):
        safe = [
            good and value.count(b"{") + value.count(b"[") <= DEPTH_LIMIT
            for good, value in zip(safe, values, strict=True)
        ]
    return safe


def _all_shallow(joined: bytes, longest_bytes: int) -> bool:
    """Return True if more than ``DEPTH_LIMIT`` opening brackets always span more than the longest value."""
    # The two brackets, 0x5b and 0x7b, differ in one bit.
    opening = np.flatnonzero((np.frombuffer(joined, dtype=np.uint8) | 0x20) == ord("{"))
    if len(opening) <= DEPTH_LIMIT:
        return True
    return bool((opening[DEPTH_LIMIT:] - opening[:-DEPTH_LIMIT]).min() > longest_bytes)


def _is_utf8(text: bytes) -> bool:
    offsets = pa.py_buffer(np.array([0, len(text)], dtype=np.int64))
    one = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(text)])
    try:
        one.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _may_hold_nan(text: bytes) -> bool:
    # Literal searches, single bytes first: most batches have none, and a pattern that begins with a choice of bytes takes
    # many times as long.
    for first, literal in ((b"N", b"NaN"), (b"I", b"Inf")):
        found = text.find(literal) if first in text else -1
        while found >= 0:
            if text[found - 1 : found] in _BEFORE_A_NUMBER:
                return True
            found = text.find(literal, found + 1)
    return False


class _Unreadable(Exception):  # noqa: N818 - a verdict on the input, caught in this module
    def __init__(self, row: int | None) -> None:
        super().__init__(row)
        self.row = row


class _Reader:
    """Reads all it can in few calls, whatever a few records hold.

    Most errors name their row: the rows before it can be read, so only those after it are tried next, and what was
    left behind is read together at the end. That costs a wrong record little more than one call's overhead. Errors
    that name no row (numbers of the wrong form, met after parsing) are foreseen by a pattern, and failing that
    narrowed by halving.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        self._suspect = _suspect_pattern(schema)

    def read(self, rows: list[int], values: list[bytes]) -> tuple[list[int], pa.Table | None]:
        """Return the rows that could be read, and their table."""
        kept: list[int] = []
        tables = []
        for start in range(0, len(rows), BLOCK_ROWS):
            found, table = self._read_block(rows[start : start + BLOCK_ROWS], values[start : start + BLOCK_ROWS])
            kept += found
            if table is not None:
                tables.append(table)
        return kept, _one(tables)

    def _read_block(self, rows: list[int], values: list[bytes]) -> tuple[list[int], pa.Table | None]:
        try:
            return rows, self._call(pa.py_buffer(b"\n".join(values)), len(values))
        except _Unreadable:
            pass
        suspect = pl.Series(values, dtype=pl.Binary).cast(pl.String).str.contains(self._suspect)
        plain = [index for index, bad in enumerate(suspect) if not bad]
        kept, tail = self._past_errors(plain, values)
        before = kept if tail is None else kept[: -tail.num_rows]
        read_before, table = self._together(before, values)
        tables = [part for part in (table, tail) if part is not None]
        indices = read_before + kept[len(before) :]
        return [rows[index] for index in indices], _one(tables)

    def _call(self, joined: pa.Buffer, rows: int) -> pa.Table:
        try:
            table = arrow_json.read_json(
                pa.BufferReader(joined),
                read_options=arrow_json.ReadOptions(use_threads=False, block_size=joined.size + 1),
                parse_options=self._options,
            )
        except pa.ArrowInvalid as error:
            found = _ERROR_ROW.search(str(error))
            raise _Unreadable(int(found.group(1)) if found else None) from None
        if table.num_rows != rows:
            raise _Unreadable(None)
        return table

    def _past_errors(self, indices: list[int], values: list[bytes]) -> tuple[list[int], pa.Table | None]:
        """Return ``indices`` without each row that an error names, cut short where errors crowd.

        The table, if there is one, holds the last of them, those after the last error.
        """
        chosen = [values[index] for index in indices]
        joined = pa.py_buffer(b"\n".join(chosen))
        starts = [0, *accumulate(len(value) + 1 for value in chosen)]
        kept: list[int] = []
        start = errors = 0
        while start < len(indices):
            try:
                table = self._call(joined.slice(starts[start]), len(indices) - start)
            except _Unreadable as unreadable:
                if unreadable.row is None or unreadable.row >= len(indices) - start:
                    return kept + indices[start:], None
                end = start + unreadable.row
                kept.extend(indices[start:end])
                start = end + 1
                errors += 1
                if errors >= CROWD_ERRORS and start < errors * CROWD_ROWS:
                    return kept, None
            else:
                return kept + indices[start:], table
        return kept, None

    def _together(self, indices: list[int], values: list[bytes]) -> tuple[list[int], pa.Table | None]:
        """Read the values at ``indices`` in one call, or in halves of halves where that fails."""
        if not indices:
            return [], None
        try:
            joined = pa.py_buffer(b"\n".join([values[index] for index in indices]))
            return indices, self._call(joined, len(indices))
        except _Unreadable:
            if len(indices) <= HALVING_LIMIT_ROWS:
                return [], None
        middle = len(indices) // 2
        left, left_table = self._together(indices[:middle], values)
        right, right_table = self._together(indices[middle:], values)
        return left + right, _one([table for table in (left_table, right_table) if table is not None])


def _one(tables: list[pa.Table]) -> pa.Table | None:
    if len(tables) > 1:
        return pa.concat_tables(tables).combine_chunks()
    return tables[0] if tables else None


def _suspect_pattern(schema: pa.Schema) -> str:
    """Return a pattern for text whose error would name no row: two objects in one, a whole number of another form."""
    names: set[str] = set()
    for field in schema:
        inner = field.type if pa.types.is_struct(field.type) else [field]
        names.update(part.name for part in inner if pa.types.is_integer(part.type))
    if not names:
        return _SEVERAL_OBJECTS
    alternatives = "|".join(sorted(re.escape(name) for name in names))
    return rf'{_SEVERAL_OBJECTS}|"(?:{alternatives})"[ \t\r\n]*:[ \t\r\n]*-?(?:[0-9]{{16}}|[0-9]*[.eE])'
