"""Batches that no honest client builds: bombs of every codec, payloads of no codec, records that are none."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, Final, NamedTuple

import cramjam
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_CRC_AT: Final = 17
_CRC_FROM: Final = 21
_LENGTH_FROM: Final = 12
#: What the bombs decompress to; the batch stays below the megabyte that a broker takes, but for snappy, which shrinks to a
#: twentieth at best.
_BOMB_BYTES: Final = {GZIP: 256 << 20, SNAPPY: 68 << 20, LZ4: 200 << 20, ZSTD: 1 << 30}
_MANY_RECORDS: Final = 500
_TIMESTAMP_MS: Final = 1_795_000_000_000


def _lz4(data: bytes) -> bytes:
    """Return what Kafka takes for lz4: frames of independent blocks."""
    compressor = cramjam.lz4.Compressor(level=9, content_checksum=False, block_linked=False)
    compressor.compress(data)
    return bytes(compressor.finish())


_COMPRESS: Final[dict[int, Callable[[bytes], Any]]] = {
    GZIP: lambda data: zlib.compress(data, wbits=31),
    SNAPPY: cramjam.snappy.compress_raw,
    LZ4: _lz4,
    ZSTD: cramjam.zstd.compress,
}


class HostileBatch(NamedTuple):
    """A batch as it goes over the wire, with a right checksum; every one of its records must be rejected."""

    topic: str
    kind: str
    wire: bytes
    records: int


Build = Callable[[str, str, Random], HostileBatch]


def wire_batch(codec: int, payload: bytes, records: int) -> bytes:
    """Return a batch of format 2 around any payload."""
    header = bytearray(
        _HEADER.pack(
            0,
            _HEADER.size - _LENGTH_FROM + len(payload),
            0,
            2,
            0,
            codec,
            records - 1,
            _TIMESTAMP_MS,
            _TIMESTAMP_MS,
            -1,
            -1,
            -1,
            records,
        )
    )
    struct.pack_into(">I", header, _CRC_AT, calc_crc32c(bytes(header[_CRC_FROM:]) + payload))
    return bytes(header) + payload


def _bomb(codec: int) -> Build:
    def build(kind: str, topic: str, rng: Random) -> HostileBatch:
        records = rng.choice([1, 7, _MANY_RECORDS])
        return HostileBatch(topic, kind, wire_batch(codec, _compressed(codec, records), records), records)

    return build


@cache
def _compressed(codec: int, records: int) -> bytes:
    """Return so many records of zeros, well made: a broker that checks them finds nothing wrong."""
    value = bytes(_BOMB_BYTES[codec] // records)
    return bytes(_COMPRESS[codec](b"".join(_record(number, value) for number in range(records))))


def _record(offset_delta: int, value: bytes) -> bytes:
    body = b"\0\0" + _varint(offset_delta) + _varint(-1) + _varint(len(value)) + value + b"\0"
    return _varint(len(body)) + body


def _varint(number: int) -> bytes:
    coded = bytearray()
    encode_varint(number, coded.append)
    return bytes(coded)


def _garbage(kind: str, topic: str, rng: Random) -> HostileBatch:
    records = rng.randrange(1, 20)
    codec = rng.choice([GZIP, SNAPPY, LZ4, ZSTD])
    payload = bytes(_COMPRESS[codec](rng.randbytes(2_000)))
    return HostileBatch(topic, kind, wire_batch(codec, payload[: rng.randrange(1, len(payload) - 8)], records), records)


def _malformed(kind: str, topic: str, rng: Random) -> HostileBatch:
    """Records whose lengths lie."""
    records = rng.randrange(1, 20)
    return HostileBatch(topic, kind, wire_batch(0, b"\xfe" * 9 + rng.randbytes(200), records), records)


def _header_name(kind: str, topic: str, rng: Random) -> HostileBatch:
    """A header whose name is not UTF-8, on a record that is no event."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    builder.append(0, _TIMESTAMP_MS, b"key", rng.randbytes(20), [("NAME", b"x")])
    payload = bytes(builder.build())[_HEADER.size :].replace(b"NAME", b"\xff\xfe\xed\xa0")
    return HostileBatch(topic, kind, wire_batch(0, payload, 1), 1)


BATCH_KINDS: Final[dict[str, Build]] = {
    "bomb of zstd": _bomb(ZSTD),
    "header name not utf-8": _header_name,
    "bomb of gzip": _bomb(GZIP),
    "compressed garbage": _garbage,
    "bomb of lz4": _bomb(LZ4),
    "malformed records": _malformed,
    "bomb of snappy": _bomb(SNAPPY),
}
