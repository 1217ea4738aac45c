"""Two school days of a small district in a real database: what workers and the evaluator would have made of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, date, datetime
from time import monotonic

from deploy.local.simulator import Disturbance, Produced, SimulationConfig, simulate
from schemas.codec.decode import ClockLimits
from schemas.events.event_types import CLASSROOM, FAMILIES
from schemas.events.pseudonym import Pseudonymizer
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target, Warehouse, connect
from sinks.evaluation import closed_metrics as panes
from sinks.stores.checkpoints import CheckpointStore
from sinks.stores.dead_letters import DeadLetter, DeadLetterStore
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from streams.evaluation import portraits, scoring
from streams.pipeline.clock import Clock
from streams.pipeline.decoder import Decoder
from streams.pipeline.partition import Log
from streams.pipeline.rules import Rules
from streams.pipeline.writer import Sinks
from tests.oracle.path import Path

#: Friday and Monday: the first week is closed by the second's events.
DISTRICT = SimulationConfig(
    days=2,
    date=date(2026, 3, 9),
    schools=3,
    classes_per_school=1,
    students_per_class=10,
    dual_teacher_share=0.2,
    binary_share=0.0,
    disturbance=Disturbance(duplicate_share=0.01, malformed_share=0.002),
)
RULES = MetricRules()
#: Of the eight lessons of a class and day those are kept, so that the tests stay quick.
LESSONS = (b"-1", b"-2", b"-3")
#: A lesson of the Friday, and what of it arrives only after the first cycle.
LATE_LESSON = b"lesson-s01-c1-20260306-2"
LATE_TYPE = b"classroom.hand.raised"


@dataclass(frozen=True)
class Record:
    """A Kafka record."""

    offset: int
    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp: int


@dataclass(frozen=True)
class Batch:
    """Records of one partition."""

    topic: str
    records: Sequence[Record]
    partition: int = 0

    @property
    def start(self) -> int:
        """First offset."""
        return self.records[0].offset

    @property
    def next_offset(self) -> int:
        """The offset after the last."""
        return self.records[-1].offset + 1


class Letters:
    """A dead-letter topic that takes everything."""

    def publish(self, _letters: Sequence[DeadLetter]) -> Future[None]:
        """Take."""
        done: Future[None] = Future()
        done.set_result(None)
        return done


def fill(target: Target) -> tuple[datetime, datetime]:
    """Store the district's events and what follows from them; return the instants of two cycles of the evaluator.

    Between them hands of one lesson come late, so that metrics are revised.
    """
    warehouse = Warehouse(target)
    path = _path(warehouse)
    offsets: dict[str, int] = defaultdict(int)
    late: list[Produced] = []
    in_time: list[Produced] = []
    for record in simulate(DISTRICT):
        if record.topic == CLASSROOM.topic and not (record.key or b"").endswith(LESSONS):
            continue
        is_late = record.key == LATE_LESSON and LATE_TYPE in (record.value or b"")
        (late if is_late else in_time).append(record)
    _apply(path, in_time, offsets)
    first = _cycle(target)
    _apply(path, late, offsets)
    second = _cycle(target)
    warehouse.close()
    return first, second


def _path(warehouse: Warehouse) -> Path:
    sinks = Sinks(
        EventStore(warehouse),
        MetricStore(warehouse),
        CheckpointStore(warehouse, "test"),
        DeadLetterStore(warehouse),
        Letters(),
    )
    day_us = 86_400_000_000
    decoder = Decoder(ClockLimits(0, day_us), 60_000_000, 100_000, Pseudonymizer(b"0123456789abcdef"))
    clock = Clock(lambda: 4_000_000_000_000_000, monotonic)
    path = Path(sinks, Rules(60_000_000, 120_000_000, 1_000_000), decoder, clock)
    path.assign({(family.topic, 0): Log(0, 10_000_000) for family in FAMILIES})
    return path


def _apply(path: Path, produced: Iterable[Produced], offsets: dict[str, int]) -> None:
    by_topic: dict[str, list[Record]] = defaultdict(list)
    for one in produced:
        offset = offsets[one.topic]
        offsets[one.topic] += 1
        by_topic[one.topic].append(Record(offset, one.value, one.key, tuple(one.headers), one.timestamp_ms))
    for topic, records in by_topic.items():
        if path.submit(Batch(topic, records)) is None:
            raise LookupError(f"{topic} is not assigned")
    path.flush()


def _cycle(target: Target) -> datetime:
    """Run the evaluator's steps as one cycle; return the instant from which on what it wrote is known."""
    client = connect(target)
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    rows = sum(step(client, RULES, now) for step in (panes.step, portraits.step, scoring.step))
    client.insert(
        "evaluator_cycles", [[now, datetime.now(UTC), rows]], column_names=["cycle_at", "finished_at", "rows_written"]
    )
    client.close()
    return now
