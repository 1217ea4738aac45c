"""Writing responses: headers as ClickHouse has them, results streamed from the engine's pipe, errors at any moment."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import tempfile
import threading
import time
from typing import IO

from aiohttp import web

from deploy.embedded.compression import Compressor, compressor
from deploy.embedded.engine import Engine, QueryOutcome
from deploy.embedded.errors import EngineError
from deploy.embedded.execution import Job
from deploy.embedded.formats import content_type
from deploy.embedded.request import ClickHouseRequest

__all__ = ["Reply", "ResultPipe"]

_PIPE_BYTES = 2**20
_SET_PIPE_SIZE = getattr(fcntl, "F_SETPIPE_SZ", 1031)
_SPOOL_IN_MEMORY_BYTES = 16 * 2**20
_SEND_SECONDS = 300.0
_COMPRESS_IN_THREAD_BYTES = 65_536


class ResultPipe:
    """The pipe a result passes through: the engine's thread writes, the event loop reads."""

    def __init__(self) -> None:
        self._read_descriptor, self.write_descriptor = os.pipe()
        os.set_blocking(self._read_descriptor, False)
        try:
            fcntl.fcntl(self._read_descriptor, _SET_PIPE_SIZE, _PIPE_BYTES)
        except OSError:
            pass  # The account's share of pipe memory is used up: a small pipe is slower, nothing else.
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
        return web.Response(
            status=error.status, text=text, headers=headers, content_type="text/plain", charset="UTF-8"
        )

    async def send(
        self, job: Job, running: asyncio.Future[QueryOutcome], pipe: ResultPipe, encoding: str
    ) -> web.StreamResponse:
        """Send the result of `job`. Raises EngineError while nothing has been sent yet."""
        packer = compressor(encoding) if encoding else None
        wait_for_end = job.request.wait_end_of_query
        limit = _SPOOL_IN_MEMORY_BYTES if wait_for_end else job.request.buffer_bytes
        parts: list[bytes] = []
        gathered = 0
        ended = False
        while gathered <= limit:
            piece = await pipe.read()
            if not piece:
                ended = True
                break
            gathered += len(piece)
            parts.append(piece)
        if ended:
            outcome = await running
            return await self._send_whole(job, outcome, parts, packer, encoding)
        if wait_for_end:
            return await self._send_spooled(job, running, pipe, parts, packer, encoding)
        return await self._stream(job, running, pipe, parts, packer, encoding)

    async def _send_whole(
        self, job: Job, outcome: QueryOutcome, parts: list[bytes], packer: Compressor | None, encoding: str
    ) -> web.Response:
        content = b"".join(parts)
        headers = self._result_headers(job) | {"X-ClickHouse-Summary": self._summary(outcome)}
        if packer is not None and content:
            content = await _pack(packer, content) + packer.finish()
            headers["Content-Encoding"] = encoding
        return web.Response(body=content, headers=headers)

    async def _send_spooled(
        self,
        job: Job,
        running: asyncio.Future[QueryOutcome],
        pipe: ResultPipe,
        parts: list[bytes],
        packer: Compressor | None,
        encoding: str,
    ) -> web.StreamResponse:
        """The whole result goes to a file first, because the client wants a status that holds for all of it."""
        with tempfile.TemporaryFile() as file:
            for part in parts:
                await _spool(file, part, packer)
            parts.clear()
            while piece := await pipe.read():
                await _spool(file, piece, packer)
            outcome = await running
            if packer is not None:
                file.write(packer.finish())
            size = file.tell()
            file.seek(0)
            response = self._open_stream(job, encoding if packer is not None else "")
            response.headers["X-ClickHouse-Summary"] = self._summary(outcome)
            response.content_length = size
            await response.prepare(self._http)
            while piece := await asyncio.to_thread(file.read, _PIPE_BYTES):
                await _write(response, piece)
            await response.write_eof()
            return response

    async def _stream(
        self,
        job: Job,
        running: asyncio.Future[QueryOutcome],
        pipe: ResultPipe,
        parts: list[bytes],
        packer: Compressor | None,
        encoding: str,
    ) -> web.StreamResponse:
        response = self._open_stream(job, encoding if packer is not None else "")
        response.headers["X-ClickHouse-Summary"] = self._summary(None)
        response.enable_chunked_encoding()
        await response.prepare(self._http)
        for part in parts:
            await _write(response, await _pack(packer, part))
        parts.clear()
        while piece := await pipe.read():
            await _write(response, await _pack(packer, piece))
        try:
            await running
        except EngineError as error:
            await self._break_off(response, error, packer)
            return response
        if packer is not None:
            await _write(response, packer.finish())
        await response.write_eof()
        return response

    async def _break_off(
        self, response: web.StreamResponse, error: EngineError, packer: Compressor | None
    ) -> None:
        """The status is sent already: the error goes into the body, and the connection ends without a last chunk."""
        message = error.message(self._engine.version).encode()
        tag = self._tag.encode()
        block = b"\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n" % (
            tag,
            message,
            len(message),
            tag,
        )
        data = await _pack(packer, block)
        await _write(response, data + packer.finish() if packer is not None else data)
        if self._http.transport is not None:
            self._http.transport.close()

    def _open_stream(self, job: Job, encoding: str) -> web.StreamResponse:
        headers = self._result_headers(job)
        if encoding:
            headers["Content-Encoding"] = encoding
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


async def _pack(packer: Compressor | None, data: bytes) -> bytes:
    if packer is None:
        return data
    if len(data) < _COMPRESS_IN_THREAD_BYTES:
        return packer.compress(data)
    return await asyncio.to_thread(packer.compress, data)


async def _spool(file: IO[bytes], piece: bytes, packer: Compressor | None) -> None:
    data = await _pack(packer, piece)
    await asyncio.to_thread(file.write, data)


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        async with asyncio.timeout(_SEND_SECONDS):
            await response.write(data)
