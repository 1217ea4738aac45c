"""Publishing, against a real broker: the partitions of the default partitioner, and the order of the records."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner

from deploy.local.simulator import Ledger, SimulationConfig, publish, simulate
from deploy.local.stack.broker import answers_metadata, command, environment
from schemas.errors import MustStop
from schemas.events.event_types import FAMILIES
from tests.unit.simulator.conftest import DAY, TROUBLE

PARTITIONS = 3
CONFIG = SimulationConfig(events=6_000, date=DAY, disturbance=TROUBLE)


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    """A broker in memory with the four topics."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(command(port), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not answers_metadata(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("the embedded broker did not start")
        asyncio.run(_create_topics(f"127.0.0.1:{port}"))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def _create_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(family.topic, PARTITIONS, 1) for family in FAMILIES])
    await admin.close()


async def _read_all(bootstrap: str, count: int) -> dict[tuple[str, int], list[tuple[object, ...]]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(family.topic, index) for family in FAMILIES for index in range(PARTITIONS)])
    found: dict[tuple[str, int], list[tuple[object, ...]]] = defaultdict(list)
    try:
        async with asyncio.timeout(30):
            while sum(map(len, found.values())) < count:
                for place, records in (await consumer.getmany(timeout_ms=500)).items():
                    found[place.topic, place.partition] += [
                        (record.key, record.value, record.timestamp, tuple(record.headers)) for record in records
                    ]
    finally:
        await consumer.stop()
    return found


def test_kafka_holds_every_record_in_its_partition_and_order(bootstrap: str) -> None:
    """Key, value, headers, timestamp, partition and order are those of the iteration; the account is complete."""
    sent: list[int] = []
    account = asyncio.run(publish(bootstrap, simulate(CONFIG), on_progress=sent.append))
    expected: dict[tuple[str, int], list[tuple[object, ...]]] = defaultdict(list)
    ledger = Ledger()
    partitions = list(range(PARTITIONS))
    for record in simulate(CONFIG):
        partition = 0 if record.key is None else DefaultPartitioner()(record.key, partitions, partitions)
        expected[record.topic, partition].append((record.key, record.value, record.timestamp_ms, tuple(record.headers)))
        ledger.add(record)
    assert asyncio.run(_read_all(bootstrap, CONFIG.events or 0)) == expected
    assert account.to_json() == ledger.to_json()
    assert sent[-1] == CONFIG.events


def test_the_rate_is_kept(bootstrap: str) -> None:
    """300 records at 600 a second take half a second or more."""
    began = time.monotonic()
    asyncio.run(publish(bootstrap, simulate(replace(CONFIG, events=300)), rate=600))
    assert time.monotonic() - began >= 0.48


def test_a_missing_topic_is_named_at_once(bootstrap: str) -> None:
    """The error names the topic and the command that creates it."""
    records = (record._replace(topic="classpulse.absent") for record in simulate(replace(CONFIG, events=1)))
    with pytest.raises(MustStop, match=r"classpulse\.absent.*topics create"):
        asyncio.run(publish(bootstrap, records))
