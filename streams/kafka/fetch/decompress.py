"""The payload of a compressed batch, decompressed up to a limit and never beyond.

The broker limits what a batch weighs compressed; a megabyte of it can be gigabytes decompressed. aiokafka decompresses a
batch whole, whatever comes of it; these functions stop at the limit, and give the same bytes below it.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Final

import cramjam

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
CODECS: Final = {GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}

_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16
_GZIP_OR_ZLIB_WINDOW: Final = 31  # zlib: the largest window, and a gzip header is expected
_FIRST_GUESS: Final = 8  # JSON shrinks to an eighth; a wrong guess costs another go with a larger buffer
_SMALLEST_BUFFER_BYTES: Final = 262_144
#: What cramjam says when the output does not fit; everything else it says means that the bytes are broken.
_BUFFER_FULL: Final = "failed to write whole buffer"


class TooLargeError(Exception):
    """More bytes than the limit would come out."""


class BrokenError(Exception):
    """The bytes are not what the codec writes; the message is the library's."""


def decompress(codec: int, payload: memoryview, room: int, limit_bytes: int) -> bytearray:
    """Return ``room`` zero bytes and then what ``payload`` decompresses to, in one buffer.

    Raises :class:`TooLargeError` if that were more than ``limit_bytes``, having used about as much memory; and
    :class:`BrokenError` if the payload is not of this codec, or of none that is known.
    """
    inflater = _INFLATERS.get(codec)
    if inflater is None:
        raise BrokenError(f"codec {codec} is unknown")
    return inflater(payload, room, limit_bytes)


def _gzip(payload: memoryview, room: int, limit_bytes: int) -> bytearray:
    out, rest = bytearray(room), bytes(payload)
    while rest:
        member = zlib.decompressobj(_GZIP_OR_ZLIB_WINDOW)
        try:
            out += member.decompress(rest, room + limit_bytes + 1 - len(out))
        except zlib.error as error:
            raise BrokenError(str(error)) from None
        if len(out) > room + limit_bytes:
            raise TooLargeError
        if not member.eof:
            raise BrokenError("the gzip stream is cut short")
        # Zeros may follow as padding, and another member after it, as gzip allows.
        rest = member.unused_data.lstrip(b"\x00")
    return out


def _snappy(payload: memoryview, room: int, limit_bytes: int) -> bytearray:
    if len(payload) <= _XERIAL_HEADER_BYTES or bytes(payload[:8]) != _XERIAL_MAGIC:
        return _snappy_blocks([payload], room, limit_bytes)
    blocks, cursor = [], _XERIAL_HEADER_BYTES
    while cursor < len(payload):
        if cursor + 4 > len(payload):
            raise BrokenError("the last block has no length")
        (size_bytes,) = struct.unpack_from("!i", payload, cursor)
        cursor += 4
        if size_bytes <= 0 or cursor + size_bytes > len(payload):
            raise BrokenError(f"a block of {size_bytes} bytes where {len(payload) - cursor} are left")
        blocks.append(payload[cursor : cursor + size_bytes])
        cursor += size_bytes
    return _snappy_blocks(blocks, room, limit_bytes)


def _snappy_blocks(blocks: list[memoryview], room: int, limit_bytes: int) -> bytearray:
    try:
        # Every block says first how much it decompresses to, so nothing need be decompressed to reject it.
        sizes_bytes = [cramjam.snappy.decompress_raw_len(block) for block in blocks]
        if sum(sizes_bytes) > limit_bytes:
            raise TooLargeError
        out = bytearray(room)
        for block in blocks:
            out += bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise BrokenError(str(error)) from None
    return out


def _growing(into: Callable[[memoryview, memoryview], int]) -> Callable[[memoryview, int, int], bytearray]:
    """Return an inflater that begins with a small buffer: to touch one of the limit's size costs 40 ms a batch."""

    def inflater(payload: memoryview, room: int, limit_bytes: int) -> bytearray:
        size_bytes = min(limit_bytes, max(_SMALLEST_BUFFER_BYTES, _FIRST_GUESS * len(payload)))
        while True:
            out = bytearray(room + size_bytes)
            try:
                with memoryview(out) as whole, whole[room:] as part:
                    written = into(payload, part)
            except cramjam.DecompressionError as error:
                if _BUFFER_FULL not in str(error):
                    raise BrokenError(str(error)) from None
                if size_bytes == limit_bytes:
                    raise TooLargeError from None
            else:
                del out[room + written :]
                return out
            size_bytes = min(limit_bytes, _FIRST_GUESS * size_bytes)

    return inflater


_INFLATERS: Final[dict[int, Callable[[memoryview, int, int], bytearray]]] = {
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _growing(cramjam.lz4.decompress_into),
    ZSTD: _growing(cramjam.zstd.decompress_into),
}
