"""ClickHouse's HTTP interface over the chDB engine.

`python -m deploy.local.clickhouse.server --data DIR --port N --users FILE`

Loopback only. One process owns the data folder. Ends with 0 after SIGTERM, non-zero when it could not start or stop.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web

from deploy.local.clickhouse.auth import Users
from deploy.local.clickhouse.engine import Engine
from deploy.local.clickhouse.errors import StackError
from deploy.local.clickhouse.handler import QueryHandler
from deploy.local.clickhouse.sessions import Sessions
from streams.output import logs
from streams.web.connections import ConnectionLimits, LimitedServer

__all__ = ["main", "serve"]

logger = logging.getLogger("classpulse.embedded")

_DISPLAY_NAME = "classpulse-embedded"
_LONGEST_LINE_BYTES = 2**20
_LONGEST_HEADER_BYTES = 65_536
_READ_BUFFER_BYTES = 2**20
_KEEPALIVE_SECONDS = 30.0
# How long a query may take is for its own settings to say; a connection without one must not stay.
_LIMITS = ConnectionLimits(most_connections=512, idle_seconds=60.0)
_SHUTDOWN_SECONDS = 10.0
_SESSION_SWEEP_SECONDS = 5.0
_HELP_TEXT = (
    "There is no handle {path}\n\n"
    "Use / or /ping for health checks.\n"
    "Or /replicas_status for more sophisticated health checks.\n"
    "Send queries from your program with POST method or GET /?query=...\n\n"
    "Use clickhouse-client:\n\n"
    "For interactive data analysis:\n    clickhouse-client\n\n"
    "For batch query processing:\n    clickhouse-client --query='SELECT 1' > result\n"
    "    clickhouse-client < query > result\n"
)


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")


async def _unknown(request: web.Request) -> web.Response:
    return web.Response(status=404, text=_HELP_TEXT.format(path=request.path))


def _routes(handler: QueryHandler, limited: LimitedServer) -> web.Application:
    application = web.Application(middlewares=[limited.track])
    application.router.add_get("/ping", _health)
    application.router.add_get("/replicas_status", _health)
    application.router.add_route("*", "/", handler.handle)
    application.router.add_route("*", "/query", handler.handle)
    application.router.add_route("*", "/{path:.*}", _unknown)
    return application


async def serve(
    engine: Engine, users: Users, host: str, port: int, *, most_queries: int, limits: ConnectionLimits = _LIMITS
) -> None:
    """Serve until SIGTERM or SIGINT; running queries get a bounded time to end. Raises OSError for a taken port."""
    pool = ThreadPoolExecutor(max_workers=most_queries, thread_name_prefix="query")
    sessions = Sessions()
    handler = QueryHandler(engine, users, sessions, pool, most_queries=most_queries)
    limited = LimitedServer(limits)
    runner = web.AppRunner(
        _routes(handler, limited),
        access_log=None,
        handle_signals=False,
        auto_decompress=False,
        handler_cancellation=True,
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_LONGEST_LINE_BYTES,
        max_field_size=_LONGEST_HEADER_BYTES,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await limited.start(runner, host, port, backlog=256)
        logger.info("ready on http://%s:%d, ClickHouse %s", host, port, engine.version)
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), _SESSION_SWEEP_SECONDS)
            except TimeoutError:
                sessions.drop_expired()
        logger.info("stopping")
    finally:
        handler.refuse_new_queries()
        await limited.close()
        await runner.cleanup()
        await handler.stop_queries()
        pool.shutdown(wait=True, cancel_futures=True)
        sessions.close()


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.clickhouse.server", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the engine's data")
    parser.add_argument("--port", type=int, required=True, help="TCP port to listen on")
    parser.add_argument("--users", type=Path, required=True, help="users file (JSON, mode 0600)")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--most-queries", type=int, default=16, help="queries that may run at once")
    parser.add_argument("--max-memory-bytes", type=int, default=0, help="memory of the engine; 0 = half of the machine's")
    return parser.parse_args(arguments)


def _half_of_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _end_at_the_latest(seconds: float) -> None:
    """A thread stuck inside the engine must not keep a stopped server alive."""

    def end() -> None:
        logger.error("the engine did not stop within %.0f s; ending the process", seconds)
        os._exit(3)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def main(arguments: list[str] | None = None) -> int:
    """Run the server; the exit code is 0 after an orderly stop, 2 when it could not start."""
    options = _arguments(arguments)
    logs.configure("text")
    if not ip_address(options.host).is_loopback:
        logger.error("--host %s is not a loopback address; the embedded server serves this machine only", options.host)
        return 2
    memory_bytes = options.max_memory_bytes or _half_of_memory_bytes()
    engine = Engine(options.data.resolve(), display_name=_DISPLAY_NAME, max_memory_bytes=memory_bytes)
    try:
        users = Users.read(options.users)
        engine.open()
        asyncio.run(serve(engine, users, options.host, options.port, most_queries=options.most_queries))
    except (StackError, OSError) as error:
        logger.critical("cannot serve: %s", error)
        return 2
    _end_at_the_latest(_SHUTDOWN_SECONDS)
    engine.close()
    logger.info("stopped")
    return 0


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # chDB's threads may outlive its close(); an orderly interpreter exit would wait for them.
    os._exit(code)
