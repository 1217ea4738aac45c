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
from itertools import compress
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pyarrow import json as arrow_json

from schemas.codec.validate_read import DEPTH_LIMIT

_Bytes = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]

#: Joined input of one call: bounds the copy in memory, and Arrow's 32-bit offsets end at 2 GiB.
CALL_LIMIT_BYTES: Final = 64 * 1024 * 1024
#: Rows of the first call, and of one after an error: a wrong record makes only its block be read again, and the call's
#: overhead is still spread thin.
BLOCK_ROWS: Final = 1_000
#: By byte: whether a number may stand after it.
_BEFORE_A_NUMBER: Final = np.isin(np.arange(256), list(b":[,- \t\n\r\f\v"))
_NO_JSON_NUMBERS: Final = (b"NaN", b"Inf")
_OBJECT_START, _OBJECT_END = ord("{"), ord("}")
_ERROR_ROW: Final = re.compile(r" in row (\d+)$")
#: Errors closer together than this, after the first few, cost more calls than looking at each record.
CROWD_ROWS: Final = 8
CROWD_ERRORS: Final = 16
#: Fewer rows than this are looked at one by one; another call would cost as much.
HALVING_LIMIT_ROWS: Final = 32
_SEVERAL_OBJECTS: Final = r"\}[ \t\r\n]*\{"


def read(schema: pa.Schema, rows: list[int], values: list[bytes], doubted: list[int]) -> list[tuple[list[int], pa.Table]]:
    """Read ``values``, the JSON objects of the records ``rows``, against ``schema``; no value may be empty.

    Returns tables with the rows they hold, in order. The rows that were not read are added to ``doubted``.
    """
    tables: list[tuple[list[int], pa.Table]] = []
    for part_rows, part_values in _parts(rows, values):
        text = _Text(part_values)
        safe = _safe(text)
        if safe.all():
            kept, table = _Reader(schema, text).read()
        else:
            indices = np.flatnonzero(safe).tolist()
            found, table = _Reader(schema, _Text([part_values[index] for index in indices])).read()
            kept = [indices[index] for index in found]
        kept_rows = part_rows
        if len(kept) < len(part_rows):
            kept_rows = [part_rows[index] for index in kept]
            doubted.extend(set(part_rows).difference(kept_rows))
        if table is not None:
            tables.append((kept_rows, table))
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


class _Text:
    """Records as one text, a line each; line ``i`` is from ``starts[i]`` to ``starts[i + 1]``, line feed included."""

    def __init__(self, values: list[bytes]) -> None:
        self.values = values
        self.joined = b"\n".join(values)
        self.starts = np.zeros(len(values) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, values), np.int64, len(values)) + 1, out=self.starts[1:])

    def lines_of(self, positions: _Ints) -> _Ints:
        """Return the line that each of ``positions``, positions in ``joined``, lies in."""
        return np.searchsorted(self.starts, positions, side="right") - 1


def _safe(text: _Text) -> _Mask:
    """Return which lines may be handed to the reader; a fault is looked for in all of them together first."""
    joined = np.frombuffer(text.joined, dtype=np.uint8)
    safe: _Mask = (joined[text.starts[:-1]] == _OBJECT_START) & (joined[text.starts[1:] - 2] == _OBJECT_END)
    if b"\0" in text.joined:
        safe[text.lines_of(np.flatnonzero(joined == 0))] = False
    if not _is_utf8(text.joined):
        safe &= np.fromiter((value.isascii() or _is_utf8(value) for value in text.values), np.bool_, len(safe))
    for literal in _NO_JSON_NUMBERS:
        if literal[:1] in text.joined:
            safe[text.lines_of(_numbers_called(literal, joined))] = False
    # The two opening brackets, 0x5b and 0x7b, differ in one bit.
    opening = np.flatnonzero((joined | 0x20) == _OBJECT_START)
    if len(opening) > DEPTH_LIMIT and (opening[DEPTH_LIMIT:] - opening[:-DEPTH_LIMIT]).min() <= np.diff(text.starts).max():
        safe &= np.bincount(text.lines_of(opening), minlength=len(safe)) <= DEPTH_LIMIT
    return safe


def _is_utf8(text: bytes) -> bool:
    offsets = pa.py_buffer(np.array([0, len(text)], dtype=np.int64))
    one = pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(text)])
    try:
        one.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _numbers_called(literal: bytes, joined: _Bytes) -> _Ints:
    """Return the positions of ``literal`` where a number may stand. A search for several bytes takes many times as long."""
    positions = np.flatnonzero(joined[1 : 1 - len(literal)] == literal[0]) + 1
    for distance, byte in enumerate(literal[1:], start=1):
        positions = positions[joined[positions + distance] == byte]
    return positions[_BEFORE_A_NUMBER[joined[positions - 1]]]


class _Unreadable(Exception):  # noqa: N818 - a verdict on the input, caught in this module
    def __init__(self, row: int | None) -> None:
        super().__init__(row)
        self.row = row


class _Reader:
    """Reads all it can in few calls, whatever a few records hold.

    Most errors name their row: only the rows after it are tried next, and those before it, which had no error, are read
    together at the end of their block. That costs a wrong record little more than a call's overhead. Errors that name no
    row (numbers of the wrong form, met after parsing) are foreseen by a pattern, and failing that narrowed by halving.
    """

    def __init__(self, schema: pa.Schema, text: _Text) -> None:
        self._options = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        self._schema = schema
        self._values = text.values
        self._joined = pa.py_buffer(text.joined)
        self._starts = text.starts

    def read(self) -> tuple[list[int], pa.Table | None]:
        """Return the indices of the values that could be read, and their table, in chunks."""
        kept: list[int] = []
        tables: list[pa.Table] = []
        start, size = 0, BLOCK_ROWS
        while start < len(self._values):
            end = min(start + size, len(self._values))
            found, read = self._read_block(start, end)
            kept += found
            tables += read
            # The longer nothing is wrong, the larger the blocks.
            size = size * 2 if len(found) == end - start else BLOCK_ROWS
            start = end
        return kept, pa.concat_tables(tables) if tables else None

    def _read_block(self, start: int, end: int) -> tuple[list[int], list[pa.Table]]:
        """Read the values from ``start`` to ``end``, but for each that an error names; cut short where errors crowd."""
        before: list[int] = []
        begin, errors = start, 0
        while start < end and not (errors >= CROWD_ERRORS and start - begin < errors * CROWD_ROWS):
            first, after = int(self._starts[start]), int(self._starts[end])
            lines = self._joined.slice(first, after - first - 1)
            try:
                tail = self._call(lines, end - start)
            except _Unreadable as unreadable:
                if unreadable.row is None or unreadable.row >= end - start:
                    return self._apart([*before, *range(start, end)])
                before += range(start, start + unreadable.row)
                start += unreadable.row + 1
                errors += 1
            else:
                found, tables = self._together(before)
                return [*found, *range(start, end)], [*tables, tail]
        return self._together(before)

    def _call(self, lines: pa.Buffer, rows: int) -> pa.Table:
        try:
            table = arrow_json.read_json(
                pa.BufferReader(lines),
                read_options=arrow_json.ReadOptions(use_threads=False, block_size=lines.size + 1),
                parse_options=self._options,
            )
        except pa.ArrowInvalid as error:
            found = _ERROR_ROW.search(str(error))
            raise _Unreadable(int(found.group(1)) if found else None) from None
        if table.num_rows != rows:
            raise _Unreadable(None)
        return table

    def _together(self, indices: list[int]) -> tuple[list[int], list[pa.Table]]:
        """Read the values at ``indices`` in one call, or apart where that fails."""
        if not indices:
            return [], []
        try:
            lines = pa.py_buffer(b"\n".join([self._values[index] for index in indices]))
            return indices, [self._call(lines, len(indices))]
        except _Unreadable:
            return self._apart(indices)

    def _apart(self, indices: list[int]) -> tuple[list[int], list[pa.Table]]:
        """Read the values at ``indices``, which cannot be read in one call, without the suspects or in halves."""
        values = pl.Series([self._values[index] for index in indices], dtype=pl.Binary)
        suspect = values.cast(pl.String).str.contains(_suspect_pattern(self._schema))
        if suspect.any():
            return self._together(list(compress(indices, ~suspect)))
        if len(indices) <= HALVING_LIMIT_ROWS:
            return [], []
        middle = len(indices) // 2
        left, left_tables = self._together(indices[:middle])
        right, right_tables = self._together(indices[middle:])
        return left + right, left_tables + right_tables


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
