"""``/metrics``, ``/healthz`` and ``/readyz``, served from a thread of their own, so that they answer when work is stuck."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from schemas.errors import MustStop

_ANSWER_SECONDS = 10


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
    ) -> None:
        self._host = host
        self._asked_port = port
        self._registry = registry
        self._pages = {"/healthz": alive, "/readyz": ready}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="web", daemon=True)
        self._runner: web.AppRunner | None = None
        self.port = port

    def start(self) -> None:
        """Bind and serve; raises :class:`MustStop` if the address is taken."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_ANSWER_SECONDS)
        except OSError as error:
            self.stop()
            raise MustStop(
                f"Cannot serve /metrics on {self._host}:{self._asked_port}: {error.strerror}",
                "Set CLASSPULSE_WEB_PORT to another port, or to 0 for any free one",
            ) from error

    def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(_ANSWER_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_ANSWER_SECONDS)
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application(client_max_size=1024)
        application.router.add_get("/metrics", self._metrics)
        for path in self._pages:
            application.router.add_get(path, self._health)
        self._runner = web.AppRunner(application, access_log=None, keepalive_timeout=30, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._asked_port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _health(self, request: web.Request) -> web.Response:
        health = self._pages[request.path]()
        text = "ok\n" if not health.problems else "".join(f"{problem}\n" for problem in health.problems)
        return web.Response(text=text, status=503 if health.problems else 200)
