"""A reader of single records of Kafka's message format 2 that takes what it can get; used where aiokafka's gives up."""

from dataclasses import dataclass
from typing import Final

#: A varint of 64 bits has at most so many bytes.
_LONGEST_VARINT_BYTES: Final = 10


class MalformedError(Exception):
    """The bytes are no record; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class LenientRecord:
    """One record; ``headers`` are (name, value), a name that is not UTF-8 is escaped."""

    timestamp_delta: int
    offset_delta: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def frame(buffer: memoryview, position: int) -> tuple[int, int]:
    """Return where the record at ``position`` begins and ends; raises :class:`MalformedError`: no record follows."""
    length, position = _varint(buffer, position, len(buffer))
    if not 0 <= length <= len(buffer) - position:
        raise MalformedError(f"a record of {length} bytes where {len(buffer) - position} are left")
    return position, position + length


def read_record(buffer: memoryview) -> LenientRecord:
    """Return the record that fills ``buffer``; raises :class:`MalformedError`."""
    end = len(buffer)
    position = 1  # attributes, unused
    timestamp_delta, position = _varint(buffer, position, end)
    offset_delta, position = _varint(buffer, position, end)
    key, position = _bytes(buffer, position, end)
    value, position = _bytes(buffer, position, end)
    count, position = _varint(buffer, position, end)
    if not 0 <= count <= end - position:
        raise MalformedError(f"{count} headers in {end - position} bytes")
    headers = []
    for _ in range(count):
        name, position = _bytes(buffer, position, end)
        content, position = _bytes(buffer, position, end)
        headers.append(((name or b"").decode("utf-8", "backslashreplace"), content))
    return LenientRecord(timestamp_delta, offset_delta, key, value, tuple(headers))


def _bytes(buffer: memoryview, position: int, end: int) -> tuple[bytes | None, int]:
    length, position = _varint(buffer, position, end)
    if length < 0:
        return None, position
    if position + length > end:
        raise MalformedError(f"a field of {length} bytes where {end - position} are left")
    return bytes(buffer[position : position + length]), position + length


def _varint(buffer: memoryview, position: int, end: int) -> tuple[int, int]:
    """Return a zigzag number and the place after it."""
    number = 0
    for index in range(_LONGEST_VARINT_BYTES):
        if position + index >= end:
            raise MalformedError("it ends in the middle of a number")
        byte = buffer[position + index]
        number |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), position + index + 1
    raise MalformedError("a number has no end")
