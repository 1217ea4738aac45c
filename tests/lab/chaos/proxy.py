"""A TCP proxy that misbehaves on command, between a worker and ClickHouse or Kafka.

    with Proxy(("127.0.0.1", 8123), "http") as proxy:
        ...                                             # the worker uses proxy.url
        proxy.inject(ResetAfterRequest(), when=inserts_into("metric_rows"), times=1)
        proxy.inject(HalfOpen())
        proxy.heal()

It runs in a thread of its own; every method may be called from any other thread, and what it does is in force when it
returns. Loopback only. It reads no faster than it can write, so its memory is bounded.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

from tests.lab.chaos.faults import HTTP_ONLY, Board, Cut, Fault, Injection, Predicate
from tests.lab.chaos.relay import HEAD_BYTES, Reset, Shaper, Stream, close, relay_bytes, relay_http, reset

__all__ = ["Address", "Protocol", "Proxy"]

Address = tuple[str, int]
Protocol = Literal["tcp", "http", "kafka"]
T = TypeVar("T")

HOST: Final = "127.0.0.1"
MOST_CONNECTIONS: Final = 512
_CONTROL_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 10.0


class Proxy:
    """Listens on a loopback port, and passes everything to ``upstream`` unless told otherwise.

    ``protocol``: "http" knows requests; "kafka" replaces the broker's address in its answers by its own, so that clients
    come back; "tcp" knows bytes alone.
    """

    def __init__(self, upstream: Address, protocol: Protocol = "tcp", *, port: int = 0) -> None:
        self._upstream = upstream
        self._protocol = protocol
        self._wanted_port = port
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=f"{protocol}-proxy", daemon=True)
        self._board = Board()
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """Its address as a URL."""
        return f"http://{HOST}:{self._port}"

    @property
    def address(self) -> str:
        """Its address as Kafka's clients write it."""
        return f"{HOST}:{self._port}"

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def start(self) -> Self:
        """Listen; raises ``OSError`` if the port is taken."""
        self._thread.start()
        try:
            self._do(self._listen())
        except OSError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Reset every connection and stop listening; does nothing the second time."""
        if not self._thread.is_alive():
            return
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CONTROL_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def point_at(self, upstream: Address) -> None:
        """Pass new connections to another server."""
        self._do(self._now(lambda: setattr(self, "_upstream", upstream)))

    def inject(self, fault: Fault, *, when: Predicate | None = None, times: int | None = None) -> Injection:
        """Put a fault in force until it is healed, or for the next ``times`` requests (HTTP) or connections (else).

        ``when`` chooses requests. Without both, a delay, a drip and a half-open fault act on open connections too.
        Raises ``ValueError`` for a fault or a predicate that needs HTTP, and for a cut with either of them.
        """
        if self._protocol != "http" and (isinstance(fault, HTTP_ONLY) or when is not None):
            raise ValueError(f"{fault} with predicate {when} needs a proxy for HTTP, this one is for {self._protocol}")
        if isinstance(fault, Cut) and (when is not None or times is not None):
            raise ValueError("a cut is for all connections until it is healed; leave out when and times")
        injection = Injection(fault, when, times)
        self._do(self._inject(injection))
        return injection

    def heal(self, injection: Injection | None = None) -> None:
        """End one fault, or all."""
        self._do(self._heal(injection))

    def reset_connections(self) -> None:
        """Reset every open connection at once; new ones are welcome."""
        self._do(self._now(self._reset_all))

    # --- in the loop's thread ---------------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CONTROL_SECONDS)

    async def _now(self, step: Callable[[], object]) -> None:
        step()

    async def _inject(self, injection: Injection) -> None:
        self._board.add(injection)
        if isinstance(injection.fault, Cut):
            injection.meet()
            self._refuse()
            self._reset_all()

    async def _heal(self, injection: Injection | None) -> None:
        self._board.remove(injection)
        if not self._board.cut and self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        listener = self._reserved or _bound(self._wanted_port)
        self._reserved = None
        self._port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=HEAD_BYTES)

    def _refuse(self) -> None:
        """Stop listening, but keep the port: a bound socket that does not listen refuses connections."""
        if self._server is not None:
            self._reserved = _bound(self._port)
            self._server.close()
            self._server = None

    async def _shut(self) -> None:
        self._refuse()
        if self._reserved is not None:
            self._reserved.close()
        ending = list(self._connections)
        self._reset_all()
        await asyncio.gather(*ending, return_exceptions=True)

    def _reset_all(self) -> None:
        for task, writers in self._connections.items():
            for writer in writers:
                reset(writer)
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MOST_CONNECTIONS or self._server is None:
            reset(writer)
            return
        self._connections[task] = [writer]
        try:
            await self._relay((reader, writer), self._connections[task])
        except (Reset, OSError, EOFError, asyncio.LimitOverrunError, ValueError, IndexError, asyncio.CancelledError):
            # Whatever breaks one side, the other learns it as a broken connection.
            for one in self._connections[task]:
                reset(one)
        else:
            for one in self._connections[task]:
                await close(one)
        finally:
            del self._connections[task]

    async def _relay(self, client: Stream, writers: list[asyncio.StreamWriter]) -> None:
        async def connect() -> Stream:
            server = await asyncio.wait_for(asyncio.open_connection(*self._upstream, limit=HEAD_BYTES), _CONNECT_SECONDS)
            writers[1:] = [server[1]]
            return server

        if self._protocol == "http":
            await relay_http(client, connect, self._board)
            return
        shaper = Shaper(self._board, self._board.bind(None))
        await relay_bytes(client, await connect(), shaper, self._broker_addresses())

    def _broker_addresses(self) -> tuple[bytes, bytes] | None:
        if self._protocol != "kafka":
            return None
        host, port = self._upstream
        # Kafka writes an address as the host's text followed by the port in four bytes, in every answer that has one.
        return host.encode() + struct.pack(">i", port), host.encode() + struct.pack(">i", self._port)


def _bound(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A second socket can take the port before the first gives it up.
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        found.bind((HOST, port))
    except OSError:
        found.close()
        raise
    found.settimeout(0)
    return found
