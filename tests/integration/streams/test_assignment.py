"""Assignments while ClickHouse or Kafka is away, and while assignments follow one another."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import pytest
from aiokafka.errors import KafkaConnectionError

from sinks.clickhouse.client import Warehouse
from streams.pipeline import assignment as assignment_module
from streams.pipeline.assignment import Assignment
from streams.pipeline.batch import TopicPartition
from streams.pipeline.states import AssignmentState
from streams.pipeline.threads import Failure, OneThread
from tests.integration.streams.test_pipeline import TOPIC, new_path

FIRST, SECOND = frozenset({(TOPIC, 0)}), frozenset({(TOPIC, 0), (TOPIC, 1)})


@dataclass
class Consumer:
    """A consumer whose broker may be away, and the seeks it was told."""

    away: int = 0
    seeks: list[Mapping[TopicPartition, int]] = field(default_factory=list)

    async def logs(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Return logs of ten records, unless away."""
        if self.away:
            self.away -= 1
            raise KafkaConnectionError("away")
        return dict.fromkeys(partitions, (0, 10))

    async def seek_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remember."""
        self.seeks.append(offsets)

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Nothing here commits."""
        raise NotImplementedError

    def pause_partition(self, partition: TopicPartition) -> None:
        """Nothing here pauses."""
        raise NotImplementedError

    def resume_partition(self, partition: TopicPartition) -> None:
        """Nothing here pauses."""
        raise NotImplementedError


class Database:
    """ClickHouse, which does not answer until opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.calls = 0

    def confirm(self) -> None:
        """Return once ClickHouse answers."""
        self.calls += 1
        assert self.open.wait(10)


async def no_fingerprints(_offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Nothing was applied yet."""
    return {}


def unexpected(error: BaseException) -> None:
    """No test here ends the process."""
    raise error


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not let a rebalance wait long."""
    monkeypatch.setattr(assignment_module, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(assignment_module, "RETRY_SECONDS", 0.01)


def play(scenario: Callable[[Assignment, Consumer, Database], Awaitable[None]], warehouse: Warehouse) -> None:
    """Run a scenario on the path of a new worker."""

    async def run() -> None:
        consumer, database, path, failure = Consumer(), Database(), new_path(warehouse), Failure(unexpected)
        writing = OneThread("write", failure)
        assignment = Assignment(
            path.partitions,
            path.writer,
            writing,
            lambda: consumer,
            no_fingerprints,
            failure,
            database.confirm,
        )
        await scenario(assignment, consumer, database)
        writing.shutdown()

    asyncio.run(run())


def test_a_rebalance_does_not_wait_for_clickhouse_for_ever(warehouse: Warehouse) -> None:
    """While ClickHouse is away the rebalance is let go; the partitions are assigned when it is back."""

    async def scenario(assignment: Assignment, consumer: Consumer, database: Database) -> None:
        assert await assignment.assign(FIRST) == {}
        assert assignment.state is AssignmentState.ASSIGNING
        assert not consumer.seeks
        database.open.set()
        await asyncio.wait_for(assignment.complete.wait(), 10)
        assert consumer.seeks == [{(TOPIC, 0): 0}]

    play(scenario, warehouse)


def test_the_latest_assignment_counts(warehouse: Warehouse) -> None:
    """Assignments that follow one another while ClickHouse is away end with the last, and with no queue of old ones."""

    async def scenario(assignment: Assignment, consumer: Consumer, database: Database) -> None:
        for partitions in (FIRST, SECOND, FIRST, SECOND):
            await assignment.assign(partitions)
        assert database.calls == 1
        database.open.set()
        await asyncio.wait_for(assignment.complete.wait(), 10)
        assert set(assignment._partitions) == SECOND
        assert consumer.seeks == [dict.fromkeys(SECOND, 0)]

    play(scenario, warehouse)


def about_kafka(message: str) -> bool:
    """Tell whether a message is about Kafka alone; a slow machine logs besides that it waits for both."""
    return "Kafka" in message and not message.startswith("waiting for ClickHouse and Kafka")


def test_kafka_away_during_a_rebalance_is_asked_again(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """A broker that does not describe the logs is asked until it does, and people can read what is waited for, once."""
    caplog.set_level("INFO")

    async def scenario(assignment: Assignment, consumer: Consumer, database: Database) -> None:
        database.open.set()
        consumer.away = 3
        await assignment.assign(FIRST)
        await asyncio.wait_for(assignment.complete.wait(), 10)
        assert consumer.seeks == [{(TOPIC, 0): 0}]
        assert assignment.kafka.problem is None

    play(scenario, warehouse)
    assert [message.split(",")[0] for message in caplog.messages if about_kafka(message)] == [
        "waiting for Kafka to describe the partitions: KafkaConnectionError: away",
        "Kafka describes the partitions",
    ]
