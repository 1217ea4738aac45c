"""Native blocks as clients want them that name their `client_protocol_version`; chDB writes them as revision 0.

From revision 51903 on, eight bytes of block information stand in front of a block; from 54454 on, one byte in front of
each column's content says whether it is serialized in a way of its own. Apart from that, revision 0 differs by the time
zone in the type of a plain `DateTime('...')` column, which chDB leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.local.clickhouse.errors import EngineError
from deploy.local.clickhouse.native_columns import end_of_column, variable_integer

__all__ = ["framed", "has_block_information"]

_FIRST_WITH_BLOCK_INFORMATION = 51_903
_FIRST_WITH_CUSTOM_SERIALIZATION = 54_454
# Field 1, is_overflows = 0; field 2, bucket_num = -1; end of fields.
_BLOCK_INFORMATION = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_NO_CUSTOM_SERIALIZATION = b"\x00"


def has_block_information(format_name: str, protocol_version: int) -> bool:
    """True when the result is Native for a client of such a revision."""
    return format_name == "Native" and protocol_version >= _FIRST_WITH_BLOCK_INFORMATION


def framed(block: bytes, rows: int, protocol_version: int) -> bytes:
    """One Native block of `rows` rows for a client of such a revision.

    Raises EngineError 1001 when it is not one block, and 48 for a column whose end cannot be found.
    """
    if not block:
        return b""
    columns, offset = variable_integer(block, 0)
    found, offset = variable_integer(block, offset)
    if found != rows:
        raise EngineError(1001, f"The engine gave {rows} rows in more than one Native block; use another format")
    if protocol_version < _FIRST_WITH_CUSTOM_SERIALIZATION:
        return _BLOCK_INFORMATION + block
    parts, last = [_BLOCK_INFORMATION], 0
    for content in _contents(block, offset, columns, rows):
        parts += (block[last:content], _NO_CUSTOM_SERIALIZATION)
        last = content
    return b"".join((*parts, block[last:]))


def _contents(block: bytes, offset: int, columns: int, rows: int) -> Iterator[int]:
    """Where the content of each column begins."""
    for _ in range(columns):
        size, offset = variable_integer(block, offset)
        size, offset = variable_integer(block, offset + size)
        kind = block[offset : offset + size].decode()
        offset += size
        yield offset
        try:
            offset = end_of_column(block, offset, kind, rows)
        except ValueError as error:
            raise EngineError(
                48,
                f"A Native result for client_protocol_version {_FIRST_WITH_CUSTOM_SERIALIZATION} or later is not "
                f"supported by the embedded server: {error}; convert the column, or use another format",
            ) from error
