"""One worker process of the model: a real pipeline, a consumer's fetches on their way, and at most one write."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.codec.decode import ClockLimits
from schemas.events.pseudonym import Pseudonymizer
from sinks.stores.checkpoints import Checkpoint
from sinks.stores.dead_letters import DeadLetter
from streams.pipeline.intake import Decoder
from streams.pipeline.partition import Log, Place
from streams.pipeline.pipeline import Pipeline, Rules, Sinks, Write
from streams.pipeline.telemetry import Telemetry
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

    places: frozenset[Place]
    saved: Mapping[Place, Checkpoint] | None = None
    ranges: dict[Place, tuple[int, int]] = field(default_factory=dict)


@dataclass
class Job:
    """What the worker's database thread does: a write to be finished, or something of its own."""

    steps: Steps
    write: Write | None = None


@dataclass
class WorkerModel:
    """A worker; what a crash leaves is a new one in its place."""

    pipeline: Pipeline
    session: SteppedSession
    inbox: dict[Place, list[Batch]] = field(default_factory=dict)
    #: Where the consumer fetches next.
    fetch_at: dict[Place, int] = field(default_factory=dict)
    job: Job | None = None
    resuming: Resuming | None = None

    @classmethod
    def started(
        cls,
        pipeline_class: type[Pipeline],
        built: Built,
        database: Database,
        echoes: list[Request],
        published: list[DeadLetter],
        now_us: Callable[[], int],
    ) -> "WorkerModel":
        """Return a worker without partitions."""
        session = SteppedSession(database, echoes)
        decoder = Decoder(ClockLimits(0, 100 * MINUTE_US), MINUTE_US, 100_000, _PSEUDONYMIZER)
        return cls(pipeline_class(built(session, published), _RULES, decoder, _TELEMETRY, now_us, AtOnce()), session)

    @property
    def places(self) -> list[Place]:
        """The partitions it believes to own."""
        return list(self.pipeline.partitions)

    def fetch(self, place: Place, log: PartitionLog, count: int) -> None:
        """Fetch records; they are on their way until ``handle``."""
        start, records, next_offset = log.fetch(self.fetch_at[place], count)
        if next_offset > start:
            self.inbox.setdefault(place, []).append(Batch(*place, records, start, next_offset))
        self.fetch_at[place] = next_offset

    def handle(self, place: Place) -> None:
        """Take in the batch that was fetched first, as ``streams.worker.flow`` does."""
        batch = self.inbox[place].pop(0)
        taken = self.pipeline.following(batch)
        if taken is None:
            return
        partition, found = taken
        if found.read_again_from is not None:
            self.fetch_at[place] = found.read_again_from
        if found.hole and self.pipeline.stored_position(place) > partition.checkpoint.position:
            # It would take over again; until then it has nothing.
            del self.pipeline.partitions[place]
            return
        if found.records is not None:
            self.pipeline.hold(partition, self.pipeline.decode_batch(partition, batch, found.records))

    def begin(self, function: Callable[[], Any], write: Write | None = None) -> None:
        """Start something in the database thread; it stops before its first call."""
        job = Job(Steps(function), write)
        self.job, self.session.steps = job, job.steps
        job.steps.start()
        self._finish_if_done()

    def begin_write(self) -> bool:
        """Start to write what is held, if anything is."""
        write = self.pipeline.take()
        if write is not None:
            self.begin(lambda: self.pipeline.write(write), write)
        return write is not None

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
        """Write what is under way and what is held."""
        self.complete()
        if self.begin_write():
            self.complete()

    def kill(self) -> None:
        """End the job's thread."""
        while self.job is not None and not self.job.steps.done:
            self.job.steps.go(DIE)
        self.job = None

    def begin_resume(self, places: Collection[Place]) -> None:
        """Hear of an assignment: let go of everything."""
        self.resuming = Resuming(frozenset(places))
        self.pipeline.release()

    def load(self, logs: Mapping[Place, PartitionLog]) -> None:
        """Read the checkpoints, behind a write that was under way, and then where the logs begin and end."""
        if self.resuming is not None:
            self.resuming.saved = self.pipeline.load_checkpoints()
            self.resuming.ranges = {
                place: (logs[place].start, logs[place].readable_end) for place in sorted(self.resuming.places)
            }

    def end_resume(self, logs: Mapping[Place, Log]) -> None:
        """Take over the partitions and seek."""
        if self.resuming is None or self.resuming.saved is None:
            raise RuntimeError("the checkpoints are not read yet")
        saved, self.resuming = self.resuming.saved, None
        self.fetch_at = dict(self.pipeline.assign(logs, saved))
        ended = [one for one in self.pipeline.partitions.values() if one.ended is not None]
        if ended:
            self.begin(lambda: [self.pipeline.adopt(partition) for partition in ended])

    def _finish_if_done(self) -> None:
        job = self.job
        if job is not None and job.steps.done:
            self.job = None
            if job.write is not None:
                self.pipeline.finish(job.write, job.steps.result)
