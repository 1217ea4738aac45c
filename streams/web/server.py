"""``/metrics``, ``/healthz`` and ``/readyz``, served from a thread of their own, so that they answer when work is stuck."""

import asyncio
import errno
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from schemas.errors import MustStop
from streams.web.connections import ConnectionLimits, LimitedServer

_ANSWER_SECONDS = 10
#: Prometheus and a probe or two need a handful; a page takes milliseconds.
_LIMITS: Final = ConnectionLimits(most_connections=64, idle_seconds=30.0, request_seconds=10.0)
#: The longest path here has eight characters.
_LONGEST_LINE_BYTES: Final = 2_048
_LONGEST_HEADER_BYTES: Final = 8_190
_LARGEST_BODY_BYTES: Final = 1_024


@dataclass(frozen=True, slots=True)
class Health:
    """``problems`` is empty when all is well; each entry is a sentence."""

    problems: tuple[str, ...] = ()


class WebServer:
    """Serves the three pages on ``host:port`` from ``start`` to ``stop``."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        alive: Callable[[], Health],
        ready: Callable[[], Health],
        limits: ConnectionLimits = _LIMITS,
        *,
        port_setting: str = "CLASSPULSE_WEB_PORT",
    ) -> None:
        self._host = host
        self._port_setting = port_setting
        self._asked_port = port
        self._registry = registry
        self._pages = {"/healthz": alive, "/readyz": ready}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="web", daemon=True)
        self._runner: web.AppRunner | None = None
        self._server = LimitedServer(limits)
        self.port = port

    def start(self) -> None:
        """Bind and serve; raises :class:`MustStop` if the address is taken, or is none of this machine."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_ANSWER_SECONDS)
        except (OSError, UnicodeError) as error:
            self.stop()
            # asyncio wraps an address that is taken in a text of its own; the resolver's errors are about the host.
            is_host = isinstance(error, socket.gaierror | UnicodeError) or error.errno == errno.EADDRNOTAVAIL
            raise MustStop(
                f"Cannot serve /metrics on {self._host}:{self._asked_port}: {getattr(error, 'strerror', None) or error}",
                "Let CLASSPULSE_WEB_HOST name an address of this machine"
                if is_host
                else f"Let {self._port_setting} name another port",
            ) from error

    def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._stop(self._runner), self._loop).result(_ANSWER_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_SECONDS)
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application(client_max_size=_LARGEST_BODY_BYTES, middlewares=[self._server.track])
        application.router.add_get("/metrics", self._metrics)
        for path in self._pages:
            application.router.add_get(path, self._health)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            keepalive_timeout=30,
            shutdown_timeout=1,
            max_line_size=_LONGEST_LINE_BYTES,
            max_field_size=_LONGEST_HEADER_BYTES,
            lingering_time=1.0,
        )
        await self._runner.setup()
        await self._server.start(self._runner, self._host, self._asked_port)
        self.port = self._server.port

    async def _stop(self, runner: web.AppRunner) -> None:
        await self._server.close()
        await runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, request: web.Request) -> web.Response:
        health = self._pages[request.path]()
        text = "ok\n" if not health.problems else "".join(f"{problem}\n" for problem in health.problems)
        return web.Response(text=text, status=503 if health.problems else 200)
