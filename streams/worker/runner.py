"""The worker: Faust delivers batches, one thread decodes and another writes, Kafka and Prometheus are told how far.

Everything of Faust that the product uses is in this file and in ``streams/kafka/transport.py``.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import faust
from yarl import URL

from schemas.errors import ClasspulseError, Stopping
from schemas.events.pseudonym import Pseudonymizer, fingerprint
from sinks.clickhouse.client import Warehouse
from sinks.stores.checkpoints import CheckpointStore
from sinks.stores.dead_letters import DeadLetterStore
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from sinks.stores.pseudonym_keys import PseudonymKeys, compare
from streams.kafka import probe as log_probe
from streams.kafka import topics
from streams.kafka.dead_letter_topic import KafkaDeadLetterTopic
from streams.kafka.faust_credentials import credentials
from streams.kafka.fetch.guard import guard
from streams.kafka.topic_watch import TopicWatch
from streams.kafka.topics import declared, never_create_by_asking
from streams.kafka.transport import (
    EVENT_TOPICS,
    BatchScheduler,
    BatchSchema,
    CheckpointConsumer,
    CheckpointTransport,
)
from streams.kafka.watch import LOOK_SECONDS, KafkaWatch, Membership
from streams.output.dependency import Dependency
from streams.pipeline.intake import Decoder
from streams.pipeline.partition import Place
from streams.pipeline.pipeline import Pipeline, Rules, Sinks
from streams.pipeline.telemetry import Telemetry
from streams.settings import Settings
from streams.web.server import Health, WebServer
from streams.worker.flow import Flow
from streams.worker.resume import Resumer
from streams.worker.watch import Watch

T = TypeVar("T")
log = logging.getLogger("classpulse.worker")

TICK_SECONDS: Final = 0.05
WATCH_SECONDS: Final = 1.0
#: A broker that does not answer for so long is asked again, on a new connection.
REQUEST_SECONDS: Final = 30.0
#: A topic that was deleted and made again is noticed so soon.
METADATA_MS: Final = 10_000
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
EXIT_FAILED: Final = 1
#: Nothing is left to write after a failure; Faust gets this long to leave the consumer group.
FAILED_EXIT_SECONDS: Final = 5.0
LEAVE_SECONDS: Final = 5.0
NOT_IN_GROUP_SECONDS: Final = 1.5


def now_us() -> int:
    """Return the clock in microseconds since the epoch."""
    return time.time_ns() // 1000


def _adopted() -> None:
    log.warning(
        "this database has events and no pseudonym key on record, as it is older than that record; the key of this worker "
        "counts from now on"
    )


def _tune_interpreter() -> None:
    # Decoding leaves and takes the interpreter lock some hundred times a batch; with Python's 5 ms it would wait most of
    # the time for the thread that unpacks records.
    sys.setswitchinterval(0.000_5)
    # Records are freed by counting references. Python's own threshold of 700 objects would walk a fetch's records again
    # and again, and find nothing: that cost a sixth of the throughput.
    gc.freeze()
    gc.set_threshold(500_000, 20, 100)


class _PlainWorker(faust.Worker):
    """Faust's process runner, without its own logging set-up, prints and spinner."""

    def _setup_logging(self) -> None:
        self.spinner = None

    def hear(self, loop: asyncio.AbstractEventLoop) -> None:
        """Follow signals from now on, also those that come before Mode listens to them."""
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_sigterm)


class Worker:
    """One worker process: its pipeline, its Faust app, its web pages."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        guard()  # before any consumer exists
        never_create_by_asking()
        self._settings = settings
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._written_last = 0
        self._clickhouse = Dependency(log, "ClickHouse answers")
        self.telemetry = Telemetry()
        self._warehouse = Warehouse(settings.clickhouse, stop=self._stop, on_retry=self._note_retry)
        access = settings.kafka_access
        self._kafka = KafkaWatch(access)
        kafka_options = access.client_options()
        self._dead_letter_topic = KafkaDeadLetterTopic(
            kafka_options, loop, lambda _error: self.telemetry.letter_retries.inc()
        )
        self._topic_watch = TopicWatch(kafka_options, declared(), self.telemetry)
        # One batch is decoded while another is folded and a third inserted; each has one thread, so none needs a lock.
        self._decoding = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
        self._database = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        self._inserting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="insert")
        self.pipeline = self._new_pipeline()
        decode, store = partial(self._run, self._decoding), partial(self._run, self._database)
        probe = partial(log_probe.fingerprints, kafka_options)
        self._keys = PseudonymKeys(
            self._warehouse, fingerprint(settings.pseudonym_key_bytes()), settings.worker_name, _adopted
        )
        self.resumer = Resumer(self.pipeline, self._consumer, self._store_with_key, probe, self._fail)
        self.flow = Flow(
            self.pipeline,
            self.resumer,
            self.telemetry,
            self._consumer,
            decode,
            store,
            flush_max_rows=settings.flush_max_rows,
            flush_interval_ms=settings.flush_interval_ms,
        )
        self.watch = Watch(self.pipeline, self.flow, self.resumer, self.telemetry, self._consumer, self._waits)
        self._membership = Membership(
            self._kafka,
            settings.group,
            settings.session_timeout_seconds,
            lambda: self.resumer.is_busy or self.watch.is_reading,
        )
        self.web = WebServer(settings.web_host, settings.web_port, self.telemetry.registry, self._alive, self._ready)
        self.app = self._new_app(loop)

    def run(self, loop: asyncio.AbstractEventLoop) -> int:
        """Work until told to stop; return the exit status.

        Raises :class:`MustStop` if Kafka refuses this worker at its start, or its web pages' port is taken.
        """
        _tune_interpreter()
        self.web.start()
        log.info("metrics and health on http://%s:%s", self._settings.web_host, self.web.port)
        try:
            return self._run_faust(loop) if self._is_let_in(loop) else 0
        finally:
            self._stop.set()
            for executor in (self._decoding, self._database, self._inserting):
                executor.shutdown(wait=False, cancel_futures=True)
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
        """Wait for Kafka; raises :class:`MustStop` if it refuses this worker, or the pseudonym key is another one."""
        key = fingerprint(self._settings.pseudonym_key_bytes())
        names = [topic.name for topic in topics.declared()]
        await asyncio.gather(
            # A database that does not answer now is asked again before the first checkpoint is read.
            loop.run_in_executor(self._database, compare, self._settings.clickhouse, key),
            self._kafka.until_it_lets_in(self._settings.group, names),
        )

    def _run_faust(self, loop: asyncio.AbstractEventLoop) -> int:
        runner = _PlainWorker(self.app, loop=loop, quiet=True)
        runner.hear(loop)
        # Faust begins its own tasks only once partitions are assigned.
        for seconds, step in ((LOOK_SECONDS, self._kafka.step), (WATCH_SECONDS, self._membership.step)):
            loop.create_task(self._repeat(seconds, step)()).add_done_callback(self._note_end)
        try:
            runner.execute_from_commandline()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else EXIT_FAILED
        if self._failure is not None:
            return EXIT_FAILED
        if status:
            log.critical("the worker failed: %r", runner.crash_reason, exc_info=runner.crash_reason)
        else:
            self._say_stopped()
        return status

    def _new_pipeline(self) -> Pipeline:
        settings, warehouse = self._settings, self._warehouse
        sinks = Sinks(
            EventStore(warehouse),
            MetricStore(warehouse),
            CheckpointStore(warehouse, settings.worker_name),
            DeadLetterStore(warehouse),
            self._dead_letter_topic,
        )
        rules = Rules(
            out_of_orderness_us=settings.out_of_orderness_seconds * 1_000_000,
            idle_us=settings.idle_seconds * 1_000_000,
            figures=settings.metric_rules,
            cache_max_rows=settings.cache_max_rows,
            breaker_share=settings.breaker_share,
        )
        decoder = Decoder(
            settings.clock_limits,
            settings.out_of_orderness_seconds * 1_000_000,
            settings.max_value_bytes,
            Pseudonymizer(settings.pseudonym_key_bytes()),
        )
        return Pipeline(sinks, rules, decoder, self.telemetry, now_us, self._inserting)

    def _new_app(self, loop: asyncio.AbstractEventLoop) -> faust.App:
        settings = self._settings
        brokers = [URL(f"kafka://{server.strip()}") for server in settings.kafka.split(",")]
        app = faust.App(
            settings.group,
            broker=brokers,
            broker_credentials=credentials(settings.kafka_access),
            loop=loop,
            # Acknowledgements are off; the checkpoint in ClickHouse says how far we are.
            ConsumerScheduler=BatchScheduler,
            stream_wait_empty=False,
            stream_buffer_maxsize=2,
            topic_disable_leader=True,
            topic_allow_declare=False,
            web_enabled=False,
            store="memory://",
            # Faust wants a folder even if it keeps nothing.
            datadir=Path(tempfile.gettempdir(), "classpulse-faust"),
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=settings.fetch_max_bytes,
            consumer_metadata_max_age_ms=METADATA_MS,
            broker_request_timeout=max(REQUEST_SECONDS, settings.session_timeout_seconds),
            broker_max_poll_interval=settings.max_poll_interval_seconds,
            broker_session_timeout=settings.session_timeout_seconds,
            broker_rebalance_timeout=settings.session_timeout_seconds,
            broker_heartbeat_interval=settings.session_timeout_seconds / 3,
        )
        # Nothing is produced through Faust, and its producer fails at the start when no broker answers.
        app.boot_strategy.enable_kafka_producer = False
        app.transport = CheckpointTransport(brokers, app, resume=self._resume, leave_group=settings.leave_group)
        topic = app.topic(*sorted(EVENT_TOPICS), schema=BatchSchema(), acks=False)
        app.agent(topic, name="pipeline")(self._consume)
        app.task(self._repeat(TICK_SECONDS, self.flow.tick))
        app.task(self._repeat(WATCH_SECONDS, self.watch.step))
        app.task(self._repeat(WATCH_SECONDS, self._topic_watch.step))
        app.on_before_shutdown.connect(self._finish, weak=False)
        return app

    def _repeat(self, seconds: float, step: Callable[[], Awaitable[None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def repeat() -> None:
            while not self.app.should_stop:
                await asyncio.sleep(seconds)
                await step()

        return repeat

    async def _consume(self, stream: Any) -> None:
        async for batch in stream:
            await self.flow.apply(batch)

    async def _resume(self, places: frozenset[Place]) -> Mapping[Place, int]:
        """Take over the assigned partitions."""
        self.watch.forget_gauges()
        offsets = await self.resumer.resume(places)
        if not self.watch.joined:
            self.telemetry.started_timestamp.set_to_current_time()
        self.watch.joined = True
        return offsets

    async def _store_with_key(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a step in the database's thread, the first one only once the pseudonym key is that of the database."""
        await self._run(self._database, self._keys.confirm)
        return await self._run(self._database, function, *arguments)

    async def _run(self, executor: Executor, function: Callable[..., T], *arguments: Any) -> T:
        """Run a step of the pipeline in a thread; a failure ends the process, and nothing is skipped."""
        if self._failure is not None:
            await asyncio.Event().wait()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
        except Stopping:
            await asyncio.Event().wait()
        except Exception as error:
            self._fail(error)
            await asyncio.Event().wait()
        if executor is self._database:
            self._clickhouse.back()
        return answer

    def _fail(self, error: Exception) -> None:
        """End the process with a status above 0; what was not written will be read again."""
        self._failure = error
        log.critical("the pipeline failed: %s", error, exc_info=not isinstance(error, ClasspulseError))
        self._exit_after(FAILED_EXIT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    def _exit_after(self, seconds: float) -> None:
        deadline = threading.Timer(seconds, self._exit_now)
        deadline.daemon = True
        deadline.start()

    async def _finish(self, *_arguments: Any, **_options: Any) -> None:
        """Write what is held within the budget for an orderly stop; what is not written will be read again."""
        budget_seconds = self._settings.shutdown_seconds
        self._exit_after(budget_seconds)
        if self.app.crashed and self._failure is None:
            self._failure = self.app.crash_reason
            log.critical("the worker failed: %r", self._failure)
        is_away = self._clickhouse.problem or self._dead_letter_topic.state.problem
        if self._failure is None and self.watch.joined and not is_away:
            held = self.pipeline.pending_records
            with suppress(TimeoutError):
                await asyncio.wait_for(self.flow.write_everything(), budget_seconds / 2)
            self._written_last = held - self.pipeline.pending_records
        self._stop.set()
        # What is left is to leave the group, which a broker that is away, or a join under way, can hold up.
        self._exit_after(LEAVE_SECONDS if self.watch.is_reading else NOT_IN_GROUP_SECONDS)
        self.resumer.stop()
        await self._dead_letter_topic.close()
        await self._topic_watch.close()
        await self._kafka.close()

    def _exit_now(self) -> None:
        if self._failure is not None:
            os._exit(EXIT_FAILED)
        if self._stop.is_set():
            self._say_stopped()
        else:
            log.warning("the orderly stop took too long and is given up; what was not written will be read again")
        os._exit(0)

    def _say_stopped(self) -> None:
        log.info(
            "stopped in order: %s records written at the end, %s will be read again",
            self._written_last,
            self.pipeline.pending_records,
        )

    def _consumer(self) -> CheckpointConsumer:
        consumer = self.app.consumer
        if not isinstance(consumer, CheckpointConsumer):
            raise TypeError("the app has another consumer")
        return consumer

    def _note_retry(self, what: str, error: Exception) -> None:
        self.telemetry.retries.inc()
        self._clickhouse.away(f"waiting for ClickHouse to {what}", error)

    def _waits(self) -> list[str]:
        """Return what the worker waits for, knowingly."""
        waits = (self._kafka.state, self._clickhouse, self._dead_letter_topic.state, self.resumer.kafka)
        return [dependency.problem for dependency in waits if dependency.problem is not None]

    def _alive(self) -> Health:
        if self._failure is not None:
            return Health((f"the pipeline failed: {self._failure}",))
        return self.watch.alive()

    def _ready(self) -> Health:
        waiting = self._membership.problem
        problems = (*self._topic_watch.problems, *self.watch.ready().problems)
        return Health((*problems, waiting) if waiting is not None else problems)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)
