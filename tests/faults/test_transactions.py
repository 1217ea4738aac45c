"""Producers with transactions, on Apache Kafka: their logs hold markers, aborted records, and records that must wait."""

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaProducer

from schemas.metrics.rules import MetricRules
from sinks.verify.verify import verify
from tests.end_to_end.harness import WorkerProcess, wait_until
from tests.faults.broken_town import CLASSROOM, BrokenTown, event


def produce(town: BrokenTown, story: Callable[[AIOKafkaProducer], Awaitable[None]]) -> None:
    """Play a story with a producer that has transactions."""

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=town.info.kafka_bootstrap, transactional_id="vendor")
        await producer.start()
        try:
            await story(producer)
        finally:
            await producer.stop()

    asyncio.run(run())


async def send(producer: AIOKafkaProducer, number: int) -> None:
    """Send an event of one lesson."""
    sent = event(number)
    await producer.send_and_wait(CLASSROOM, sent.value, key=sent.key)


def next_offset(town: BrokenTown) -> int:
    """Return how far the lesson's partition is checkpointed."""
    sql = f"SELECT max(next_offset) FROM checkpoints FINAL WHERE topic = '{CLASSROOM}'"
    return int(town.client.query(sql).result_rows[0][0])


def assert_well(town: BrokenTown, worker: WorkerProcess) -> None:
    """Nothing is behind, nothing is missing, and nobody is to be called."""
    wait_until(lambda: worker.metric("classpulse_lag_records") == 0, "the lag to end")
    assert worker.metric("classpulse_offset_gap_records_total") == worker.metric("classpulse_new_epochs_total") == 0
    assert worker.status("healthz") == worker.status("readyz") == 200
    assert verify(town.client, rules=MetricRules()).differences_total == 0


def test_offsets_without_a_record(town: BrokenTown) -> None:
    """Committed is stored, aborted is not, and the partition is done behind each marker, also for the next worker."""
    worker = town.start_worker()

    async def committed(producer: AIOKafkaProducer) -> None:
        async with producer.transaction():
            await send(producer, 0)

    async def aborted(producer: AIOKafkaProducer) -> None:
        await producer.begin_transaction()
        await send(producer, 1)
        await producer.abort_transaction()

    produce(town, committed)
    wait_until(lambda: next_offset(town) == 2, "the marker to be passed")
    assert town.counters() == (1, 1, 0, 0)
    assert_well(town, worker)
    produce(town, aborted)
    wait_until(lambda: next_offset(town) == 4, "what was aborted to be passed")
    assert town.counters() == (1, 1, 0, 0)
    worker.kill()
    worker = town.start_worker()
    produce(town, committed)
    wait_until(lambda: next_offset(town) == 6, "the next worker to go on")
    assert town.counters() == (2, 1, 1, 0)
    assert_well(town, worker)


def test_an_open_transaction_is_waited_for(town: BrokenTown) -> None:
    """What comes after the first record of an open transaction waits for its end; it is no lag, and how long is shown."""
    worker = town.start_worker()

    async def story(producer: AIOKafkaProducer) -> None:
        await producer.begin_transaction()
        await send(producer, 0)
        await asyncio.to_thread(town.publish, [event(1)])
        await asyncio.to_thread(
            wait_until, lambda: worker.metric("classpulse_open_transaction_seconds") > 1, "the wait to be shown"
        )
        assert town.counters()[0] == 0
        await asyncio.to_thread(assert_well, town, worker)
        await producer.commit_transaction()

    produce(town, story)
    wait_until(lambda: town.counters() == (2, 2, 0, 0), "what has waited to be stored")
    wait_until(lambda: worker.metric("classpulse_open_transaction_seconds") == 0, "the wait to end")
    assert_well(town, worker)
