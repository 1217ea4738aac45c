"""Taking partitions over while ClickHouse or Kafka is away, and while assignments follow one another."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from sinks.clickhouse.client import Warehouse
from streams.pipeline.partition import Place
from streams.worker import resume as resume_module
from streams.worker.resume import Resumer
from tests.unit.streams.test_pipeline import TOPIC, new_pipeline

FIRST, SECOND = frozenset({(TOPIC, 0)}), frozenset({(TOPIC, 0), (TOPIC, 1)})


@dataclass
class Consumer:
    """A consumer whose broker may be away, and the seeks it was told."""

    away: int = 0
    seeks: list[Mapping[Place, int]] = field(default_factory=list)

    async def logs(self, places: frozenset[Place]) -> dict[Place, tuple[int, int]]:
        """Return logs of ten records, unless away."""
        if self.away:
            self.away -= 1
            raise KafkaConnectionError("away")
        return dict.fromkeys(places, (0, 10))

    async def read_from(self, offsets: Mapping[Place, int]) -> None:
        """Remember."""
        self.seeks.append(offsets)


class Database:
    """ClickHouse's thread, which stands still until opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.calls = 0

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run once ClickHouse is back."""
        self.calls += 1
        await self.open.wait()
        return await asyncio.to_thread(function, *arguments)


async def no_fingerprints(_offsets: Mapping[Place, int]) -> dict[Place, int]:
    """Nothing was applied yet."""
    return {}


def unexpected(error: Exception) -> None:
    """No test here ends the process."""
    raise error


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not let a rebalance wait long."""
    monkeypatch.setattr(resume_module, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(resume_module, "RETRY_SECONDS", 0.01)


def play(story: Callable[[Resumer, Consumer, Database], Awaitable[None]], warehouse: Warehouse) -> None:
    """Run a story on a new pipeline."""

    async def run() -> None:
        consumer, database = Consumer(), Database()
        pipeline = new_pipeline(warehouse)
        await story(Resumer(pipeline, lambda: consumer, database.run, no_fingerprints, unexpected), consumer, database)

    asyncio.run(run())


def test_a_rebalance_does_not_wait_for_clickhouse_for_ever(warehouse: Warehouse) -> None:
    """While ClickHouse is away the rebalance is let go; the partitions are taken over when it is back."""

    async def story(resumer: Resumer, consumer: Consumer, database: Database) -> None:
        assert await resumer.resume(FIRST) == {}
        assert not resumer.done.is_set()
        assert not consumer.seeks
        database.open.set()
        await asyncio.wait_for(resumer.done.wait(), 10)
        assert consumer.seeks == [{(TOPIC, 0): 0}]

    play(story, warehouse)


def test_the_latest_assignment_counts(warehouse: Warehouse) -> None:
    """Assignments that follow one another while ClickHouse is away end with the last, and with no queue of old ones."""

    async def story(resumer: Resumer, consumer: Consumer, database: Database) -> None:
        for places in (FIRST, SECOND, FIRST, SECOND):
            await resumer.resume(places)
        assert database.calls == 1
        database.open.set()
        await asyncio.wait_for(resumer.done.wait(), 10)
        assert set(resumer._pipeline.partitions) == SECOND
        assert consumer.seeks == [dict.fromkeys(SECOND, 0)]

    play(story, warehouse)


def test_kafka_away_during_a_rebalance_is_asked_again(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """A broker that does not describe the logs is asked until it does, and people can read what is waited for, once."""
    caplog.set_level("INFO")

    async def story(resumer: Resumer, consumer: Consumer, database: Database) -> None:
        database.open.set()
        consumer.away = 3
        await resumer.resume(FIRST)
        await asyncio.wait_for(resumer.done.wait(), 10)
        assert consumer.seeks == [{(TOPIC, 0): 0}]
        assert resumer.kafka.problem is None

    play(story, warehouse)
    assert [message.split(",")[0] for message in caplog.messages if "Kafka" in message] == [
        "waiting for Kafka to describe the partitions: KafkaConnectionError: away",
        "Kafka describes the partitions",
    ]
