"""Hostile producers: no record kills a worker, and each is accounted for. Damage on the broker's disk is told."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import TopicPartition

from deploy.local.simulator import Produced, SimulationConfig, simulate
from tests.end_to_end.harness import AccountedRig
from tests.lab.chaos.hostile_batches import wire_batch

TOPIC: Final = "classpulse.classroom"


@pytest.fixture
def embedded_rig(migrated: Path, tmp_path: Path) -> Iterator[AccountedRig]:
    """Run an embedded stack, whose broker takes every batch as it is."""
    running = AccountedRig(tmp_path / "stack", migrated=migrated)
    yield running
    running.close()


def fuzz(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the command; return what it prints."""
    command = [sys.executable, "-m", "streams", "fuzz", "--json", "--folder", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_hostile_records_in_bounded_memory(tmp_path: Path) -> None:
    """Eight thousand records, two in five hostile: one worker lives, every record is at its place, every metric right."""
    found = fuzz(tmp_path / "fuzz", "--records", "8000", "--seed", "7", "--memory-mib", "1024")
    assert found["records"] >= 8_000
    assert found["records"] == found["stored"] + found["rejected"]
    assert found["rejected"] > 2_000
    assert (found["failures"], found["verify_differences"], found["turned_away_by_broker"]) == ([], 0, 0)


def test_hostile_records_through_apache_kafka(apache_installed: None, tmp_path: Path) -> None:
    """Apache Kafka turns away what is malformed; bombs that are well made pass it, and the worker rejects them."""
    found = fuzz(tmp_path / "fuzz", "--records", "3000", "--seed", "3", "--broker", "apache", "--memory-mib", "1024")
    assert found["turned_away_by_broker"] > 0
    assert (found["failures"], found["verify_differences"]) == ([], 0)


def test_every_codec_and_records_larger_than_a_fetch(embedded_rig: AccountedRig) -> None:
    """Producers may compress as they like; a record larger than the largest fetch is still read."""
    rig = embedded_rig
    events = list(simulate(SimulationConfig(seed=5, events=400)))
    rig.start_worker(CLASSPULSE_FETCH_MAX_BYTES="2000")
    for index, codec in enumerate(["gzip", "snappy", "lz4", "zstd"]):
        asyncio.run(_send(rig, codec, events[index * 100 : (index + 1) * 100]))
    rig.wait_for_checkpoints(404)
    assert rig.counters() == (404, 400, 0, 4)


def test_a_damaged_batch_ends_the_worker_and_says_where(embedded_rig: AccountedRig) -> None:
    """A batch whose checksum is wrong is never skipped: the worker ends, names the place, and what was before is stored."""
    rig = embedded_rig
    asyncio.run(_send(rig, "lz4", list(simulate(SimulationConfig(seed=5, events=100)))))
    worker = rig.start_worker()
    rig.wait_for_checkpoints(101)
    damaged = bytearray(wire_batch(0, b"damaged", 1))
    damaged[-1] ^= 1
    offset = asyncio.run(_send_as_it_is(rig, bytes(damaged)))
    for attempt in (worker, rig.start_worker()):
        assert attempt.wait(60) == 1
        assert f"{TOPIC}/0: the batch at offset {offset} is damaged" in attempt.log.read_text()
    assert rig.counters()[0] == 101


async def _send(rig: AccountedRig, codec: str, events: Sequence[Produced]) -> None:
    """Send events, and a large record that is none, compressed."""
    producer = AIOKafkaProducer(bootstrap_servers=rig.info.kafka_bootstrap, compression_type=codec)
    await producer.start()
    try:
        for event in events:
            await producer.send(
                event.topic, event.value, key=event.key, headers=event.headers, timestamp_ms=event.timestamp_ms
            )
        await producer.send_and_wait(TOPIC, b"x" * 300_000, key=b"k")
        await producer.flush()
    finally:
        await producer.stop()


async def _send_as_it_is(rig: AccountedRig, wire: bytes) -> int:
    """Send a batch to the first partition as it stands; return its offset."""
    producer = AIOKafkaProducer(bootstrap_servers=rig.info.kafka_bootstrap)
    await producer.start()
    try:
        await producer.partitions_for(TOPIC)
        leader = producer.client.cluster.leader_for_partition(TopicPartition(TOPIC, 0))
        request = ProduceRequest(transactional_id=None, required_acks=-1, timeout=10_000, topics=[(TOPIC, [(0, wire)])])
        response = await producer.client.send(leader, request)
        _partition, code, offset, *_rest = response.topics[0][1][0]
        assert code == 0
        return int(offset)
    finally:
        await producer.stop()
