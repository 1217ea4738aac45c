"""ClickHouse's own compression of HTTP bodies (`compress=1`, `decompress=1`), which JDBC and Go clients ask for.

A body is a row of blocks: 16 bytes checksum (CityHash128 of what follows), 1 byte method, 4 bytes size of method, sizes
and content, 4 bytes size of the content decompressed (both little-endian), content.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

import lz4.block
from backports import zstd
from clickhouse_cityhash.cityhash import CityHash128

from deploy.local.clickhouse.compression import LARGEST_DECODED_BYTES, Compressor, Readable
from deploy.local.clickhouse.errors import EngineError

__all__ = ["BlockCompressor", "decompressed_blocks"]

_CHECKSUM: Final = struct.Struct("<QQ")
_HEADER: Final = struct.Struct("<BII")
_LZ4: Final = 0x82
# What ClickHouse itself writes into one block at most.
_BLOCK_BYTES: Final = 2**20
# What clients write: clickhouse-go puts up to 10 MB into one block.
_LARGEST_BLOCK_BYTES: Final = 64 * 2**20
# By method: content and its decompressed size in bytes -> the decompressed content.
_UNPACK: Final[Mapping[int, Callable[[bytes, int], bytes]]] = {
    0x02: lambda packed, _size: packed,
    _LZ4: lambda packed, size: bytes(lz4.block.decompress(packed, uncompressed_size=size)),
    # One byte more than announced is enough to tell that there is more.
    0x90: lambda packed, size: zstd.ZstdDecompressor().decompress(packed, size + 1),
}


def _checksum(block: bytes) -> bytes:
    return _CHECKSUM.pack(*divmod(CityHash128(block), 2**64))


class BlockCompressor(Compressor):
    """Compresses one response body into blocks of at most one megabyte with LZ4."""

    def compress(self, data: bytes, /) -> bytes:
        """Take the next piece and return it, as one block or several."""
        return b"".join(_block(data[start : start + _BLOCK_BYTES]) for start in range(0, len(data), _BLOCK_BYTES))

    def finish(self) -> bytes:
        """Nothing ends a body but its last block."""
        return b""


def _block(data: bytes) -> bytes:
    packed = bytes(lz4.block.compress(data, store_size=False))
    block = _HEADER.pack(_LZ4, _HEADER.size + len(packed), len(data)) + packed
    return _checksum(block) + block


class _Decompressed:
    """A body in blocks, read one block at a time."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._ahead = memoryview(b"")
        self._total_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        while not self._ahead:
            checksum = self._take(_CHECKSUM.size, may_end=True)
            if not checksum:
                return b""
            self._ahead = memoryview(self._next_block(checksum))
            self._total_bytes += len(self._ahead)
            if self._total_bytes > LARGEST_DECODED_BYTES:
                raise EngineError(307, f"The request body is decompressed to more than {LARGEST_DECODED_BYTES} bytes")
        end = len(self._ahead) if size < 0 else size
        piece, self._ahead = self._ahead[:end], self._ahead[end:]
        return bytes(piece)

    def _next_block(self, checksum: bytes) -> bytes:
        header = self._take(_HEADER.size)
        method, packed_bytes, plain_bytes = _HEADER.unpack(header)
        if not _HEADER.size <= packed_bytes <= _LARGEST_BLOCK_BYTES or plain_bytes > _LARGEST_BLOCK_BYTES:
            raise _unreadable(f"a block of {packed_bytes} bytes for {plain_bytes}, at most {_LARGEST_BLOCK_BYTES} is taken")
        packed = self._take(packed_bytes - _HEADER.size)
        if _checksum(header + packed) != checksum:
            raise EngineError(40, "Checksum doesn't match: corrupted data in the request body", status=400)
        if method not in _UNPACK:
            raise _unreadable(f"the compression method 0x{method:02x} is unknown; use LZ4, ZSTD or none")
        try:
            plain = _UNPACK[method](packed, plain_bytes)
        except (ValueError, lz4.block.LZ4BlockError, zstd.ZstdError) as error:
            raise _unreadable(str(error)) from error
        if len(plain) != plain_bytes:
            raise _unreadable(f"a block has {len(plain)} bytes and not {plain_bytes}")
        return plain

    def _take(self, size: int, *, may_end: bool = False) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing and (piece := self._source.read(missing)):
            parts.append(piece)
            missing -= len(piece)
        if missing and (parts or not may_end):
            raise _unreadable("it ends within a block")
        return b"".join(parts)


def _unreadable(why: str) -> EngineError:
    return EngineError(271, f"Cannot decompress the blocks of the request body: {why}", status=400)


def decompressed_blocks(source: Readable) -> Readable:
    """`source` decoded from blocks, read in bounded memory; reading raises EngineError 40 or 271 for what is none."""
    return _Decompressed(source)
