"""Where a column of a Native block ends: its content has no length of its own, only its type tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from deploy.local.clickhouse.statement import scan

__all__ = ["end_of_column", "variable_integer"]

#: Bytes of one value.
_FIXED: Final = {
    "Bool": 1,
    "Nothing": 1,
    "Enum8": 1,
    "Enum16": 2,
    "BFloat16": 2,
    "Float32": 4,
    "Float64": 8,
    "Date": 2,
    "Date32": 4,
    "DateTime": 4,
    "DateTime64": 8,
    "Time": 4,
    "Time64": 8,
    "UUID": 16,
    "IPv4": 4,
    "IPv6": 16,
} | {f"{sign}Int{bits}": bits // 8 for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)}
_ALIASES: Final = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "Polygon": "Array(Ring)",
    "MultiLineString": "Array(LineString)",
    "MultiPolygon": "Array(Polygon)",
}
_DECIMAL_DIGITS_AND_BYTES: Final = ((9, 4), (18, 8), (38, 16), (76, 32))
_TYPE: Final = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)
# An element of a tuple may have a name, in backquotes where it is no word.
_ELEMENT_NAME: Final = re.compile(r"(?:\w+|`(?:[^`\\]|\\.)*`) (?=\w)", re.DOTALL)


def end_of_column(block: bytes, offset: int, kind: str, rows: int) -> int:
    """The offset behind a column of `rows` values that begins at `offset`; `kind` is its ClickHouse type.

    Raises ValueError for a type whose serialization is not known here (Variant, Dynamic, JSON, AggregateFunction).
    """
    if not rows:
        return offset
    # Each dictionary's version stands at the beginning of the column, however deep the dictionary lies in its type.
    dictionaries = sum(token.text == b"LowCardinality" for token in scan(kind.encode()))
    return _end(block, offset + 8 * dictionaries, kind, rows)


def _end(block: bytes, offset: int, kind: str, rows: int) -> int:
    found = _TYPE.fullmatch(_ALIASES.get(kind, kind))
    name, inner = (found[1], found[2] or "") if found else (kind, "")
    if name in _ENDS:
        return _ENDS[name](block, offset, inner, rows)
    if name.startswith("Interval"):
        return offset + 8 * rows
    if name not in _FIXED:
        raise ValueError(f"the end of a column of type {kind} is not known")
    return offset + _FIXED[name] * rows


def _end_of_strings(block: bytes, offset: int, _inner: str, rows: int) -> int:
    for _ in range(rows):
        size, offset = variable_integer(block, offset)
        offset += size
    return offset


def _end_of_decimals(_block: bytes, offset: int, inner: str, rows: int) -> int:
    digits = int(_arguments(inner)[0])
    return offset + rows * next(size for most, size in _DECIMAL_DIGITS_AND_BYTES if digits <= most)


def _end_of_arrays(block: bytes, offset: int, inner: str, rows: int) -> int:
    """The end of each array, counted in values, and then all values."""
    offset += 8 * rows
    values = int.from_bytes(block[offset - 8 : offset], "little")
    return _end(block, offset, inner, values) if values else offset


def _end_of_tuples(block: bytes, offset: int, inner: str, rows: int) -> int:
    for element in _arguments(inner):
        offset = _end(block, offset, _ELEMENT_NAME.sub("", element, count=1), rows)
    return offset


def _end_of_dictionary(block: bytes, offset: int, inner: str, rows: int) -> int:
    """Flags with the size of an index, the number of values, the values, the number of indexes, the indexes."""
    flags, count = (int.from_bytes(block[start : start + 8], "little") for start in (offset, offset + 8))
    value = inner.removeprefix("Nullable(").removesuffix(")") if inner.startswith("Nullable(") else inner
    offset = _end(block, offset + 16, value, count)
    return offset + 8 + rows * (1 << (flags & 0xFF))


_ENDS: Final[Mapping[str, Callable[[bytes, int, str, int], int]]] = {
    "String": _end_of_strings,
    "FixedString": lambda _block, offset, inner, rows: offset + rows * int(inner),
    "Decimal": _end_of_decimals,
    "Nullable": lambda block, offset, inner, rows: _end(block, offset + rows, inner, rows),
    "Array": _end_of_arrays,
    "Map": lambda block, offset, inner, rows: _end_of_arrays(block, offset, f"Tuple({inner})", rows),
    "Nested": lambda block, offset, inner, rows: _end_of_arrays(block, offset, f"Tuple({inner})", rows),
    "Tuple": _end_of_tuples,
    "SimpleAggregateFunction": lambda block, offset, inner, rows: _end(block, offset, _arguments(inner)[1], rows),
    "LowCardinality": _end_of_dictionary,
}


def _arguments(inner: str) -> list[str]:
    """Split at the commas outside of brackets and quotes."""
    text = inner.encode()
    commas = [token.start for token in scan(text) if token.depth == 0 and token.text == b","]
    ends = [*commas, len(text)]
    starts = [0, *(comma + 1 for comma in commas)]
    return [text[start:end].decode().strip() for start, end in zip(starts, ends, strict=True)]


def variable_integer(data: bytes, offset: int) -> tuple[int, int]:
    """The number at `offset`, seven bits a byte, and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7
