"""The worker process: it waits for Kafka, lets Faust deliver batches to the pipeline, and ends in order.

``build.py`` has its parts and how they are put together, ``app.py`` Faust's app, ``watch.py`` what it says of itself. All
that the product uses of Faust is in ``app.py``, here, and in ``streams/kafka/transport.py``.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from schemas.errors import ClasspulseError
from schemas.events.pseudonym import fingerprint
from sinks.stores.pseudonym_keys import compare
from streams.kafka import topics
from streams.kafka.fetch.guard import guard
from streams.kafka.transport import EVENT_TOPICS, BatchSchema, CheckpointConsumer
from streams.kafka.watch import LOOK_SECONDS
from streams.pipeline.batch import TopicPartition
from streams.settings import Settings
from streams.web.server import Health, WebServer
from streams.worker.app import PlainWorker, new_app
from streams.worker.build import build

log = logging.getLogger("classpulse.worker")

TICK_SECONDS: Final = 0.05
WATCH_SECONDS: Final = 1.0
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
EXIT_FAILED: Final = 1
#: Nothing is left to write after a failure; Faust gets this long to leave the consumer group.
FAILED_EXIT_SECONDS: Final = 5.0
LEAVE_SECONDS: Final = 5.0
NOT_IN_GROUP_SECONDS: Final = 1.5


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        guard()  # before any consumer exists
        topics.never_create_by_asking()
        self._settings = settings
        self._written_at_stop = 0
        self.parts = build(settings, loop, self._consumer, self._end)
        self.web = WebServer(settings.web_host, settings.web_port, self.parts.telemetry.registry, self._alive, self._ready)
        self.app = new_app(settings, loop, self._assign)
        parts, every = self.parts, self._every
        topic = self.app.topic(*sorted(EVENT_TOPICS), schema=BatchSchema(), acks=False)
        self.app.agent(topic, name="pipeline")(self._consume)
        self.app.task(every(TICK_SECONDS, parts.pipeline.poll))
        self.app.task(every(WATCH_SECONDS, parts.watch.step))
        self.app.task(every(WATCH_SECONDS, parts.topic_watch.step))
        self.app.on_before_shutdown.connect(self._stop_in_order, weak=False)

    def run(self, loop: asyncio.AbstractEventLoop) -> int:
        """Work until told to stop; return the exit status.

        Raises :class:`MustStop` if Kafka rejects this worker at its start, or its web pages' port is taken.
        """
        _tune_interpreter()
        self.web.start()
        log.info("metrics and health on http://%s:%s", self._settings.web_host, self.web.port)
        try:
            return self._run_faust(loop) if self._is_let_in(loop) else 0
        finally:
            self.parts.stopping.set()
            for thread in self.parts.threads:
                thread.shutdown()
            self.web.stop()

    def _is_let_in(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait for Kafka; return False if told to stop meanwhile. Faust would fail without a broker."""
        waiting = loop.create_task(self._until_let_in(loop))
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, waiting.cancel)
        try:
            loop.run_until_complete(waiting)
        except asyncio.CancelledError:
            log.info("stopped in order while waiting for Kafka; nothing was read")
            return False
        return True

    async def _until_let_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for Kafka; raises :class:`MustStop` if it rejects this worker, or the pseudonym key is another one."""
        key = fingerprint(self._settings.pseudonym_key_bytes())
        names = [topic.name for topic in topics.declared()]
        await asyncio.gather(
            # A database that does not answer now is asked again before the first checkpoint is read.
            loop.run_in_executor(self.parts.writing.executor, compare, self._settings.clickhouse, key),
            self.parts.kafka.until_it_lets_in(self._settings.group, names),
        )

    def _run_faust(self, loop: asyncio.AbstractEventLoop) -> int:
        runner = PlainWorker(self.app, loop=loop, quiet=True)
        runner.listen_to_signals(loop, STOP_SIGNALS)
        # Faust begins its own tasks only once partitions are assigned.
        for seconds, step in ((LOOK_SECONDS, self.parts.kafka.step), (WATCH_SECONDS, self.parts.membership.step)):
            loop.create_task(self._every(seconds, step)()).add_done_callback(self._note_end)
        try:
            runner.execute_from_commandline()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else EXIT_FAILED
        if self.parts.failure.error is not None:
            return EXIT_FAILED
        if status:
            log.critical("the worker failed: %r", runner.crash_reason, exc_info=runner.crash_reason)
        else:
            self._say_stopped()
        return status

    def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def repeat() -> None:
            while not self.app.should_stop:
                await asyncio.sleep(seconds)
                await step()

        return repeat

    async def _assign(self, partitions: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Begin with the assigned partitions."""
        self.parts.watch.forget_gauges()
        offsets = await self.parts.assignment.assign(partitions)
        self.parts.watch.note_assignment()
        return offsets

    async def _consume(self, stream: Any) -> None:
        async for batch in stream:
            await self.parts.pipeline.submit(batch)

    def _consumer(self) -> CheckpointConsumer:
        consumer = self.app.consumer
        if not isinstance(consumer, CheckpointConsumer):
            raise TypeError("the app has another consumer")
        return consumer

    # The end

    def _end(self, error: BaseException) -> None:
        """End the process with a status above 0; what was not written will be read again."""
        log.critical("the pipeline failed: %s", error, exc_info=not isinstance(error, ClasspulseError))
        self._exit_after(FAILED_EXIT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.parts.failure.note(error)

    async def _stop_in_order(self, *_arguments: Any, **_options: Any) -> None:
        """Write what waits within the budget for an orderly stop; what is not written will be read again."""
        parts, budget_seconds = self.parts, self._settings.shutdown_seconds
        self._exit_after(budget_seconds)
        if self.app.crashed and parts.failure.error is None:
            parts.failure.error = self.app.crash_reason
            log.critical("the worker failed: %r", self.app.crash_reason)
        is_away = parts.clickhouse.problem or parts.dead_letter_topic.state.problem
        if parts.failure.error is None and parts.watch.joined and not is_away:
            waiting = parts.partitions.pending_records
            with suppress(TimeoutError):
                await asyncio.wait_for(parts.pipeline.join(), budget_seconds / 2)
            self._written_at_stop = waiting - parts.partitions.pending_records
        parts.stopping.set()
        # What is left is to leave the group, which a broker that is away, or a join under way, can hold up.
        self._exit_after(LEAVE_SECONDS if parts.watch.is_reading else NOT_IN_GROUP_SECONDS)
        parts.assignment.stop()
        await parts.dead_letter_topic.close()
        await parts.topic_watch.close()
        await parts.kafka.close()

    def _exit_after(self, seconds: float) -> None:
        deadline = threading.Timer(seconds, self._exit_now)
        deadline.daemon = True
        deadline.start()

    def _exit_now(self) -> None:
        if self.parts.failure.error is not None:
            os._exit(EXIT_FAILED)
        if self.parts.stopping.is_set():
            self._say_stopped()
        else:
            log.warning("the orderly stop took too long and is given up; what was not written will be read again")
        os._exit(0)

    def _say_stopped(self) -> None:
        log.info(
            "stopped in order: %s records written at the end, %s will be read again",
            self._written_at_stop,
            self.parts.partitions.pending_records,
        )

    # Health

    def _alive(self) -> Health:
        failure = self.parts.failure.error
        return self.parts.watch.alive() if failure is None else Health((f"the pipeline failed: {failure}",))

    def _ready(self) -> Health:
        waiting = self.parts.membership.problem
        problems = (*self.parts.topic_watch.problems, *self.parts.watch.ready().problems)
        return Health((*problems, waiting) if waiting is not None else problems)


def _tune_interpreter() -> None:
    # Decoding leaves and takes the interpreter lock some hundred times a batch; with Python's 5 ms it would wait most of
    # the time for the thread that unpacks records.
    sys.setswitchinterval(0.000_5)
    # Records are freed by counting references. Python's own threshold of 700 objects would walk a fetch's records again
    # and again, and find nothing: that cost a sixth of the throughput.
    gc.freeze()
    gc.set_threshold(500_000, 20, 100)
