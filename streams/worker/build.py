"""The parts of a worker, made from its settings and put together; nothing runs yet."""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from schemas.events.pseudonym import Pseudonymizer, fingerprint
from sinks.clickhouse.client import Warehouse
from sinks.stores.checkpoints import CheckpointStore
from sinks.stores.dead_letters import DeadLetterStore
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from sinks.stores.pseudonym_keys import PseudonymKeys
from streams.kafka import probe
from streams.kafka.dead_letter_topic import KafkaDeadLetterTopic
from streams.kafka.topic_watch import TopicWatch
from streams.kafka.topics import declared
from streams.kafka.transport import CheckpointConsumer
from streams.kafka.watch import KafkaWatch, Membership
from streams.output.dependency import Dependency
from streams.pipeline.assignment import Assignment
from streams.pipeline.clock import SYSTEM_CLOCK, Clock
from streams.pipeline.decoder import Decoder
from streams.pipeline.partitions import Partitions
from streams.pipeline.pipeline import Pipeline
from streams.pipeline.rules import Rules
from streams.pipeline.telemetry import Telemetry
from streams.pipeline.threads import Failure, OneThread
from streams.pipeline.writer import Sinks, Writer
from streams.settings import Settings
from streams.worker.watch import Watch

log = logging.getLogger("classpulse.worker")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker consists of besides Faust's app and its web pages."""

    telemetry: Telemetry
    failure: Failure
    #: Set when calls to ClickHouse are to give up.
    stopping: threading.Event
    threads: tuple[OneThread, ...]
    writing: OneThread
    clickhouse: Dependency
    kafka: KafkaWatch
    membership: Membership
    dead_letter_topic: KafkaDeadLetterTopic
    topic_watch: TopicWatch
    partitions: Partitions
    assignment: Assignment
    pipeline: Pipeline
    watch: Watch


def build(
    settings: Settings,
    loop: asyncio.AbstractEventLoop,
    consumer: Callable[[], CheckpointConsumer],
    on_failure: Callable[[BaseException], None],
    clock: Clock = SYSTEM_CLOCK,
) -> Parts:
    """Make the parts; ``consumer()`` is asked once Faust has one, ``on_failure`` ends the process."""
    telemetry, failure, stopping = Telemetry(), Failure(on_failure), threading.Event()
    access, rules = settings.kafka_access, _rules(settings)
    client_options = access.client_options()
    clickhouse = Dependency(log, "ClickHouse answers")

    def note_retry(what: str, error: Exception) -> None:
        telemetry.retries.inc()
        clickhouse.away(f"waiting for ClickHouse to {what}", error)

    warehouse = Warehouse(settings.clickhouse, stop=stopping, on_retry=note_retry)
    kafka = KafkaWatch(access)
    dead_letter_topic = KafkaDeadLetterTopic(client_options, loop, lambda _error: telemetry.dead_letter_retries.inc())
    # One batch is decoded while another is folded and a third inserted; each has one thread, so none needs a lock.
    decoding, inserting = OneThread("decode", failure), OneThread("insert", failure)
    writing = OneThread("write", failure, on_return=clickhouse.back)
    partitions = Partitions(rules, telemetry, clock)
    writer = Writer(_sinks(settings, warehouse, dead_letter_topic), rules, telemetry, inserting.executor)
    key = fingerprint(settings.pseudonym_key_bytes())
    keys = PseudonymKeys(warehouse, key, settings.worker_name, _warn_of_adopted_key)
    fingerprints = partial(probe.fingerprints, client_options)
    assignment = Assignment(partitions, writer, writing, consumer, fingerprints, failure, keys.confirm)
    pipeline = Pipeline(
        partitions, assignment, _decoder(settings, telemetry), writer, rules, telemetry, clock, consumer, decoding, writing
    )

    def waits() -> list[str]:
        states = (kafka.state, clickhouse, dead_letter_topic.state, assignment.kafka)
        return [state.problem for state in states if state.problem is not None]

    watch = Watch(partitions, pipeline, assignment, telemetry, clock, consumer, waits)
    membership = Membership(
        kafka,
        settings.group,
        settings.session_timeout_seconds,
        lambda: assignment.is_under_way or watch.is_reading,
    )
    return Parts(
        telemetry=telemetry,
        failure=failure,
        stopping=stopping,
        threads=(decoding, writing, inserting),
        writing=writing,
        clickhouse=clickhouse,
        kafka=kafka,
        membership=membership,
        dead_letter_topic=dead_letter_topic,
        topic_watch=TopicWatch(client_options, declared(), telemetry),
        partitions=partitions,
        assignment=assignment,
        pipeline=pipeline,
        watch=watch,
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        out_of_orderness_us=settings.out_of_orderness_seconds * 1_000_000,
        idle_us=settings.idle_seconds * 1_000_000,
        cache_max_rows=settings.cache_max_rows,
        metrics=settings.metric_rules,
        breaker_share=settings.breaker_share,
        flush_max_rows=settings.flush_max_rows,
        flush_interval_seconds=settings.flush_interval_ms / 1000,
    )


def _sinks(settings: Settings, warehouse: Warehouse, dead_letter_topic: KafkaDeadLetterTopic) -> Sinks:
    return Sinks(
        EventStore(warehouse),
        MetricStore(warehouse),
        CheckpointStore(warehouse, settings.worker_name),
        DeadLetterStore(warehouse),
        dead_letter_topic,
    )


def _decoder(settings: Settings, telemetry: Telemetry) -> Decoder:
    pseudonymizer = Pseudonymizer(settings.pseudonym_key_bytes())
    telemetry.respelled_students.set_function(lambda: pseudonymizer.respelled)
    return Decoder(
        settings.clock_limits,
        settings.out_of_orderness_seconds * 1_000_000,
        settings.max_value_bytes,
        pseudonymizer,
    )


def _warn_of_adopted_key() -> None:
    log.warning(
        "this database has events and no pseudonym key on record, as it is older than that record; the key of this worker "
        "counts from now on"
    )
