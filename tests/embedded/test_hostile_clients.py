"""What the ClickHouse part withstands: too many connections, drips, bombs, forms without end."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import lz4.frame
import pytest
from aiohttp import ClientSession, web
from backports import zstd

from deploy.local.clickhouse import body as body_module
from deploy.local.clickhouse import server
from deploy.local.clickhouse.body import Body
from deploy.local.clickhouse.compression import decompressed
from deploy.local.clickhouse.errors import EngineError
from deploy.local.stack.stack import StackInfo

from .wire import Http

MIB = 2**20
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "deflate": lambda data: zlib.compress(data, 1),
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
}


def resident_bytes(pid: int) -> int:
    """The process's resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class Source:
    """Bytes to be read."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        piece, self._content = bytes(self._content[:size]), self._content[size:]
        return piece


def test_connections_are_bounded_and_room_comes_back(ch: Http) -> None:
    """Beyond the limit a client is answered 503; when the idle ones leave, queries are answered again."""
    idle: list[socket.socket] = []
    try:
        while len(idle) < server._LIMITS.most_connections + 5:
            idle.append(socket.create_connection((ch.host, ch.port), 10))
        idle[-1].settimeout(10)
        assert idle[-1].recv(100).startswith(b"HTTP/1.1 503 ")
    finally:
        for raw in idle:
            raw.close()
    deadline = time.monotonic() + 10
    while ch("SELECT 1").status != 200:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_a_bomb_as_a_query_is_refused_in_bounds(ch: Http, running: StackInfo, encoding: str) -> None:
    """A quarter of a gigabyte in a small body is more than a query may be, and is not decompressed further than that."""
    bomb = ENCODERS[encoding](bytes(256 * MIB))
    before = resident_bytes(running.clickhouse_pid)
    answer = ch(bomb, headers={"Content-Encoding": encoding})
    assert (answer.status, answer.code) == (400, 62)
    assert resident_bytes(running.clickhouse_pid) - before < 64 * MIB + len(bomb)


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_a_bomb_as_rows_passes_in_bounds(ch: Http, running: StackInfo, table: str, encoding: str) -> None:
    """A quarter of a gigabyte of bad rows in a small body is refused by the engine, not held by the server."""
    bomb = ENCODERS[encoding](b"x\n" * 128 * MIB)
    before = resident_bytes(running.clickhouse_pid)
    answer = ch(bomb, query=f"INSERT INTO {table} (id) FORMAT TSV", headers={"Content-Encoding": encoding})
    assert answer.status == 400
    assert resident_bytes(running.clickhouse_pid) - before < 200 * MIB + len(bomb)
    assert ch(f"SELECT count() FROM {table}").body == b"0\n"


@pytest.mark.parametrize("encoding", sorted(ENCODERS))
def test_many_frames_are_one_body(encoding: str) -> None:
    """Thousands of frames in a row are read; more than any client writes are refused."""
    frame = ENCODERS[encoding](b"row\n")
    decoded, source = b"", decompressed(Source(frame * 3_000), encoding)
    while piece := source.read(MIB):
        decoded += piece
    assert decoded == b"row\n" * 3_000
    source = decompressed(Source(ENCODERS[encoding](b"") * 20_000), encoding)
    with pytest.raises(EngineError, match="more than 10000 frames"):
        source.read(MIB)


def test_a_form_without_end_is_refused_in_bounds(ch: Http, running: StackInfo) -> None:
    """One part of any length is not held beyond the limit of a form."""
    connection = http.client.HTTPConnection(ch.host, ch.port, timeout=60)
    before = peak = resident_bytes(running.clickhouse_pid)
    credentials = {"X-ClickHouse-User": "embedded_owner", "X-ClickHouse-Key": ch.info.users["embedded_owner"]}
    connection.putrequest("POST", "/?query=SELECT+1")
    for name, value in (credentials | {"Content-Type": "multipart/form-data; boundary=b"}).items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    try:
        connection.send(b'--b\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\n')
        for _ in range(512):
            connection.send(bytes(MIB))
            peak = max(peak, resident_bytes(running.clickhouse_pid))
        answered = connection.getresponse().status
    except OSError:
        answered = 0  # it has answered and closed while we were sending
    finally:
        connection.close()
    assert answered in {0, 400, 413, 500}
    assert peak - before < 300 * MIB
    assert ch("SELECT 1").body == b"1\n"


def test_a_form_of_many_parts_is_refused(ch: Http) -> None:
    """A thousand parts are more than any client sends."""
    form = (
        b"".join(b'--b\r\nContent-Disposition: form-data; name="p%d"\r\n\r\nx\r\n' % part for part in range(2_000))
        + b"--b--\r\n"
    )
    answer = ch(form, headers={"Content-Type": "multipart/form-data; boundary=b"}, query="SELECT 1")
    assert answer.code == 307


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /?query=" + b"1" * 2_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(100_000)) + b"\r\n",
        b"BREW / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000 + b"garbage\r\n\r\n",
    ],
)
def test_garbage_leaves_the_server_alive(ch: Http, sent: bytes) -> None:
    """Long URLs, many headers, other methods and protocols, pipelined garbage: the next client is served."""
    with socket.create_connection((ch.host, ch.port), 10) as raw:
        raw.settimeout(5)
        try:
            raw.sendall(sent)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65_536):
                pass
        except OSError:
            pass
    assert ch("SELECT 1").body == b"1\n"


def test_parquet_output_is_made_in_bounds(ch: Http, running: StackInfo) -> None:
    """A Parquet file of 150 MB passes through in less than 900 MiB; other formats need a few (see test_robustness)."""
    sql = "SELECT number, randomPrintableASCII(100) FROM numbers(1500000) FORMAT Parquet"
    connection = http.client.HTTPConnection(ch.host, ch.port, timeout=60)
    before = peak = resident_bytes(running.clickhouse_pid)
    connection.request(
        "POST", "/", sql, {"X-ClickHouse-User": "embedded_owner", "X-ClickHouse-Key": ch.info.users["embedded_owner"]}
    )
    response, total = connection.getresponse(), 0
    while piece := response.read(4 * MIB):
        total += len(piece)
        peak = max(peak, resident_bytes(running.clickhouse_pid))
    connection.close()
    assert total > 100 * MIB
    assert peak - before < 900 * MIB


@pytest.mark.parametrize(("pause_seconds", "pieces", "status"), [(0.0, 50, 200), (0.05, 200, 408), (2.0, 2, 408)])
def test_a_dripping_body_ends(monkeypatch: pytest.MonkeyPatch, pause_seconds: float, pieces: int, status: int) -> None:
    """A body that stops, or comes a byte at a time, is answered 408; one that comes is read."""
    monkeypatch.setattr(body_module, "_IDLE_SECONDS", 1.0)
    answered = asyncio.run(_send_slowly(pause_seconds, pieces))
    assert answered == status


async def _send_slowly(pause_seconds: float, pieces: int) -> int:
    async def handle(request: web.Request) -> web.Response:
        try:
            await Body(request, empty=False).preload()
        except EngineError as error:
            return web.Response(status=error.status, headers={"Connection": "close"})
        return web.Response()

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            await asyncio.sleep(pause_seconds)
            yield b"x"

    application = web.Application()
    application.router.add_post("/", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with (
            ClientSession() as session,
            session.post(f"http://127.0.0.1:{runner.addresses[0][1]}/", data=drip()) as response,
        ):
            return response.status
    finally:
        await runner.cleanup()
