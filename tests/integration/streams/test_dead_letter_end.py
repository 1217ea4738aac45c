"""Reading the dead-letter topic comes to an end: whatever stands at a log's end, and whatever the broker does."""

import asyncio
import itertools
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from deploy.local.stack import stack
from schemas.errors import MustStop
from sinks.stores.dead_letters import DeadLetter
from streams.dlq import log as dead_letter_log
from streams.dlq.log import DeadLetterLog, open_log
from streams.dlq.records import RecordPosition, Selection
from streams.kafka import topics
from streams.kafka.access import KafkaAccess
from streams.kafka.consumer import started_consumer
from streams.settings import Settings

#: Much longer than any of these takes, and much shorter than for ever.
BOUND_SECONDS: Final = 20.0
LETTER: Final = DeadLetter("classpulse.prep", 1, 5, 5, 1_794_787_200_000, "json", "", "", b"k", b"{", [])
_numbers = itertools.count()


@pytest.fixture(scope="module", params=["embedded", "apache"])
def bootstrap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a broker."""
    if request.param == "apache":
        yield request.getfixturevalue("apache").bootstrap
        return
    folder = Path(tmp_path_factory.mktemp("broker"))
    yield f"127.0.0.1:{stack.start_broker(folder).port}"
    stack.down(folder)


@pytest.fixture
def topic(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let an empty topic with three partitions be that of the dead letters."""
    name = f"letters-{next(_numbers)}"
    asyncio.run(topics.create(bootstrap, [topics.Topic(name, 3, {})]))
    monkeypatch.setattr(dead_letter_log, "DEAD_LETTER_TOPIC", name)
    return name


async def publish(bootstrap: str, topic: str) -> None:
    """Publish one dead letter to one of the partitions."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    await producer.send_and_wait(topic, LETTER.kafka_value, LETTER.kafka_key, 1, headers=LETTER.kafka_headers())
    await producer.stop()


def read(bootstrap: str, selection: Selection = Selection()) -> int:  # noqa: B008 - it is frozen
    """Return the number of dead letters that are read within the bound."""

    async def count() -> int:
        async with open_log(Settings(kafka=bootstrap)) as log:
            return len([letter async for letter in log.letters(selection)])

    return asyncio.run(asyncio.wait_for(count(), BOUND_SECONDS))


def test_an_empty_topic_is_read_to_its_end(bootstrap: str, topic: str) -> None:
    """Nothing is read, at once, whatever is selected."""
    assert read(bootstrap) == 0
    assert read(bootstrap, Selection(since_ms=1)) == 0
    assert read(bootstrap, Selection(positions=frozenset({RecordPosition(topic, 0, 7)}))) == 0


def test_partitions_without_records_are_left_out(bootstrap: str, topic: str) -> None:
    """One partition has a dead letter, two have nothing."""
    asyncio.run(publish(bootstrap, topic))
    assert read(bootstrap) == 1


def test_a_missing_topic_is_named(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that is not there ends the reading with how to make it."""
    monkeypatch.setattr(dead_letter_log, "DEAD_LETTER_TOPIC", "no-such-letters")
    with pytest.raises(MustStop, match=r"no topic no-such-letters.*classpulse topics create"):
        read(bootstrap)


def test_an_end_without_a_record_is_reached(bootstrap: str, topic: str) -> None:
    """Offsets at the log's end that hold no record, as compaction leaves them, are not waited for."""

    async def count() -> int:
        await publish(bootstrap, topic)
        partition = TopicPartition(topic, 1)
        async with started_consumer(bootstrap_servers=bootstrap) as consumer:
            log = DeadLetterLog(consumer, {partition: 0}, {partition: 9})
            return len([letter async for letter in log.letters(Selection())])

    assert asyncio.run(asyncio.wait_for(count(), BOUND_SECONDS)) == 1


@pytest.mark.parametrize("bootstrap", ["apache"], indirect=True)
@pytest.mark.parametrize("commits", [True, False])
def test_a_transactions_marker_at_the_end_is_passed(bootstrap: str, topic: str, *, commits: bool) -> None:
    """The log ends in a marker, of a commit or of an abort, which no consumer is given."""

    async def transact() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic)
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(topic, LETTER.kafka_value, LETTER.kafka_key, 1, headers=LETTER.kafka_headers())
        await (producer.commit_transaction() if commits else producer.abort_transaction())
        await producer.stop()

    asyncio.run(transact())
    assert read(bootstrap) == commits


def test_a_consumer_that_was_just_assigned_stops(bootstrap: str, topic: str) -> None:
    """The stop of aiokafka itself never returns here."""

    async def assign_and_stop() -> None:
        partitions = [TopicPartition(topic, number) for number in range(3)]
        async with started_consumer(bootstrap_servers=bootstrap) as consumer:
            consumer.assign(partitions)
            await consumer.beginning_offsets(partitions)
            consumer.assign([])

    asyncio.run(asyncio.wait_for(assign_and_stop(), BOUND_SECONDS))


def test_a_silent_broker_is_named() -> None:
    """A port that accepts connections and says nothing is not waited for without a bound."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(MustStop, match=f"No Kafka answers at {address}"):
            asyncio.run(KafkaAccess(address).require())
        assert time.monotonic() - began < BOUND_SECONDS
