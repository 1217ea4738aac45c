"""Writing responses: headers as ClickHouse has them, results streamed from the engine's pipe, errors at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import threading
import time
from dataclasses import dataclass

from aiohttp import web

from deploy.local.clickhouse.blocks import BlockCompressor
from deploy.local.clickhouse.compression import Compressor, accepted_encoding, compressor
from deploy.local.clickhouse.engine import Engine, QueryOutcome
from deploy.local.clickhouse.errors import EngineError
from deploy.local.clickhouse.execution import Job
from deploy.local.clickhouse.formats import content_type
from deploy.local.clickhouse.request import ClickHouseRequest

__all__ = ["Reply", "ResultPipe"]

_PIPE_BYTES = 2**20
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_SPOOL_IN_MEMORY_BYTES = 16 * 2**20
_SEND_SECONDS = 300.0
_DEFAULT_BUFFER_BYTES = 2**20
_FIRST_BYTES_SECONDS = 0.05
_COMPRESS_IN_THREAD_BYTES = 65_536


class ResultPipe:
    """The pipe a result passes through: the engine's thread writes, the event loop reads."""

    def __init__(self) -> None:
        self._read_descriptor, self.write_descriptor = os.pipe()
        os.set_blocking(self._read_descriptor, False)
        # When the account's share of pipe memory is used up the pipe stays small: slower, nothing else.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._read_descriptor, _SET_PIPE_SIZE, _PIPE_BYTES)
        self._lock = threading.Lock()
        self._write_open = True
        self._read_open = True

    async def read(self) -> bytes:
        """The next bytes, b"" when the engine has finished."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._read_descriptor, _PIPE_BYTES)
            except BlockingIOError:
                readable: asyncio.Future[None] = loop.create_future()
                loop.add_reader(self._read_descriptor, _set_once, readable)
                try:
                    await readable
                finally:
                    loop.remove_reader(self._read_descriptor)

    def close(self) -> None:
        """Stop reading: an engine that still writes gets a broken pipe and ends its query."""
        if self._read_open:
            self._read_open = False
            os.close(self._read_descriptor)

    def close_write_end(self) -> None:
        """The engine has finished. Thread-safe."""
        with self._lock:
            if self._write_open:
                self._write_open = False
                os.close(self.write_descriptor)


def _set_once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class _Result:
    """A result under way: who makes it, where it comes from, how it is compressed, and how the header calls that."""

    job: Job
    running: asyncio.Future[QueryOutcome]
    pipe: ResultPipe
    encoding: str
    packer: Compressor | None

    async def packed(self, data: bytes) -> bytes:
        if self.packer is None:
            return data
        if len(data) < _COMPRESS_IN_THREAD_BYTES:
            return self.packer.compress(data)
        return await asyncio.to_thread(self.packer.compress, data)

    def end(self) -> bytes:
        return self.packer.finish() if self.packer is not None else b""


class Reply:
    """The response to one request. `query_id` is what the log and the client call the query."""

    def __init__(self, http: web.Request, engine: Engine) -> None:
        self._http = http
        self._engine = engine
        self._request: ClickHouseRequest | None = None
        self._started_ns = time.monotonic_ns()
        self._tag = secrets.token_hex(8)
        self.query_id = http.query.get("query_id", "")

    def accept(self, request: ClickHouseRequest) -> None:
        """From now on the reply speaks of this request."""
        self._request = request
        self.query_id = request.query_id

    async def failure(self, error: EngineError) -> web.Response:
        """ClickHouse's error response."""
        headers = self._headers() | {"X-ClickHouse-Exception-Code": str(error.code)}
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        if not self._http.content.at_eof():
            # Unread request bytes would be taken for the next request on this connection.
            headers["Connection"] = "close"
        text = error.message(self._engine.version) + "\n"
        return web.Response(status=error.status, text=text, headers=headers, content_type="text/plain", charset="UTF-8")

    async def send(self, job: Job, running: asyncio.Future[QueryOutcome], pipe: ResultPipe) -> web.StreamResponse:
        """Send the result of `job`. Raises EngineError while nothing has been sent yet."""
        request = job.request
        http = request.compress_response and not request.compress_blocks
        encoding = accepted_encoding(request.accept_encoding) if http else ""
        packer = BlockCompressor() if request.compress_blocks else compressor(encoding) if encoding else None
        result = _Result(job, running, pipe, encoding, packer)
        whole = request.wait_end_of_query
        parts, ended = await self._gather(pipe, request, whole=whole)
        if ended:
            return await self._send_whole(result, parts)
        if whole:
            return await self._send_spooled(result, parts)
        return await self._stream(result, parts)

    async def _gather(self, pipe: ResultPipe, request: ClickHouseRequest, *, whole: bool) -> tuple[list[bytes], bool]:
        """The first part of the result, and whether it is all of it.

        A result that is complete at once gets its length and its counters into the headers; one that takes longer
        starts to flow, as ClickHouse sends each block when it has it.
        """
        limit = _SPOOL_IN_MEMORY_BYTES if whole else request.buffer_bytes or _DEFAULT_BUFFER_BYTES
        patience = None if whole or request.buffer_bytes else _FIRST_BYTES_SECONDS
        parts = [await pipe.read()]
        gathered = len(parts[0])
        if not gathered:
            return parts, True
        try:
            async with asyncio.timeout(patience):
                while gathered <= limit:
                    piece = await pipe.read()
                    if not piece:
                        return parts, True
                    gathered += len(piece)
                    parts.append(piece)
        except TimeoutError:
            pass
        return parts, False

    async def _send_whole(self, result: _Result, parts: list[bytes]) -> web.Response:
        outcome = await result.running
        content = b"".join(parts)
        headers = self._result_headers(result.job) | {"X-ClickHouse-Summary": self._summary(outcome)}
        if result.packer is not None and content:
            content = await result.packed(content) + result.packer.finish()
            if result.encoding:
                headers["Content-Encoding"] = result.encoding
        return web.Response(body=content, headers=headers)

    async def _send_spooled(self, result: _Result, parts: list[bytes]) -> web.StreamResponse:
        """The whole result goes to a file first, because the client wants a status that holds for all of it."""
        with tempfile.TemporaryFile() as file:
            for part in parts:
                await asyncio.to_thread(file.write, await result.packed(part))
            parts.clear()
            while piece := await result.pipe.read():
                await asyncio.to_thread(file.write, await result.packed(piece))
            outcome = await result.running
            file.write(result.end())
            size = file.tell()
            file.seek(0)
            response = self._open_stream(result, outcome)
            response.content_length = size
            await response.prepare(self._http)
            while piece := await asyncio.to_thread(file.read, _PIPE_BYTES):
                await _write(response, piece)
            await response.write_eof()
            return response

    async def _stream(self, result: _Result, parts: list[bytes]) -> web.StreamResponse:
        response = self._open_stream(result, None)
        response.enable_chunked_encoding()
        await response.prepare(self._http)
        for part in parts:
            await _write(response, await result.packed(part))
        parts.clear()
        while piece := await result.pipe.read():
            await _write(response, await result.packed(piece))
        try:
            await result.running
        except EngineError as error:
            await self._break_off(response, error, result)
            return response
        await _write(response, result.end())
        await response.write_eof()
        return response

    async def _break_off(self, response: web.StreamResponse, error: EngineError, result: _Result) -> None:
        """The status is sent already: the error goes into the body, and the connection ends without a last chunk."""
        message, tag = error.message(self._engine.version), self._tag
        size = len(message.encode())
        block = f"\r\n__exception__\r\n{tag}\r\n{message}\n{size} {tag}\r\n__exception__\r\n"
        await _write(response, await result.packed(block.encode()) + result.end())
        if self._http.transport is not None:
            self._http.transport.close()

    def _open_stream(self, result: _Result, outcome: QueryOutcome | None) -> web.StreamResponse:
        headers = self._result_headers(result.job) | {"X-ClickHouse-Summary": self._summary(outcome)}
        if result.encoding:
            headers["Content-Encoding"] = result.encoding
        return web.StreamResponse(headers=headers)

    def _result_headers(self, job: Job) -> dict[str, str]:
        name = job.format_name
        timezone = job.request.settings.get("session_timezone") or self._engine.timezone
        return self._headers() | {
            "Content-Type": content_type(name),
            "X-ClickHouse-Format": name,
            "X-ClickHouse-Timezone": timezone,
            "X-ClickHouse-Exception-Tag": self._tag,
        }

    def _headers(self) -> dict[str, str]:
        headers = {"X-ClickHouse-Server-Display-Name": self._engine.display_name}
        if self.query_id and not set(self.query_id) & set("\r\n\x00"):
            headers["X-ClickHouse-Query-Id"] = self.query_id
        return headers

    def _summary(self, outcome: QueryOutcome | None) -> str:
        """X-ClickHouse-Summary: every number as text, as ClickHouse writes it."""
        elapsed_ns = time.monotonic_ns() - self._started_ns
        numbers = {
            "read_rows": outcome.read_rows if outcome else 0,
            "read_bytes": outcome.read_bytes if outcome else 0,
            "written_rows": outcome.written_rows if outcome else 0,
            "written_bytes": outcome.written_bytes if outcome else 0,
            "total_rows_to_read": outcome.read_rows if outcome else 0,
            "result_rows": outcome.result_rows if outcome else 0,
            "result_bytes": outcome.result_bytes if outcome else 0,
            "elapsed_ns": elapsed_ns,
        }
        return json.dumps({name: str(number) for name, number in numbers.items()}, separators=(",", ":"))


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        async with asyncio.timeout(_SEND_SECONDS):
            await response.write(data)
