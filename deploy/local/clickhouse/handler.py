"""One HTTP query from its first byte to its last: login, admission, body, engine, response."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from deploy.local.clickhouse.auth import User, Users, credentials_of
from deploy.local.clickhouse.blocks import decompressed_blocks
from deploy.local.clickhouse.body import Body, read_form
from deploy.local.clickhouse.compression import decompressed
from deploy.local.clickhouse.engine import Engine, QueryOutcome, quoted_string
from deploy.local.clickhouse.errors import EngineError
from deploy.local.clickhouse.execution import Job
from deploy.local.clickhouse.request import ClickHouseRequest, parse
from deploy.local.clickhouse.response import Reply, ResultPipe
from deploy.local.clickhouse.sessions import Sessions

__all__ = ["QueryHandler"]

logger = logging.getLogger("classpulse.embedded")

_MOST_WAITING = 128
_LONGEST_WAIT_SECONDS = 15.0
_STOP_SECONDS = 5.0


class QueryHandler:
    """Serves queries on one engine; at most `most_queries` run at once, the others wait a bounded time."""

    def __init__(
        self, engine: Engine, users: Users, sessions: Sessions, pool: ThreadPoolExecutor, *, most_queries: int
    ) -> None:
        self._engine = engine
        self._users = users
        self._sessions = sessions
        self._pool = pool
        self._slots = asyncio.Semaphore(most_queries)
        self._waiting = 0
        self._running: set[asyncio.Future[QueryOutcome]] = set()
        self._cleanups: set[asyncio.Future[None]] = set()
        self._open = True

    def refuse_new_queries(self) -> None:
        """From now on every query is answered 503."""
        self._open = False

    async def stop_queries(self) -> None:
        """Cancel what still runs, and wait a bounded time for it."""
        if self._running:
            await self._kill("1")
            await asyncio.wait(set(self._running), timeout=_STOP_SECONDS)

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Answer one request; every failure becomes ClickHouse's error response."""
        started = time.monotonic()
        reply = Reply(http, self._engine)
        try:
            if http.method in {"GET", "HEAD"} and "query" not in http.query and not http.can_read_body:
                return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")
            request, user = await self._accept(http, reply)
            response = await self._run(http, request, user, reply)
        except EngineError as error:
            response = await reply.failure(error)
            logger.info("query %s failed: code %d, status %d", reply.query_id, error.code, error.status)
        except ConnectionError:
            logger.info("query %s: the client went away", reply.query_id)
            response = web.Response(status=499)
            response.force_close()
        except asyncio.CancelledError:
            logger.info("query %s: the client went away", reply.query_id)
            raise
        except Exception:
            logger.exception("query %s: unexpected failure", reply.query_id)
            response = await reply.failure(EngineError(1001, "The embedded server failed; see its log"))
        logger.debug("query %s took %.3f s", reply.query_id, time.monotonic() - started)
        return response

    async def _accept(self, http: web.Request, reply: Reply) -> tuple[ClickHouseRequest, User]:
        url_parameters = list(http.query.items())
        multipart = http.content_type == "multipart/form-data"
        if not self._open:
            raise EngineError(236, "The server is shutting down")
        if http.method not in {"GET", "HEAD", "POST", "PUT"}:
            raise EngineError(48, f"Unsupported HTTP method: {http.method}", status=501)
        user = await self._login(http)
        if http.method in {"POST", "PUT"} and "Content-Length" not in http.headers and not _is_chunked(http):
            raise EngineError(
                381,
                "The Transfer-Encoding is not chunked and there is no Content-Length header for POST request",
            )
        request = parse(http.method, url_parameters, http.headers, multipart=multipart)
        if multipart:
            request = await read_form(http, request, url_parameters)
        reply.accept(request)
        return request, user

    async def _login(self, http: web.Request) -> User:
        credentials = credentials_of(http.headers, http.query)
        user = self._users.remembered(credentials)
        if user is not None:
            return user
        return await asyncio.to_thread(self._users.check, credentials)

    async def _run(self, http: web.Request, request: ClickHouseRequest, user: User, reply: Reply) -> web.StreamResponse:
        body = Body(http, empty=bool(request.external_tables) or not http.can_read_body)
        await body.preload()
        session = None
        if request.session_id:
            session = self._sessions.take(
                user.name,
                request.session_id,
                request.session_timeout_seconds,
                must_exist=request.session_must_exist,
            )
        pipe: ResultPipe | None = None
        try:
            await self._take_slot()
            pipe = ResultPipe()
            source = decompressed(body, request.content_encoding)
            if request.decompress_blocks:
                source = decompressed_blocks(source)
            job = Job(self._engine, request, user, source, pipe.write_descriptor, session)
            running = self._start(job, pipe)
        except BaseException:
            if pipe is not None:
                pipe.close()
                pipe.close_write_end()
            if session is not None:
                self._sessions.release(session, close=request.close_session)
            raise
        if session is not None:
            kept = session
            running.add_done_callback(lambda _: self._sessions.release(kept, close=request.close_session))
        try:
            return await reply.send(job, running, pipe)
        finally:
            body.abandon()
            pipe.close()
            if not running.done() and job.cancellable:
                self._in_background(job.cancel_tag)

    async def _take_slot(self) -> None:
        if self._slots.locked() and self._waiting >= _MOST_WAITING:
            raise _too_many()
        self._waiting += 1
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise _too_many() from None
        finally:
            self._waiting -= 1

    def _start(self, job: Job, pipe: ResultPipe) -> asyncio.Future[QueryOutcome]:
        def run() -> QueryOutcome:
            try:
                return job.run()
            finally:
                pipe.close_write_end()

        try:
            running = asyncio.get_running_loop().run_in_executor(self._pool, run)
        except RuntimeError:
            self._slots.release()
            raise EngineError(236, "The server is shutting down") from None
        self._running.add(running)
        running.add_done_callback(self._ended)
        return running

    def _ended(self, running: asyncio.Future[QueryOutcome]) -> None:
        self._running.discard(running)
        self._slots.release()
        if not running.cancelled():
            running.exception()

    def _in_background(self, cancel_tag: str) -> None:
        task = asyncio.ensure_future(self._kill(f"Settings['log_comment'] = {quoted_string(cancel_tag)}"))
        self._cleanups.add(task)
        task.add_done_callback(self._cleanups.discard)

    async def _kill(self, condition: str) -> None:
        """Stop running queries; their own connections stay usable by nobody, they end with their request."""

        def kill() -> None:
            try:
                with self._engine.connection("server") as connection:
                    connection.run(f"KILL QUERY WHERE {condition} ASYNC", "Null")
            except EngineError as error:
                logger.info("could not cancel a query: code %d", error.code)

        await asyncio.to_thread(kill)


def _is_chunked(http: web.Request) -> bool:
    return "chunked" in http.headers.get("Transfer-Encoding", "").lower()


def _too_many() -> EngineError:
    return EngineError(202, f"Too many simultaneous queries; none ended within {_LONGEST_WAIT_SECONDS:.0f} seconds.")
