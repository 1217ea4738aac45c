"""Bounds for an aiohttp server: how many connections, and how long one may stay without a whole request.

aiohttp accepts any number of connections, and what it does with one that drips its headers differs by its version.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web

_SWEEP_SECONDS: Final = 1.0
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\nConnection: close\r\n\r\n"
    b"Too many connections\n"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """``most_connections`` at once; the next is answered 503.

    ``idle_seconds``: for the headers of a request from the first byte to the last, for a pause between two requests, and
    for the client to take a whole answer. ``request_seconds``: for a request under way, its answer included.
    """

    most_connections: int
    idle_seconds: float
    request_seconds: float = float("inf")


class LimitedServer:
    """Serves an application within limits.

    :meth:`track` is a middleware of the application. :meth:`start` comes next; :meth:`close` before the runner's cleanup.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._open: dict[asyncio.BaseProtocol, _Connection] = {}
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that was bound; 0 before ``start``."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None else 0

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def start(self, runner: web.AppRunner, host: str, port: int, *, backlog: int = 128) -> None:
        """Listen. The runner must be set up. Raises ``OSError`` if the address cannot be had."""
        make = cast(Callable[[], asyncio.Protocol], runner.server)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(make(), self), host, port, backlog=backlog)
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Take no further connection; those that are open are the runner's to end."""
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    @web.middleware
    async def track(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note when a request begins and ends."""
        connection = self._open.get(request.protocol)
        if connection is None:
            return await handler(request)
        connection.busy = True
        connection.changed_seconds = asyncio.get_running_loop().time()
        try:
            return await handler(request)
        finally:
            connection.busy = False
            connection.changed_seconds = asyncio.get_running_loop().time()

    def admit(self, connection: "_Connection") -> bool:
        """Count a connection, if there is room for it."""
        if len(self._open) >= self._limits.most_connections:
            return False
        self._open[connection.inner] = connection
        return True

    def forget(self, connection: "_Connection") -> None:
        """A connection is gone."""
        self._open.pop(connection.inner, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now_seconds = asyncio.get_running_loop().time()
            for connection in list(self._open.values()):
                limit = self._limits.request_seconds if connection.busy else self._limits.idle_seconds
                if now_seconds - connection.changed_seconds > limit:
                    connection.abort()


class _Connection(asyncio.Protocol):
    """Stands between a transport and aiohttp's protocol, and hands on everything."""

    def __init__(self, inner: asyncio.Protocol, server: LimitedServer) -> None:
        self.inner = inner
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._admitted = False
        self.busy = False
        self.changed_seconds = asyncio.get_running_loop().time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._admitted = self._server.admit(self)
        if self._admitted:
            self.inner.connection_made(transport)
            return
        self._transport.write(_REFUSAL)
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._admitted:
            self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self.inner.eof_received() if self._admitted else None

    def pause_writing(self) -> None:
        if self._admitted:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self._admitted:
            self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._admitted:
            self._server.forget(self)
            self.inner.connection_lost(exc)

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
