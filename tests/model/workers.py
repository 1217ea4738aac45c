"""One worker process of the model: a real pipeline, a consumer's fetches on their way, and at most one write."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.codec.decode import ClockLimits
from schemas.events.pseudonym import Pseudonymizer
from sinks.stores.checkpoints import Checkpoint
from sinks.stores.dead_letters import DeadLetter
from streams.pipeline.batch import TopicPartition
from streams.pipeline.clock import Clock
from streams.pipeline.decoder import Decoder
from streams.pipeline.partition import Log
from streams.pipeline.partitions import Write
from streams.pipeline.rules import Rules
from streams.pipeline.states import PartitionState
from streams.pipeline.telemetry import Telemetry
from streams.pipeline.writer import Sinks
from tests.model.logs import PartitionLog
from tests.model.memory import (
    Database,
    MemoryCheckpointStore,
    MemoryDeadLetterStore,
    MemoryEventStore,
    MemoryMetricStore,
)
from tests.model.steps import DIE, GO, AtOnce, Order, Request, SteppedSession, SteppedTopic, Steps
from tests.model.vocabulary import MINUTE_US, Batch
from tests.oracle.path import Path

ZONE = "Asia/Shanghai"
IDLE_US = 2 * MINUTE_US
#: So few that keys are forgotten between writes.
CACHE_ROWS = 12
_RULES = Rules(out_of_orderness_us=MINUTE_US, idle_us=IDLE_US, cache_max_rows=CACHE_ROWS)
_PSEUDONYMIZER = Pseudonymizer(b"0123456789abcdef")
#: Making a registry costs more than a write; nobody reads it here.
_TELEMETRY = Telemetry()
Built = Callable[[SteppedSession, list[DeadLetter]], Sinks]


def sinks_in_memory(session: SteppedSession, published: list[DeadLetter]) -> Sinks:
    """Return the stores of one worker."""
    return Sinks(
        MemoryEventStore(session),  # type: ignore[arg-type]
        MemoryMetricStore(session),  # type: ignore[arg-type]
        MemoryCheckpointStore(session, "model"),  # type: ignore[arg-type]
        MemoryDeadLetterStore(session),  # type: ignore[arg-type]
        SteppedTopic(session, published),
    )


@dataclass
class Resuming:
    """A rebalance under way: first the checkpoints are read, then the logs' ranges asked for."""

    places: frozenset[TopicPartition]
    saved: Mapping[TopicPartition, Checkpoint] | None = None
    ranges: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Job:
    """What the worker's writing thread does; ``finish`` takes note of its result."""

    steps: Steps
    finish: Callable[[Any], None] = lambda _result: None


@dataclass
class WorkerModel:
    """A worker; what a crash leaves is a new one in its place."""

    path: Path
    session: SteppedSession
    inbox: dict[TopicPartition, list[Batch]] = field(default_factory=dict)
    #: Where the consumer fetches next.
    fetch_at: dict[TopicPartition, int] = field(default_factory=dict)
    job: Job | None = None
    resuming: Resuming | None = None

    @classmethod
    def started(
        cls,
        path_class: type[Path],
        built: Built,
        database: Database,
        echoes: list[Request],
        published: list[DeadLetter],
        now_us: Callable[[], int],
    ) -> "WorkerModel":
        """Return a worker without partitions."""
        session = SteppedSession(database, echoes)
        decoder = Decoder(ClockLimits(0, 100 * MINUTE_US), MINUTE_US, 100_000, _PSEUDONYMIZER)
        sinks, clock = built(session, published), Clock(now_us, lambda: 0.0)
        return cls(path_class(sinks, _RULES, decoder, clock, _TELEMETRY, AtOnce()), session)

    @property
    def places(self) -> list[TopicPartition]:
        """The partitions it believes to be assigned."""
        return list(self.path.partitions)

    def fetch(self, place: TopicPartition, log: PartitionLog, count: int) -> None:
        """Fetch records; they are on their way until ``handle``."""
        start, records, next_offset = log.fetch(self.fetch_at[place], count)
        if next_offset > start:
            self.inbox.setdefault(place, []).append(Batch(*place, records, start, next_offset))
        self.fetch_at[place] = next_offset

    def handle(self, place: TopicPartition) -> None:
        """Take the batch that was fetched first, as ``streams.pipeline.pipeline`` does."""
        batch = self.inbox[place].pop(0)
        partition = self.path.partitions.get(place)
        before = partition.checkpoint.position if partition is not None else 0
        found = self.path.submit(batch)
        if found is None:
            return
        if found.read_again_from is not None:
            self.fetch_at[place] = found.read_again_from
        if found.gap and self.path.writer.stored_position(place) > before:
            # It would begin anew; until then it has nothing.
            self.path.partitions._assigned.pop(place)

    def begin(self, function: Callable[[], Any], finish: Callable[[Any], None] = lambda _result: None) -> None:
        """Start something in the writing thread; it stops before its first call."""
        job = Job(Steps(function), finish)
        self.job, self.session.steps = job, job.steps
        job.steps.start()
        self._finish_if_done()

    def begin_write(self) -> bool:
        """Start to write what waits, if anything does."""
        write = self.path.partitions.take()
        if write is not None:
            self._begin_writing(write)
        return write is not None

    def _begin_writing(self, write: Write) -> None:
        self.begin(lambda: self.path.writer.write(write), lambda result: self.path.partitions.finish(write, result))

    def advance(self, order: Order) -> bool:
        """Let the job make its next call; return False if the worker died of it."""
        if self.job is None:
            return True
        steps = self.job.steps
        steps.go(order)
        if steps.crashed:
            return False
        self._finish_if_done()
        return True

    def complete(self) -> None:
        """Let the job run to its end."""
        while self.job is not None:
            self.advance(GO)

    def write_all(self) -> None:
        """Write what is under way and what waits."""
        self.complete()
        if self.begin_write():
            self.complete()

    def kill(self) -> None:
        """End the job's thread."""
        while self.job is not None and not self.job.steps.done:
            self.job.steps.go(DIE)
        self.job = None

    def begin_resume(self, places: Collection[TopicPartition]) -> None:
        """Hear of an assignment: forget everything."""
        self.resuming = Resuming(frozenset(places))
        self.path.partitions.revoke()

    def load(self, logs: Mapping[TopicPartition, PartitionLog]) -> None:
        """Read the checkpoints, behind a write that was under way, and then where the logs begin and end."""
        if self.resuming is not None:
            self.resuming.saved = self.path.writer.load_checkpoints()
            self.resuming.ranges = {
                place: (logs[place].start, logs[place].readable_end) for place in sorted(self.resuming.places)
            }

    def end_resume(self, logs: Mapping[TopicPartition, Log]) -> None:
        """Assign the partitions and seek."""
        if self.resuming is None or self.resuming.saved is None:
            raise RuntimeError("the checkpoints are not read yet")
        saved, self.resuming = self.resuming.saved, None
        self.fetch_at = self.path.partitions.assign(logs, saved)
        ended = [one for one in self.path.partitions.all() if one.state is PartitionState.ENDED_EPOCH]
        if ended:
            below = self.path.partitions.stored_below()

            def finish(counted: list[Checkpoint]) -> None:
                for one, point in zip(ended, counted, strict=True):
                    self.path.partitions.ended_epoch_counted(one, point)

            self.begin(lambda: [self.path.writer.count_ended_epoch(one, below) for one in ended], finish)

    def _finish_if_done(self) -> None:
        job = self.job
        if job is not None and job.steps.done:
            self.job = None
            job.finish(job.steps.result)
