"""The path of ``streams/pipeline/pipeline.py`` without its event loop and threads, one step after the other."""

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from time import monotonic
from typing import ClassVar

from sinks.stores.checkpoints import Checkpoint
from streams.pipeline.batch import Batch, TopicPartition
from streams.pipeline.clock import Clock
from streams.pipeline.decoder import Before, Decoder
from streams.pipeline.partition import Following, Log
from streams.pipeline.partitions import Partitions
from streams.pipeline.rules import Rules
from streams.pipeline.states import PartitionState
from streams.pipeline.telemetry import Telemetry
from streams.pipeline.writer import Rejected, Sinks, Writer


class Path:
    """The parts of a worker that hold no thread; ``clock`` may be set."""

    writer_class: ClassVar[type[Writer]] = Writer

    def __init__(
        self,
        sinks: Sinks,
        rules: Rules,
        decoder: Decoder,
        clock: Clock,
        telemetry: Telemetry | None = None,
        inserting: Executor | None = None,
    ) -> None:
        self.sinks = sinks
        self.telemetry = telemetry or Telemetry()
        self.clock = clock
        self.partitions = Partitions(rules, self.telemetry, Clock(self.now_us, monotonic))
        self.writer = self.writer_class(sinks, rules, self.telemetry, inserting or ThreadPoolExecutor(1))
        self._decoder = decoder

    def assign(self, logs: Mapping[TopicPartition, Log]) -> dict[TopicPartition, int]:
        """Begin with these partitions; return where to read on. What an ended epoch left behind is not counted yet."""
        self.partitions.revoke()
        return self.partitions.assign(logs, self.writer.load_checkpoints())

    def count_ended_epochs(self) -> None:
        """Count what ended epochs left behind."""
        for partition in self.partitions.all():
            if partition.state is PartitionState.ENDED_EPOCH:
                counted = self.writer.count_ended_epoch(partition, self.partitions.stored_below())
                self.partitions.ended_epoch_counted(partition, counted)

    def submit(self, batch: Batch) -> Following | None:
        """Take a batch to where it waits for the next write; None if its partition is not assigned."""
        partition = self.partitions.get((batch.topic, batch.partition))
        if partition is None:
            return None
        found = self.partitions.follow(partition, batch)
        if found.records is not None:
            before = Before(partition.checkpoint.epoch, partition.watermark.max_time_us)
            rejected = self.partitions.rejected_of(partition.topic_partition)
            chunk = self._decoder.decode_batch(
                partition.family, batch, found.records, before, self.clock.wall_us(), rejected
            )
            self.partitions.keep(partition, chunk)
        return found

    def flush(self) -> list[Checkpoint] | Rejected:
        """Write what waits; raises ``LookupError`` if nothing does."""
        write = self.partitions.take()
        if write is None:
            raise LookupError("nothing waits")
        written = self.writer.write(write)
        if isinstance(written, Rejected):
            self.partitions.note_rejected(written.records)
        else:
            self.partitions.finish(write, written)
        return written

    def now_us(self) -> int:
        """Return the time of the clock that counts now."""
        return self.clock.wall_us()

    def set_time(self, wall_us: int) -> None:
        """Set the clock."""
        self.clock = replace(self.clock, wall_us=lambda: wall_us)
