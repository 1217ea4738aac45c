"""Reading request bodies: bounded in size and in time, pulled by the engine's thread from the event loop."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

from aiohttp import BodyPartReader, web

from deploy.embedded.errors import EngineError
from deploy.embedded.request import ClickHouseRequest, ExternalTable, parse

__all__ = ["Body", "read_form"]

_PRELOAD_BYTES = 2**20
_PIECE_BYTES = 2**20
_IDLE_SECONDS = 30.0
_LARGEST_BODY_BYTES = 4 * 2**30
_LARGEST_FORM_BYTES = 64 * 2**20


class Body:
    """A request body as a blocking source for a worker thread.

    The first megabyte is read before the query takes one of the engine's slots, so that a client that sends slowly
    holds a socket and not a slot. A silence longer than 30 s ends the request.
    """

    def __init__(self, http: web.Request, *, empty: bool) -> None:
        self._http = http
        self._loop = asyncio.get_running_loop()
        self._ready = b""
        self._at_end = empty
        self._abandoned = False
        self._total_bytes = 0

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
                async with asyncio.timeout(_IDLE_SECONDS):
                    part = await self._http.content.readany()
                if not part:
                    self._at_end = True
                    break
                parts.append(part)
                gathered += len(part)
        except TimeoutError:
            raise EngineError(
                209,
                f"Timeout exceeded while reading from socket: no data for {_IDLE_SECONDS:.0f} s",
                status=408,
            ) from None
        except (OSError, web.HTTPException, RuntimeError) as error:
            raise EngineError(210, f"The request body ended early: {type(error).__name__}", status=400) from None
        self._total_bytes += gathered
        if self._total_bytes > _LARGEST_BODY_BYTES:
            raise EngineError(307, f"The request body is larger than {_LARGEST_BODY_BYTES} bytes")
        return b"".join(parts)


async def read_form(
    http: web.Request, request: ClickHouseRequest, url_parameters: Sequence[tuple[str, str]]
) -> ClickHouseRequest:
    """Read a multipart form: its fields are parameters, its files are external tables.

    Raises EngineError: 117 for a form that cannot be read, 307 for one above 64 MiB, 62 for a table without structure.
    """
    fields: list[tuple[str, str]] = []
    files: dict[str, bytes] = {}
    total = 0
    try:
        reader = await http.multipart()
        async with asyncio.timeout(_IDLE_SECONDS * 4):
            while (part := await reader.next()) is not None:
                if not isinstance(part, BodyPartReader) or not part.name:
                    raise EngineError(117, "A part of the multipart form has no name")
                data = bytes(await part.read(decode=False))
                total += len(data)
                if total > _LARGEST_FORM_BYTES:
                    raise EngineError(307, f"The multipart form is larger than {_LARGEST_FORM_BYTES} bytes")
                if part.filename is None and f"{part.name}_structure" not in http.query:
                    fields.append((part.name, data.decode("utf-8", "surrogateescape")))
                else:
                    files[part.name] = data
    except (ValueError, AssertionError, TimeoutError) as error:
        raise EngineError(117, f"Cannot read the multipart form: {error}") from None
    whole = parse(http.method, [*url_parameters, *fields], http.headers, multipart=True)
    return dataclasses.replace(whole, query_id=request.query_id, external_tables=_tables(whole, files))


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
