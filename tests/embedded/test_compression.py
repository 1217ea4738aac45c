"""Compressed bodies in both directions."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
from backports import zstd

from .wire import Http

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": zstd.decompress,
}


@pytest.mark.parametrize("encoding", PACK)
def test_compressed_insert(ch: Http, table: str, encoding: str) -> None:
    """Rows sent with a Content-Encoding arrive exactly."""
    rows = b"".join(b"%d\tname-%d\n" % (number, number) for number in range(50_000))
    answer = ch(
        PACK[encoding](rows),
        query=f"INSERT INTO {table} (id, name) FORMAT TSV",
        headers={"Content-Encoding": encoding},
    )
    assert answer.status == 200, answer.text
    assert ch(f"SELECT count(), sum(id), max(name) FROM {table}").body == b"50000\t1249975000\tname-9999\n"


@pytest.mark.parametrize("encoding", PACK)
def test_compressed_query_text(ch: Http, encoding: str) -> None:
    """A query in the body may be compressed too."""
    assert ch(PACK[encoding](b"SELECT 42"), headers={"Content-Encoding": encoding}).body == b"42\n"


@pytest.mark.parametrize("rows", [1, 300_000], ids=["small", "streamed"])
@pytest.mark.parametrize("wait", [0, 1], ids=["as it comes", "whole"])
@pytest.mark.parametrize("encoding", UNPACK)
def test_compressed_result(ch: Http, encoding: str, rows: int, wait: int) -> None:
    """A result is compressed when the client accepts it and asks for it; whole or streamed."""
    answer = ch(
        f"SELECT number FROM numbers({rows})",
        headers={"Accept-Encoding": encoding},
        enable_http_compression=1,
        wait_end_of_query=wait,
    )
    assert answer.headers["content-encoding"] == encoding
    assert UNPACK[encoding](answer.body) == b"".join(b"%d\n" % number for number in range(rows))


def test_compression_needs_both_sides(ch: Http) -> None:
    """Without enable_http_compression, or without an encoding this server has, the result is plain."""
    assert "content-encoding" not in ch("SELECT 1", headers={"Accept-Encoding": "gzip"}).headers
    assert ch("SELECT 1", headers={"Accept-Encoding": "snappy"}, enable_http_compression=1).body == b"1\n"
    assert ch("SELECT 1", headers={"Accept-Encoding": "gzip;q=0"}, enable_http_compression=1).body == b"1\n"


@pytest.mark.parametrize("encoding", PACK)
def test_broken_compressed_body(ch: Http, table: str, encoding: str) -> None:
    """A compressed body that is garbage, or ends early, is a 400 and writes nothing; the server lives."""
    sql = f"INSERT INTO {table} (id) FORMAT TSV"
    whole = PACK[encoding](b"".join(b"%d\n" % (number * 7919) for number in range(100_000)))
    for body in (b"certainly not compressed", whole[: len(whole) // 2]):
        answer = ch(body, query=sql, headers={"Content-Encoding": encoding})
        assert answer.status == 400, answer.text
    assert ch(f"SELECT count() FROM {table}").body == b"0\n"


def test_unknown_content_encoding(ch: Http) -> None:
    """An encoding the server does not know is refused by name."""
    answer = ch(b"x", headers={"Content-Encoding": "snappy"})
    assert (answer.status, answer.code) == (501, 48)
    assert "gzip" in answer.text


def test_compression_bomb_stays_bounded(ch: Http) -> None:
    """A few kilobytes that expand to 256 MB are refused as a query without being expanded."""
    bomb = gzip.compress(b"\x20" * (256 * 2**20), compresslevel=1)
    answer = ch(bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert answer.code == 62
