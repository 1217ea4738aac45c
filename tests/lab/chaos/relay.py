"""How bytes pass a proxy: as they come, as Kafka's frames, or as HTTP requests; no more is read than can be written."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from tests.lab.chaos.faults import (
    SHOWN_BODY_BYTES,
    Board,
    Delay,
    Drip,
    DropUpload,
    Fault,
    Freeze,
    Injection,
    RequestStart,
    ResetAfterRequest,
    TruncateResponse,
    Way,
)

PIECE_BYTES: Final = 65_536
#: Longest head of an HTTP message; also what asyncio buffers of one side at most, twice.
HEAD_BYTES: Final = 262_144
#: Kafka's answers above this size carry records, never addresses.
LARGEST_ADDRESS_FRAME_BYTES: Final = 65_536
_DRIPS_PER_SECOND: Final = 10
_GONE_POLL_SECONDS: Final = 0.05
_CLOSE_SECONDS: Final = 5.0

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Stream]]


class Reset(Exception):  # noqa: N818 - named after what shall happen
    """Both sides of the connection shall be reset."""


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset: what was written and not yet taken is thrown away."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):  # closed already
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    """Close in an orderly way, within a bounded time."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), _CLOSE_SECONDS)
    except (OSError, TimeoutError):
        writer.transport.abort()


@dataclass(slots=True)
class Shaper:
    """Slows, drips or stops the bytes of one connection or request."""

    board: Board
    bound: list[Injection]

    def first(self, kind: type[Fault]) -> Fault | None:
        """Return the fault of this kind that was bound to this request."""
        return next((one.fault for one in self.bound if isinstance(one.fault, kind)), None)

    async def send(self, writer: asyncio.StreamWriter, piece: bytes, way: Way, *, begins: bool = False) -> None:
        """Write a piece; ``begins``: it is the first of its message, or stands for itself."""
        if begins:
            await self._delay()
        await self.board.until_open(self.bound, way)
        start = 0
        while start < len(piece):
            size = self._drip_bytes() or len(piece)
            writer.write(piece[start : start + size])
            await writer.drain()
            start += size
            if start < len(piece) or size < len(piece):
                await asyncio.sleep(1 / _DRIPS_PER_SECOND)

    async def _delay(self) -> None:
        for one in self.board.shaping(self.bound):
            if isinstance(one.fault, Delay):
                if one.live:
                    one.meet()
                await asyncio.sleep((one.fault.ms + random.uniform(0, one.fault.jitter_ms)) / 1000)

    def _drip_bytes(self) -> int:
        for one in self.board.shaping(self.bound):
            if isinstance(one.fault, Drip):
                if one.live:
                    one.meet()
                return max(1, one.fault.bytes_per_second // _DRIPS_PER_SECOND)
        return 0


# --- bytes and Kafka's frames ---------------------------------------------------------------------------------------


async def relay_bytes(client: Stream, server: Stream, shaper: Shaper, address: tuple[bytes, bytes] | None) -> None:
    """Pass bytes both ways until both sides have ended.

    ``address``: in Kafka's answers the first is replaced by the second, which is of the same length: the address under
    which the broker makes itself known, so that clients come back to the proxy.
    """
    backwards = _pieces(server[0]) if address is None else _frames(server[0], *address)
    pumps = {
        asyncio.create_task(_pump(_pieces(client[0]), server[1], shaper, "server")),
        asyncio.create_task(_pump(backwards, client[1], shaper, "client")),
    }
    try:
        await asyncio.gather(*pumps)
    finally:
        for pump in pumps:
            pump.cancel()


async def _pump(pieces: AsyncIterator[bytes], writer: asyncio.StreamWriter, shaper: Shaper, way: Way) -> None:
    async for piece in pieces:
        await shaper.send(writer, piece, way, begins=True)
    if writer.can_write_eof():
        writer.write_eof()


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(PIECE_BYTES):
        yield piece


async def _frames(reader: asyncio.StreamReader, known: bytes, mine: bytes) -> AsyncIterator[bytes]:
    """Yield Kafka's answers: small ones whole, so that an address is never cut in two, large ones as they come."""
    while size_bytes := await reader.read(4):
        size_bytes += await reader.readexactly(4 - len(size_bytes))
        left = int.from_bytes(size_bytes, "big")
        if left <= LARGEST_ADDRESS_FRAME_BYTES:
            yield size_bytes + (await reader.readexactly(left)).replace(known, mine)
            continue
        yield size_bytes
        async for piece in _exactly(reader, left):
            yield piece


# --- HTTP -----------------------------------------------------------------------------------------------------------


class _Headers:
    """The few headers that say where a message ends."""

    def __init__(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.first_line = lines[0]
        pairs = (line.partition(":") for line in lines[1:])
        self._values = {name.strip().lower(): value.strip() for name, _, value in pairs}

    @property
    def length(self) -> int | None:
        value = self._values.get("content-length")
        return int(value) if value is not None else None

    @property
    def chunked(self) -> bool:
        return "chunked" in self._values.get("transfer-encoding", "").lower()

    @property
    def closes(self) -> bool:
        return self._values.get("connection", "").lower() == "close"


async def relay_http(client: Stream, connect: Connect, board: Board) -> None:
    """Pass one request after the other, each over a connection of its own to the server.

    Raises :class:`Reset` when a fault wants it, and ``OSError`` when a side is gone.
    """
    while True:
        try:
            head = await client[0].readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        if not await _exchange(client, head, connect, board):
            return


async def _exchange(client: Stream, head: bytes, connect: Connect, board: Board) -> bool:
    """Pass one request and its answer; return whether the client may send another."""
    headers = _Headers(head)
    start, body = await _begin_body(client[0], headers)
    shaper = Shaper(board, board.bind(RequestStart.read(head, start)))
    freeze = shaper.first(Freeze)
    if isinstance(freeze, Freeze) and freeze.moment == "before":
        await _freeze(freeze)
    server = await connect()
    try:
        await shaper.send(server[1], head, "server", begins=True)
        await _send_body(server, start, body, headers, shaper)
        answer_head = await _answer_head(client, server)
        if shaper.first(ResetAfterRequest) is not None:
            await _take_all_and_reset(server[0], headers, _Headers(answer_head))
        if isinstance(freeze, Freeze) and freeze.moment == "after":
            await _freeze(freeze)
        return await _send_answer(client, server, headers, answer_head, shaper)
    except (Reset, asyncio.CancelledError):
        reset(server[1])
        raise
    finally:
        server[1].close()


async def _begin_body(reader: asyncio.StreamReader, headers: _Headers) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return the beginning of the request's body, as much as a predicate may see, and the pieces of the rest."""
    if headers.chunked:
        body = _chunks(reader)
        first = await anext(body, b"")
        return first, body
    length = headers.length or 0
    start = await reader.readexactly(min(length, SHOWN_BODY_BYTES))
    return start, _exactly(reader, length - len(start))


async def _send_body(server: Stream, start: bytes, body: AsyncIterator[bytes], headers: _Headers, shaper: Shaper) -> None:
    fault = shaper.first(DropUpload)
    allowed = None
    if isinstance(fault, DropUpload):
        # The length of a chunked body is not known; it ends after its first chunk.
        allowed = int((headers.length if headers.length is not None else len(start)) * fault.share)
        await shaper.send(server[1], start[:allowed], "server")
        allowed -= min(allowed, len(start))
    else:
        await shaper.send(server[1], start, "server")
    if allowed == 0:
        raise Reset
    async for piece in body:
        if allowed is None:
            await shaper.send(server[1], piece, "server")
            continue
        await shaper.send(server[1], piece[:allowed], "server")
        allowed -= min(allowed, len(piece))
        if not allowed:
            raise Reset


async def _answer_head(client: Stream, server: Stream) -> bytes:
    """Wait for the head of the answer; raises ``ConnectionError`` when the client has gone meanwhile."""
    reading = asyncio.ensure_future(server[0].readuntil(b"\r\n\r\n"))
    try:
        while not (await asyncio.wait({reading}, timeout=_GONE_POLL_SECONDS))[0]:
            if client[0].at_eof() or client[0].exception() is not None:
                raise ConnectionAbortedError("the client has gone")
        return reading.result()
    except asyncio.IncompleteReadError as error:
        raise Reset from error
    finally:
        reading.cancel()


async def _send_answer(client: Stream, server: Stream, headers: _Headers, head: bytes, shaper: Shaper) -> bool:
    answer = _Headers(head)
    await shaper.send(client[1], head, "client", begins=True)
    fault = shaper.first(TruncateResponse)
    left = fault.body_bytes if isinstance(fault, TruncateResponse) else None
    async for piece in _answer_body(server[0], headers, answer):
        if left is not None and len(piece) > left:
            await shaper.send(client[1], piece[:left], "client")
            return False
        left = None if left is None else left - len(piece)
        await shaper.send(client[1], piece, "client")
    until_end = answer.length is None and not answer.chunked
    return left is None and not (headers.closes or answer.closes or until_end)


async def _take_all_and_reset(reader: asyncio.StreamReader, headers: _Headers, answer: _Headers) -> NoReturn:
    async for _ in _answer_body(reader, headers, answer):
        pass
    raise Reset


def _answer_body(reader: asyncio.StreamReader, headers: _Headers, answer: _Headers) -> AsyncIterator[bytes]:
    status = answer.first_line.split(" ")[1]
    if headers.first_line.startswith("HEAD ") or status in {"204", "304"}:
        return _exactly(reader, 0)
    if answer.chunked:
        return _chunks(reader)
    return _pieces(reader) if answer.length is None else _exactly(reader, answer.length)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield a chunked body as it is on the wire."""
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            # Trailers, and the empty line that ends them.
            while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
                line += trailer
            yield line + b"\r\n"
            return
        yield line
        async for piece in _exactly(reader, size + 2):
            yield piece


async def _exactly(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, PIECE_BYTES))
        if not piece:
            raise ConnectionAbortedError("a message ended too early")
        size -= len(piece)
        yield piece


async def _freeze(freeze: Freeze) -> None:
    await asyncio.get_running_loop().run_in_executor(None, freeze.callback)
    if not freeze.go_on:
        raise Reset
