"""Standing still is noticed: a silent partition is read on from, a worker outside its group asks to join."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sinks.clickhouse.client import Warehouse
from streams.kafka.transport import CheckpointConsumer, LogEnd
from streams.pipeline.assignment import Assignment
from streams.pipeline.batch import TopicPartition
from streams.pipeline.breaker import Breaker
from streams.pipeline.clock import SYSTEM_CLOCK
from streams.pipeline.partition import Log, Partition
from streams.pipeline.pipeline import Pipeline
from streams.pipeline.rules import Rules
from streams.pipeline.states import AssignmentState
from streams.pipeline.threads import Failure, OneThread
from streams.worker import watch as watch_module
from streams.worker.watch import Watch
from tests.integration.streams.test_pipeline import BASE_MS, RECORDS, TOPIC, Record, apply, event, new_path
from tests.oracle.path import Path

ONE = (TOPIC, 0)


@dataclass
class Reader:
    """A consumer that says where the log ends, and remembers what it was told."""

    end: int = 10
    written: int | None = None
    start: int = 0
    seen_ms: int = 0
    flow_active: bool = True
    resumed: list[TopicPartition] = field(default_factory=list)
    seeks: list[int] = field(default_factory=list)
    touched: int = 0

    def log_end(self, _partition: TopicPartition) -> LogEnd:
        """Where the log ends."""
        return LogEnd(self.end, self.end if self.written is None else self.written)

    async def logs(self, partitions: frozenset[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Where the logs begin and end."""
        return dict.fromkeys(partitions, (self.start, self.end))

    def log_end_seen_ms(self, _partition: TopicPartition) -> int:
        """When a fetch said so."""
        return self.seen_ms

    def resume_partition(self, partition: TopicPartition) -> None:
        """Fetch again."""
        self.resumed.append(partition)

    async def seek_offsets(self, offsets: dict[TopicPartition, int]) -> None:
        """Seek."""
        self.seeks += offsets.values()

    def touch(self) -> None:
        """Ask to join."""
        self.touched += 1


class Scene:
    """A watch over a pipeline with one partition, of whose log nothing has been read."""

    def __init__(self, path: Path) -> None:
        self.waits: list[str] = []
        self.reader = Reader()
        consumer = cast("Callable[[], CheckpointConsumer]", lambda: self.reader)
        path.partitions.assign({ONE: Log(0, 10)}, {})
        self.path = path
        self.telemetry = telemetry = path.telemetry
        failure = Failure(_raise)
        writing = OneThread("write", failure)
        self.assignment = Assignment(path.partitions, path.writer, writing, consumer, cast("Any", _never), failure)
        self.assignment.state = AssignmentState.ASSIGNED
        self.assignment.complete.set()
        self.pipeline = Pipeline(
            path.partitions,
            self.assignment,
            path._decoder,
            path.writer,
            Rules(60_000_000, 120_000_000, 100_000, flush_max_rows=10, flush_interval_seconds=0.01),
            telemetry,
            SYSTEM_CLOCK,
            consumer,
            OneThread("decode", failure),
            writing,
        )
        self.watch = Watch(
            path.partitions, self.pipeline, self.assignment, telemetry, SYSTEM_CLOCK, consumer, lambda: self.waits
        )
        self.watch.joined = True

    def sample(self, name: str) -> float | None:
        """Return a metric of the partition."""
        return self.telemetry.registry.get_sample_value(f"classpulse_{name}", {"topic": TOPIC, "partition": "0"})


async def _never(*_arguments: Any) -> Any:
    raise AssertionError("nothing is to be run here")


def _raise(error: BaseException) -> None:
    raise error


def play(warehouse: Warehouse, scenario: Callable[[Scene], Awaitable[None]]) -> None:
    """Run a scenario in a loop of its own."""

    async def run() -> None:
        await scenario(Scene(new_path(warehouse)))

    asyncio.run(run())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call a partition silent at once."""
    monkeypatch.setattr(watch_module, "SILENT_SECONDS", -1.0)
    monkeypatch.setattr(watch_module, "STUCK_SECONDS", -1.0)
    monkeypatch.setattr(watch_module, "OPEN_TRANSACTION_SECONDS", 0.0)


def test_a_silent_partition_is_read_on_from_once(warehouse: Warehouse) -> None:
    """With records waiting and no batch coming the consumer is sent to the offset; not again while nothing changes."""

    async def scenario(scene: Scene) -> None:
        for _ in range(3):
            await scene.watch.step()
        assert (scene.reader.resumed, scene.reader.seeks) == ([ONE], [0])

    play(warehouse, scenario)


@pytest.mark.parametrize("why", ["all read", "waiting", "assigning"])
def test_a_partition_that_is_silent_for_a_reason_is_left_alone(warehouse: Warehouse, why: str) -> None:
    """Nothing to read, ClickHouse away, or partitions still being assigned: nothing is done."""

    async def scenario(scene: Scene) -> None:
        scene.reader.end = 0 if why == "all read" else 10
        scene.waits = ["waiting for ClickHouse"] if why == "waiting" else []
        if why == "assigning":
            scene.assignment.complete.clear()
        await scene.watch.step()
        assert scene.reader.seeks == []

    play(warehouse, scenario)


def test_a_worker_outside_its_group_asks_to_join(warehouse: Warehouse) -> None:
    """Out of the group, aiokafka is told that records are wanted, unless ClickHouse is away; health says so."""

    async def scenario(scene: Scene) -> None:
        scene.reader.flow_active = False
        scene.waits = ["waiting for ClickHouse"]
        await scene.watch.step()
        assert scene.reader.touched == 0
        assert not scene.watch.alive().problems
        scene.waits = []
        await scene.watch.step()
        assert scene.reader.touched == 1
        scene.pipeline.last_poll_seconds = scene.pipeline.last_progress_seconds = time.monotonic() + 60
        assert "not in the consumer group" in scene.watch.alive().problems[0]
        assert "not in the consumer group yet" in scene.watch.ready().problems

    play(warehouse, scenario)


def test_a_log_that_retention_emptied_begins_a_new_epoch(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Kafka has dropped everything that was to be read, no batch will ever say so: the watch finds out."""

    async def scenario(scene: Scene) -> None:
        scene.reader.start = scene.reader.end = 10
        asked: list[str] = []

        async def another(partition: Partition) -> bool:
            asked.append(partition.topic_partition[0])
            return await scene.assignment.is_another_log(partition)

        monkeypatch.setattr(scene.pipeline, "is_another_log", another)
        await scene.watch.step()
        assert (asked, scene.reader.seeks) == ([TOPIC], [])

    play(warehouse, scenario)


def test_an_open_transaction_is_said_and_is_no_standstill(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """Records behind an open transaction are no lag and no reason to read on; people read once what they wait for."""

    async def scenario(scene: Scene) -> None:
        scene.reader.end, scene.reader.written = 0, 7
        for _ in range(3):
            await scene.watch.step()
        assert scene.reader.seeks == []
        assert (scene.sample("open_transaction_seconds") or 0) > 0
        assert scene.sample("lag_records") == 0
        scene.reader.end = scene.reader.written
        await scene.watch.step()
        assert scene.sample("open_transaction_seconds") == 0

    play(warehouse, scenario)
    assert caplog.text.count("wait for a transaction that is open since offset 0") == 1


def test_an_open_circuit_with_nothing_behind_it_holds_nothing(warehouse: Warehouse) -> None:
    """Readiness and the gauge name a circuit while records wait behind it, be it paused or on trial, and no longer."""

    async def scenario(scene: Scene) -> None:
        partition = scene.path.partitions[ONE]
        partition.breaker = Breaker(0.5)
        assert not partition.breaker.admits(2_000, 2_000, 0.0)
        for waiting, is_paused in [(True, True), (False, True), (True, True), (True, False), (False, False)]:
            if not is_paused:
                partition.breaker.pause_is_over(10.0**9)
            partition.next_offset = 0 if waiting else scene.reader.end
            await scene.watch.step()
            assert scene.sample("circuit_open") == waiting
            assert any("is paused" in problem for problem in scene.watch.ready().problems) == waiting
        assert not partition.breaker.is_closed

    play(warehouse, scenario)


def test_a_trial_that_never_comes_is_read_on_from(warehouse: Warehouse) -> None:
    """While a circuit is paused its records wait on purpose; once it is on trial they must come."""

    async def scenario(scene: Scene) -> None:
        breaker = scene.path.partitions[ONE].breaker = Breaker(0.5)
        assert not breaker.admits(2_000, 2_000, 0.0)
        await scene.watch.step()
        assert scene.reader.seeks == []
        assert breaker.pause_is_over(10.0**9)
        await scene.watch.step()
        assert scene.reader.seeks == [0]

    play(warehouse, scenario)


def test_records_with_old_timestamps_are_as_old_as_their_arrival(warehouse: Warehouse) -> None:
    """What comes after everything was read came since then, whatever its timestamp; before that, its timestamp counts."""

    async def scenario(scene: Scene) -> None:
        partition = scene.path.partitions[ONE]
        apply(scene.path, RECORDS)
        assert partition.chunks[0].oldest_ms == RECORDS[0].timestamp
        partition.take()
        read_up_ms = time.time_ns() // 1_000_000 - 2_000
        scene.reader.end, scene.reader.seen_ms = 0, read_up_ms
        await scene.watch.step()
        scene.reader.end = len(RECORDS) + 1
        apply(scene.path, [Record(len(RECORDS), event(140), timestamp=BASE_MS)])
        await scene.watch.step()
        assert partition.chunks[0].oldest_ms == read_up_ms
        lag = scene.telemetry.lag_seconds.labels(TOPIC, "0")._value.get()
        assert 2.0 <= lag < 30.0

    play(warehouse, scenario)


def test_a_stuck_worker_says_where_each_thread_is_once(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """Without progress, health names it, and the log has the stacks of all threads, not once a probe."""

    async def scenario(scene: Scene) -> None:
        for _ in range(3):
            assert "no progress" in scene.watch.alive().problems[0]

    play(warehouse, scenario)
    assert caplog.text.count("the stacks of all threads") == 1
    assert "test_watch.py" in caplog.text
    assert "thread MainThread" in caplog.text


def test_a_rejected_write_during_a_rebalance_keeps_the_assignment(warehouse: Warehouse) -> None:
    """Beginning anew while partitions are being assigned asks for those that Kafka assigned, not for what is read now."""

    async def scenario(scene: Scene) -> None:
        scene.path.partitions.revoke()
        scene.assignment.state = AssignmentState.ASSIGNING
        scene.assignment._wanted = frozenset({ONE})
        scene.assignment._probe = _no_fingerprints
        await scene.assignment.assign_again()
        assert list(scene.path.partitions) == [ONE]

    play(warehouse, scenario)


async def _no_fingerprints(_offsets: object) -> dict[TopicPartition, int]:
    return {}
