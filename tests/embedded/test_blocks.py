"""ClickHouse's own compression of bodies (compress=1, decompress=1), as JDBC and Go clients use it by default."""

from __future__ import annotations

import http.client
import itertools
import struct
from collections.abc import Callable

import lz4.block
import pytest
from backports import zstd
from clickhouse_cityhash.cityhash import CityHash128
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.clickhouse.blocks import BlockCompressor, decompressed_blocks

from .wire import READER, Http

METHODS: dict[int, Callable[[bytes], bytes]] = {
    0x02: lambda data: data,
    0x82: lambda data: lz4.block.compress(data, store_size=False),
    0x90: zstd.compress,
}


class Dribble:
    """A source that gives some bytes at a time."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data = data
        self.sizes = itertools.cycle(sizes)

    def read(self, size: int = -1, /) -> bytes:
        """Give fewer bytes than asked for."""
        count = min(next(self.sizes), size if size >= 0 else len(self.data))
        piece, self.data = self.data[:count], self.data[count:]
        return piece


def block(method: int, data: bytes, *, announced: int | None = None) -> bytes:
    """One block by the format's description, with a right checksum."""
    packed: bytes = METHODS.get(method, METHODS[0x02])(data)
    body = struct.pack("<BII", method, 9 + len(packed), len(data) if announced is None else announced) + packed
    return struct.pack("<QQ", *divmod(CityHash128(body), 2**64)) + body


def read_all(body: bytes, sizes: list[int] | None = None) -> bytes:
    """Decompress a body."""
    source = decompressed_blocks(Dribble(body, sizes or [1 << 30]))
    return b"".join(iter(lambda: source.read(1_000), b""))


BLOCKS = st.lists(st.tuples(st.sampled_from(sorted(METHODS)), st.binary(max_size=3_000)))


@given(BLOCKS, st.lists(st.integers(1, 50), min_size=1))
def test_blocks_of_every_method_are_read_whatever_the_pieces(blocks: list[tuple[int, bytes]], sizes: list[int]) -> None:
    """Blocks of all methods, mixed, in pieces of any size, give their contents in order."""
    assert read_all(b"".join(block(*one) for one in blocks), sizes) == b"".join(data for _, data in blocks)


@given(st.binary(max_size=5_000))
def test_what_is_compressed_is_read_again(data: bytes) -> None:
    """The two directions are each other's inverse."""
    compressor = BlockCompressor()
    assert read_all(compressor.compress(data) + compressor.finish()) == data


def test_a_large_piece_becomes_blocks_of_at_most_one_megabyte() -> None:
    """What a client must hold at once is bounded."""
    packed = BlockCompressor().compress(bytes(3 * 2**20 + 1))
    sizes = []
    while packed:
        _, size, plain = struct.unpack_from("<BII", packed, 16)
        sizes.append(plain)
        packed = packed[16 + size :]
    assert sizes == [2**20] * 3 + [1]


GOOD = block(0x82, b"SELECT 1")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (GOOD[:10], 271),
        (GOOD[:-1], 271),
        (GOOD + b"x", 271),
        (bytes([GOOD[0] ^ 1]) + GOOD[1:], 40),
        (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), 40),
        (block(0x77, b"SELECT 1"), 271),
        (block(0x82, b"SELECT 1", announced=7), 271),
        (block(0x90, b"SELECT 1", announced=7), 271),
        (block(0x90, b"SELECT 1", announced=9), 271),
        (block(0x02, b"SELECT 1", announced=2**31), 271),
        (bytes(16) + struct.pack("<BII", 0x82, 2**31, 8), 271),
        (bytes(16) + struct.pack("<BII", 0x82, 3, 8), 271),
        (b"SELECT 1", 271),
    ],
)
def test_what_are_no_blocks_is_refused(ch: Http, body: bytes, code: int) -> None:
    """A body that is cut, changed, of another method or too large is refused, and the server goes on."""
    answer = ch(body, decompress=1)
    assert (answer.status, answer.code) == (400, code), answer.text
    assert ch(GOOD, decompress=1).body == b"1\n"


def test_query_rows_and_answer_in_blocks(ch: Http, table: str) -> None:
    """Statement and rows come compressed, the answer goes compressed, small or streamed; without it nothing changes."""
    rows = b"".join(block(0x90, b"%d\ta\n" % number) for number in range(100))
    assert ch(block(0x82, f"INSERT INTO {table} (id, name) FORMAT TSV\n".encode()) + rows, decompress=1).status == 200
    answer = ch(f"SELECT count(), sum(id) FROM {table}", user=READER, compress=1)
    assert read_all(answer.body) == b"100\t4950\n"
    assert "content-encoding" not in answer.headers
    large = "SELECT number, repeat('x', 100) FROM numbers(100000)"
    assert read_all(ch(large, compress=1).body) == ch(large).body
    assert read_all(ch(large, compress=1, wait_end_of_query=1).body) == ch(large).body
    assert ch("SELECT 1", compress=0, decompress=0).body == b"1\n"


def test_an_error_is_readable(ch: Http) -> None:
    """An error before the answer is text with its code; one within it is in the blocks."""
    assert ch("SELECT nothing", compress=1).text.startswith("Code: 47.")
    with pytest.raises(http.client.IncompleteRead) as cut:
        ch("SELECT throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_block_size = 1000", compress=1)
    assert b"FUNCTION_THROW_IF_VALUE_IS_NON_ZERO" in read_all(cut.value.partial)
