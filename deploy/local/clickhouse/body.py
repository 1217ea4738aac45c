"""Reading request bodies: bounded in size and in time, pulled by the engine's thread from the event loop."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from aiohttp import BodyPartReader, web

from deploy.local.clickhouse.errors import EngineError
from deploy.local.clickhouse.request import ClickHouseRequest, ExternalTable, parse

__all__ = ["Body", "read_form"]

_PRELOAD_BYTES = 2**20
_PIECE_BYTES = 2**20
_IDLE_SECONDS = 30.0
_LARGEST_BODY_BYTES = 4 * 2**30
_LARGEST_FORM_BYTES = 64 * 2**20
_FORM_PIECE_BYTES = 65_536
_MOST_PARTS = 1_000
# A byte now and then is no silence. Only the time spent waiting for the client counts.
_SLOWEST_BYTES_PER_SECOND = 1_024


class Body:
    """A request body as a blocking source for a worker thread.

    The first megabyte is read before the query takes one of the engine's slots, so that a client that sends slowly
    holds a socket and not a slot. A silence longer than 30 s ends the request, and so does sending less than 1 KiB a
    second.
    """

    def __init__(self, http: web.Request, *, empty: bool) -> None:
        self._http = http
        self._loop = asyncio.get_running_loop()
        self._ready = b""
        self._at_end = empty
        self._abandoned = False
        self._total_bytes = 0
        self._waited_seconds = 0.0

    async def preload(self) -> None:
        """Read up to one megabyte. Raises EngineError 209 (too slow), 210 (gone), 307 (too large)."""
        if not self._at_end:
            self._ready = await self._pull(_PRELOAD_BYTES)

    def read(self, size: int = -1, /) -> bytes:
        """Blocks until there are bytes; at most `size` of them; b"" at the end. Never call it in the event loop."""
        if not self._ready and not self._at_end:
            if self._abandoned:
                raise EngineError(210, "The client closed the connection before the end of its request")
            self._ready = asyncio.run_coroutine_threadsafe(self._pull(_PIECE_BYTES), self._loop).result()
        if size < 0 or size >= len(self._ready):
            piece, self._ready = self._ready, b""
        else:
            piece, self._ready = self._ready[:size], self._ready[size:]
        return piece

    def abandon(self) -> None:
        """The response is over: a thread that still wants the body gets an error."""
        self._abandoned = True

    async def _pull(self, size: int) -> bytes:
        parts: list[bytes] = []
        gathered = 0
        try:
            while gathered < size:
                part = await self._next_part(gathered)
                if not part:
                    self._at_end = True
                    break
                parts.append(part)
                gathered += len(part)
        except TimeoutError:
            raise EngineError(
                209,
                f"Timeout exceeded while reading from socket: no data for {_IDLE_SECONDS:.0f} s, or less than "
                f"{_SLOWEST_BYTES_PER_SECOND} bytes a second",
                status=408,
            ) from None
        except (OSError, web.HTTPException, RuntimeError) as error:
            raise EngineError(210, f"The request body ended early: {type(error).__name__}", status=400) from None
        self._total_bytes += gathered
        if self._total_bytes > _LARGEST_BODY_BYTES:
            raise EngineError(307, f"The request body is larger than {_LARGEST_BODY_BYTES} bytes")
        return b"".join(parts)

    async def _next_part(self, gathered: int) -> bytes:
        """The next bytes; raises TimeoutError when the client is silent, or slow on the whole."""
        due_seconds = _IDLE_SECONDS + (self._total_bytes + gathered) / _SLOWEST_BYTES_PER_SECOND
        started = self._loop.time()
        async with asyncio.timeout(min(_IDLE_SECONDS, max(0.0, due_seconds - self._waited_seconds))):
            part = await self._http.content.readany()
        self._waited_seconds += self._loop.time() - started
        return part


async def read_form(
    http: web.Request, request: ClickHouseRequest, url_parameters: Sequence[tuple[str, str]]
) -> ClickHouseRequest:
    """Read a multipart form: its fields are parameters, its files are external tables.

    Raises EngineError: 117 for a form that cannot be read, 307 for one above 64 MiB or 1,000 parts, 62 for a table
    without structure.
    """
    fields: list[tuple[str, str]] = []
    files: dict[str, bytes] = {}
    left, parts = _LARGEST_FORM_BYTES, 0
    try:
        reader = await http.multipart()
        async with asyncio.timeout(_IDLE_SECONDS * 4):
            while (part := await reader.next()) is not None:
                parts += 1
                if parts > _MOST_PARTS:
                    raise EngineError(307, f"The multipart form has more than {_MOST_PARTS} parts")
                if not isinstance(part, BodyPartReader) or not part.name:
                    raise EngineError(117, "A part of the multipart form has no name")
                data = await _read_part(part, left)
                left -= len(data)
                if part.filename is None and f"{part.name}_structure" not in http.query:
                    fields.append((part.name, data.decode("utf-8", "surrogateescape")))
                else:
                    files[part.name] = data
    except (ValueError, AssertionError, TimeoutError) as error:
        raise EngineError(117, f"Cannot read the multipart form: {error}") from None
    whole = parse(http.method, [*url_parameters, *fields], http.headers, multipart=True)
    return dataclasses.replace(whole, query_id=request.query_id, external_tables=_tables(whole, files))


async def _read_part(part: BodyPartReader, left: int) -> bytes:
    """One part, which may have `left` bytes; it is never held beyond that."""
    data = bytearray()
    while piece := await part.read_chunk(_FORM_PIECE_BYTES):
        data += piece
        if len(data) > left:
            raise EngineError(307, f"The multipart form is larger than {_LARGEST_FORM_BYTES} bytes")
    return bytes(data)


def _tables(request: ClickHouseRequest, files: dict[str, bytes]) -> tuple[ExternalTable, ...]:
    tables = []
    for name, data in files.items():
        parts = request.external_structures.get(name, {})
        structure = parts.get("structure")
        if structure is None and "types" in parts:
            types = _top_level_types(parts["types"])
            structure = ", ".join(f"_{position} {kind}" for position, kind in enumerate(types, start=1))
        if not structure:
            raise EngineError(62, f"Neither {name}_structure nor {name}_types is given for the external table {name}")
        tables.append(ExternalTable(name, structure, parts.get("format", "TabSeparated"), data))
    return tuple(tables)


def _top_level_types(types: str) -> list[str]:
    """Split `Int8, Map(String, Int8)` at the commas outside of brackets."""
    found, depth, current = [], 0, ""
    for character in types:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            found.append(current.strip())
            current = ""
        else:
            current += character
    return [*found, current.strip()]
