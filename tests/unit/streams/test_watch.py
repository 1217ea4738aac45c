"""Standing still is noticed: a silent partition is read on from, a worker outside its group asks to join."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sinks.clickhouse.client import Warehouse
from streams.kafka.transport import CheckpointConsumer, LogEnd
from streams.pipeline.breaker import Breaker
from streams.pipeline.partition import Log, Place
from streams.pipeline.pipeline import Pipeline
from streams.pipeline.telemetry import Telemetry
from streams.worker import watch as watch_module
from streams.worker.flow import Flow
from streams.worker.resume import Resumer
from streams.worker.watch import Watch
from tests.unit.streams.test_pipeline import BASE_MS, RECORDS, TOPIC, Record, apply, event, new_pipeline

PLACE = (TOPIC, 0)


@dataclass
class Reader:
    """A consumer that says where the log ends, and remembers what it was told."""

    end: int = 10
    written: int | None = None
    start: int = 0
    seen_ms: int = 0
    flow_active: bool = True
    resumed: list[Place] = field(default_factory=list)
    seeks: list[int] = field(default_factory=list)
    touched: int = 0

    def log_end(self, _place: Place) -> LogEnd:
        """Where the log ends."""
        return LogEnd(self.end, self.end if self.written is None else self.written)

    async def logs(self, places: frozenset[Place]) -> dict[Place, tuple[int, int]]:
        """Where the logs begin and end."""
        return dict.fromkeys(places, (self.start, self.end))

    def log_end_seen_ms(self, _place: Place) -> int:
        """When a fetch said so."""
        return self.seen_ms

    def resume_place(self, place: Place) -> None:
        """Fetch again."""
        self.resumed.append(place)

    async def read_from(self, offsets: dict[Place, int]) -> None:
        """Seek."""
        self.seeks += offsets.values()

    def touch(self) -> None:
        """Ask to join."""
        self.touched += 1


class Scene:
    """A watch over a pipeline with one partition, of whose log nothing has been read."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.waits: list[str] = []
        self.reader = Reader()
        consumer = cast("Callable[[], CheckpointConsumer]", lambda: self.reader)
        pipeline.assign({PLACE: Log(0, 10)}, {})
        self.pipeline = pipeline
        self.resumer = Resumer(pipeline, consumer, _never, cast("Any", _never), _raise)
        self.resumer.done.set()
        telemetry = self.telemetry = Telemetry()
        self.flow = Flow(
            pipeline, self.resumer, telemetry, consumer, _never, _never, flush_max_rows=10, flush_interval_ms=10
        )
        self.watch = Watch(pipeline, self.flow, self.resumer, telemetry, consumer, lambda: self.waits)
        self.pipeline = pipeline
        self.telemetry = telemetry
        self.watch.joined = True

    def sample(self, name: str) -> float | None:
        """Return a metric of the partition."""
        return self.telemetry.registry.get_sample_value(f"classpulse_{name}", {"topic": TOPIC, "partition": "0"})


async def _never(*_arguments: Any) -> Any:
    raise AssertionError("nothing is to be run here")


def _raise(error: Exception) -> None:
    raise error


def play(warehouse: Warehouse, story: Callable[[Scene], Awaitable[None]]) -> None:
    """Run a story in a loop of its own."""

    async def run() -> None:
        await story(Scene(new_pipeline(warehouse)))

    asyncio.run(run())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call a partition silent at once."""
    monkeypatch.setattr(watch_module, "SILENT_SECONDS", -1.0)
    monkeypatch.setattr(watch_module, "STUCK_SECONDS", -1.0)
    monkeypatch.setattr(watch_module, "OPEN_TRANSACTION_SECONDS", 0.0)


def test_a_silent_partition_is_read_on_from_once(warehouse: Warehouse) -> None:
    """With records waiting and no batch coming the consumer is sent to the offset; not again while nothing changes."""

    async def story(scene: Scene) -> None:
        for _ in range(3):
            await scene.watch.step()
        assert (scene.reader.resumed, scene.reader.seeks) == ([PLACE], [0])

    play(warehouse, story)


@pytest.mark.parametrize("why", ["all read", "waiting", "taking over"])
def test_a_partition_that_is_silent_for_a_reason_is_left_alone(warehouse: Warehouse, why: str) -> None:
    """Nothing to read, ClickHouse away, or partitions still being taken over: no nudge."""

    async def story(scene: Scene) -> None:
        scene.reader.end = 0 if why == "all read" else 10
        scene.waits = ["waiting for ClickHouse"] if why == "waiting" else []
        if why == "taking over":
            scene.resumer.done.clear()
        await scene.watch.step()
        assert scene.reader.seeks == []

    play(warehouse, story)


def test_a_worker_outside_its_group_asks_to_join(warehouse: Warehouse) -> None:
    """Out of the group, aiokafka is told that records are wanted, unless ClickHouse is away; health says so."""

    async def story(scene: Scene) -> None:
        scene.reader.flow_active = False
        scene.waits = ["waiting for ClickHouse"]
        await scene.watch.step()
        assert scene.reader.touched == 0
        assert not scene.watch.alive().problems
        scene.waits = []
        await scene.watch.step()
        assert scene.reader.touched == 1
        scene.flow.last_tick = scene.flow.last_progress = time.monotonic() + 60
        assert "not in the consumer group" in scene.watch.alive().problems[0]
        assert "not in the consumer group yet" in scene.watch.ready().problems

    play(warehouse, story)


def test_a_log_that_retention_emptied_begins_a_new_epoch(warehouse: Warehouse) -> None:
    """Where Kafka has dropped everything that was to be read, no batch will ever say so: the nudge finds out."""

    async def story(scene: Scene) -> None:
        scene.reader.start = scene.reader.end = 10
        asked: list[str] = []

        async def another(place: Place, _partition: object) -> bool:
            asked.append(place[0])
            return await scene.resumer.is_another_log(place)

        scene.flow.is_another_log = another  # type: ignore[method-assign]
        await scene.watch.step()
        assert (asked, scene.reader.seeks) == ([TOPIC], [])

    play(warehouse, story)


def test_an_open_transaction_is_said_and_is_no_standstill(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """Records behind an open transaction are no lag and no reason to nudge; people read once what they wait for."""

    async def story(scene: Scene) -> None:
        scene.reader.end, scene.reader.written = 0, 7
        for _ in range(3):
            await scene.watch.step()
        assert scene.reader.seeks == []
        assert (scene.sample("open_transaction_seconds") or 0) > 0
        assert scene.sample("lag_records") == 0
        scene.reader.end = scene.reader.written
        await scene.watch.step()
        assert scene.sample("open_transaction_seconds") == 0

    play(warehouse, story)
    assert caplog.text.count("wait for a transaction that is open since offset 0") == 1


def test_an_open_circuit_with_nothing_behind_it_holds_nothing(warehouse: Warehouse) -> None:
    """Readiness and the gauge name a circuit while records wait behind it, be it paused or on trial, and no longer."""

    async def story(scene: Scene) -> None:
        partition = scene.pipeline.partitions[PLACE]
        partition.breaker = Breaker(0.5)
        assert not partition.breaker.admits(2_000, 2_000, 0.0)
        for waiting, is_paused in [(True, True), (False, True), (True, True), (True, False), (False, False)]:
            if not is_paused:
                partition.breaker.pause_is_over(10.0**9)
            partition.next_offset = 0 if waiting else scene.reader.end
            await scene.watch.step()
            assert scene.sample("circuit_open") == waiting
            assert any("offsets are held" in problem for problem in scene.watch.ready().problems) == waiting
        assert partition.breaker.is_open

    play(warehouse, story)


def test_a_trial_that_never_comes_is_nudged(warehouse: Warehouse) -> None:
    """While a circuit is paused its records wait on purpose; once it is on trial they must come."""

    async def story(scene: Scene) -> None:
        breaker = scene.pipeline.partitions[PLACE].breaker = Breaker(0.5)
        assert not breaker.admits(2_000, 2_000, 0.0)
        await scene.watch.step()
        assert scene.reader.seeks == []
        assert breaker.pause_is_over(10.0**9)
        await scene.watch.step()
        assert scene.reader.seeks == [0]

    play(warehouse, story)


def test_records_with_old_timestamps_are_as_old_as_their_arrival(warehouse: Warehouse) -> None:
    """What comes after everything was read came since then, whatever its timestamp; before that, its timestamp counts."""

    async def story(scene: Scene) -> None:
        partition = scene.pipeline.partitions[PLACE]
        apply(scene.pipeline, RECORDS)
        assert partition.chunks[0].oldest_ms == RECORDS[0].timestamp
        partition.take()
        read_up_ms = time.time_ns() // 1_000_000 - 2_000
        scene.reader.end, scene.reader.seen_ms = 0, read_up_ms
        await scene.watch.step()
        scene.reader.end = len(RECORDS) + 1
        apply(scene.pipeline, [Record(len(RECORDS), event(140), timestamp=BASE_MS)])
        await scene.watch.step()
        assert partition.chunks[0].oldest_ms == read_up_ms
        lag = scene.telemetry.lag_seconds.labels(TOPIC, "0")._value.get()
        assert 2.0 <= lag < 30.0

    play(warehouse, story)
