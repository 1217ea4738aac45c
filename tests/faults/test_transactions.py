"""Producers with transactions, on Apache Kafka: their logs hold markers, aborted records, and records that must wait."""

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaProducer

from schemas.metrics.rules import MetricRules
from sinks.verify.verify import verify
from tests.faults.fault_rig import CLASSROOM, FaultRig, event
from tests.lab.rig import WorkerProcess, wait_until


def produce(rig: FaultRig, scenario: Callable[[AIOKafkaProducer], Awaitable[None]]) -> None:
    """Play a scenario with a producer that has transactions."""

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=rig.info.kafka_bootstrap, transactional_id="vendor")
        await producer.start()
        try:
            await scenario(producer)
        finally:
            await producer.stop()

    asyncio.run(run())


async def send(producer: AIOKafkaProducer, number: int) -> None:
    """Send an event of one lesson."""
    sent = event(number)
    await producer.send_and_wait(CLASSROOM, sent.value, key=sent.key)


def next_offset(rig: FaultRig) -> int:
    """Return how far the lesson's partition is checkpointed."""
    sql = f"SELECT max(next_offset) FROM checkpoints FINAL WHERE topic = '{CLASSROOM}'"
    return int(rig.client.query(sql).result_rows[0][0])


def assert_well(rig: FaultRig, worker: WorkerProcess) -> None:
    """Nothing is behind, nothing is missing, and nobody is to be called."""
    wait_until(lambda: worker.telemetry().total("classpulse_lag_records") == 0, "the lag to end")
    assert (
        worker.telemetry().total("classpulse_offset_gap_records_total")
        == worker.telemetry().total("classpulse_new_epochs_total")
        == 0
    )
    assert worker.status("healthz") == worker.status("readyz") == 200
    assert verify(rig.client, rules=MetricRules()).differences_total == 0


def test_offsets_without_a_record(rig: FaultRig) -> None:
    """Committed is stored, aborted is not, and the partition is done behind each marker, also for the next worker."""
    worker = rig.start_worker()

    async def committed(producer: AIOKafkaProducer) -> None:
        async with producer.transaction():
            await send(producer, 0)

    async def aborted(producer: AIOKafkaProducer) -> None:
        await producer.begin_transaction()
        await send(producer, 1)
        await producer.abort_transaction()

    produce(rig, committed)
    wait_until(lambda: next_offset(rig) == 2, "the marker to be passed")
    assert rig.counters() == (1, 1, 0, 0)
    assert_well(rig, worker)
    produce(rig, aborted)
    wait_until(lambda: next_offset(rig) == 4, "what was aborted to be passed")
    assert rig.counters() == (1, 1, 0, 0)
    worker.kill()
    worker = rig.start_worker()
    produce(rig, committed)
    wait_until(lambda: next_offset(rig) == 6, "the next worker to go on")
    assert rig.counters() == (2, 1, 1, 0)
    assert_well(rig, worker)


def test_an_open_transaction_is_waited_for(rig: FaultRig) -> None:
    """What comes after the first record of an open transaction waits for its end; it is no lag, and how long is shown."""
    worker = rig.start_worker()

    async def scenario(producer: AIOKafkaProducer) -> None:
        await producer.begin_transaction()
        await send(producer, 0)
        await asyncio.to_thread(rig.publish, [event(1)])
        await asyncio.to_thread(
            wait_until, lambda: worker.telemetry().total("classpulse_open_transaction_seconds") > 1, "the wait to be shown"
        )
        assert rig.counters()[0] == 0
        await asyncio.to_thread(assert_well, rig, worker)
        await producer.commit_transaction()

    produce(rig, scenario)
    wait_until(lambda: rig.counters() == (2, 2, 0, 0), "what has waited to be stored")
    wait_until(lambda: worker.telemetry().total("classpulse_open_transaction_seconds") == 0, "the wait to end")
    assert_well(rig, worker)
