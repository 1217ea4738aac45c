"""Is this still the log that was applied? Asked of Apache Kafka, also where an offset holds no record."""

import asyncio
import json
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.apache import ApacheCluster
from streams.kafka.topics import Topic, create

PROGRAM = """
import asyncio, json, sys
from streams.kafka import probe
from streams.kafka.fetch.guard import guard
if sys.argv[2] == "guarded":
    guard()
probe.ANSWER_SECONDS = 8.0
offsets = {("probed", number): number for number in range(4)}
found = asyncio.run(probe.fingerprints({"bootstrap_servers": sys.argv[1]}, offsets))
print(json.dumps(sorted(number for _topic, number in found)))
"""


async def _fill(bootstrap: str) -> None:
    await create(bootstrap, [Topic("probed", 4, {})])
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="probed")
    await producer.start()
    try:
        for partition in range(4):
            async with producer.transaction():
                await producer.send_and_wait("probed", b"committed", partition=partition)
            await producer.begin_transaction()
            await producer.send_and_wait("probed", b"aborted", partition=partition)
            await producer.abort_transaction()
    finally:
        await producer.stop()


@pytest.fixture(scope="module")
def filled(apache: ApacheCluster) -> str:
    """Return the address of a broker with four equal logs: a record, its marker, an aborted record, its marker."""
    asyncio.run(_fill(apache.bootstrap))
    return apache.bootstrap


@pytest.mark.parametrize("reader", ["guarded", "plain"])
def test_offsets_that_hold_no_record_have_no_fingerprint(filled: str, reader: str) -> None:
    """Partition n is asked for offset n: records have one, markers none, also at the end of a log, and nothing waits."""
    asked = subprocess.run(
        [sys.executable, "-c", PROGRAM, filled, reader], capture_output=True, text=True, check=False, timeout=120
    )
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == [0, 2]
