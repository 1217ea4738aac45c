"""Block information in front of Native blocks, for clients that name their `client_protocol_version`.

chDB writes Native without it (revision 0). Revisions 51903 to 54453 differ from that only by the eight bytes added
here, and by the time zone in the type of a plain `DateTime('...')` column, which chDB leaves out.
"""

from __future__ import annotations

from deploy.embedded.errors import EngineError

__all__ = ["framed", "wants_block_information"]

_FIRST_WITH_BLOCK_INFORMATION = 51_903
_FIRST_WITH_CUSTOM_SERIALIZATION = 54_454
# Field 1, is_overflows = 0; field 2, bucket_num = -1; end of fields.
_BLOCK_INFORMATION = b"\x01\x00\x02\xff\xff\xff\xff\x00"


def wants_block_information(format_name: str, protocol_version: int) -> bool:
    """True when the result is Native for a client of such a revision. Raises EngineError 48 above revision 54453."""
    if format_name != "Native" or protocol_version < _FIRST_WITH_BLOCK_INFORMATION:
        return False
    if protocol_version >= _FIRST_WITH_CUSTOM_SERIALIZATION:
        raise EngineError(
            48,
            f"Native results for client_protocol_version {protocol_version} are not supported by the embedded server; "
            f"use a version below {_FIRST_WITH_CUSTOM_SERIALIZATION}, or another format",
        )
    return True


def framed(block: bytes, rows: int) -> bytes:
    """One Native block of `rows` rows with its block information. Raises EngineError 1001 when it is not one block."""
    if not block:
        return b""
    _, place = _variable_integer(block, 0)
    found, _ = _variable_integer(block, place)
    if found != rows:
        raise EngineError(1001, f"The engine gave {rows} rows in more than one Native block; use another format")
    return _BLOCK_INFORMATION + block


def _variable_integer(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
