"""The partitions that this worker is assigned, and what of them waits for the next write. Only the event loop uses this."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.events.event_types import FAMILIES
from sinks.stores.checkpoints import Checkpoint
from streams.pipeline.batch import Batch, Chunk, TopicPartition
from streams.pipeline.breaker import Breaker
from streams.pipeline.clock import Clock
from streams.pipeline.partition import Following, Log, Partition, PartitionWrite, resume_point
from streams.pipeline.rules import Rules
from streams.pipeline.states import PartitionState
from streams.pipeline.telemetry import Telemetry

Checkpoints = Mapping[TopicPartition, Checkpoint]
#: Records whose events ClickHouse will not take: what it says of each, by partition and position.
RejectedRecords = dict[TopicPartition, dict[int, str]]
#: The position below which the events of each partition are stored, by the family's name and the partition's number.
StoredBelow = dict[str, dict[int, int]]


@dataclass(frozen=True, slots=True)
class Write:
    """What one write consists of."""

    parts: list[PartitionWrite]
    below: StoredBelow


class Partitions:
    """The assigned partitions by topic and number."""

    def __init__(self, rules: Rules, telemetry: Telemetry, clock: Clock) -> None:
        self._rules = rules
        self._telemetry = telemetry
        self._clock = clock
        self._assigned: dict[TopicPartition, Partition] = {}
        #: Dead letters when they are read again.
        self._rejected: RejectedRecords = {}
        #: Nothing was written yet since the partitions were assigned.
        self.is_fresh = True

    def __iter__(self) -> Iterator[TopicPartition]:
        """Return topic and number of each."""
        return iter(list(self._assigned))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._assigned)

    def __getitem__(self, topic_partition: TopicPartition) -> Partition:
        """Return an assigned partition; raises ``KeyError`` for another one."""
        return self._assigned[topic_partition]

    def get(self, topic_partition: TopicPartition) -> Partition | None:
        """Return a partition, or None if it is not assigned."""
        return self._assigned.get(topic_partition)

    def all(self) -> list[Partition]:
        """Return all of them."""
        return list(self._assigned.values())

    def is_current(self, partition: Partition) -> bool:
        """Whether ``partition`` is assigned, and not anew since it was handed out."""
        return self._assigned.get(partition.topic_partition) is partition

    @property
    def pending_records(self) -> int:
        """Records decoded and not yet taken by a write."""
        return sum(partition.pending_records for partition in self._assigned.values())

    @property
    def pending_bytes(self) -> int:
        """Approximate size of what is decoded and not yet taken by a write, in bytes."""
        return sum(partition.pending_bytes for partition in self._assigned.values())

    def assign(self, logs: Mapping[TopicPartition, Log], saved: Checkpoints) -> dict[TopicPartition, int]:
        """Begin with these partitions, given what Kafka says of their logs; return where to read on.

        Nothing may have been written since the checkpoints were read; call ``revoke`` before that.
        """
        families = {family.topic: family for family in FAMILIES}
        for (topic, number), log in logs.items():
            before = saved.get((topic, number))
            point = resume_point(before, topic, number, log)
            breaker = Breaker(self._rules.breaker_share)
            partition = Partition.assigned(families[topic], point, self._clock.wall_us(), breaker)
            if before is not None and point.epoch != before.epoch:
                self._telemetry.new_epochs.labels(topic, str(number)).inc()
                partition.state, partition.ended = PartitionState.ENDED_EPOCH, before
            self._assigned[topic, number] = partition
        self._rejected = {one: rejected for one, rejected in self._rejected.items() if one in self._assigned}
        self.is_fresh = True
        self._telemetry.partitions.set(len(self._assigned))
        return self.next_offsets()

    def revoke(self) -> None:
        """Forget every partition, and what of it is not taken by a write: whoever is assigned it next reads it again."""
        self._assigned = {}

    def next_offsets(self) -> dict[TopicPartition, int]:
        """Return where each partition is to be read on."""
        return {one: partition.next_offset for one, partition in self._assigned.items()}

    def follow(self, partition: Partition, batch: Batch) -> Following:
        """Return what a batch means for its partition, and count what it tells."""
        found = partition.follow(batch)
        labels = (batch.topic, str(batch.partition))
        if found.read_again_from is not None:
            self._telemetry.reseeks.labels(*labels).inc()
        if found.gap:
            self._telemetry.offset_gaps.labels(*labels).inc(found.gap)
        return found

    def keep(self, partition: Partition, chunk: Chunk) -> None:
        """Keep a decoded batch for the next write."""
        partition.keep(chunk, self._rules.out_of_orderness_us, self._clock.wall_us())

    def take(self) -> Write | None:
        """Give everything that waits to one write; None if nothing waits."""
        parts = [partition.take() for partition in self._assigned.values() if partition.chunks]
        return Write(parts, self.stored_below()) if parts else None

    def stored_below(self) -> StoredBelow:
        """Return the position below which the events of each partition are stored: that of its checkpoint."""
        below: StoredBelow = {family.name: {} for family in FAMILIES}
        for (_topic, number), partition in self._assigned.items():
            below[partition.family.name][number] = partition.checkpoint.position
        return below

    def finish(self, write: Write, checkpoints: Sequence[Checkpoint]) -> None:
        """Note that a write is done; ``checkpoints`` are in the order of its parts."""
        self.is_fresh = False
        clock_seconds = self._clock.wall_us() / 1e6
        for part, after in zip(write.parts, checkpoints, strict=True):
            self._count(part.before, after)
            for letter in part.dead_letters:
                self._telemetry.dead_letters.labels(letter.topic, letter.reason).inc()
            if oldest_ms := [chunk.oldest_ms for chunk in part.chunks if chunk.records]:
                self._telemetry.queryable_seconds.observe(max(0.0, clock_seconds - min(oldest_ms) / 1000))
            one = (after.topic, after.partition)
            if rejected := self._rejected.pop(one, {}):
                left = {position: text for position, text in rejected.items() if position >= after.position}
                self._rejected[one] = left
            partition = self._assigned.get(one)
            if partition is not None and partition.checkpoint is part.before:
                partition.checkpoint = after
        self._telemetry.checkpoint_timestamp.set(clock_seconds)

    def ended_epoch_counted(self, partition: Partition, checkpoint: Checkpoint) -> None:
        """Note that what an ended epoch left behind is counted."""
        self._count(partition.checkpoint, checkpoint)
        partition.ended_epoch_counted(checkpoint)

    def rejected_of(self, topic_partition: TopicPartition) -> Mapping[int, str]:
        """Return the records of a partition whose events ClickHouse will not take."""
        return self._rejected.get(topic_partition, {})

    def note_rejected(self, rejected: RejectedRecords) -> None:
        """Remember records whose events ClickHouse will not take, for when they are read again."""
        for one, texts in rejected.items():
            self._rejected.setdefault(one, {}).update(texts)

    def idle_checkpoints(self) -> list[Checkpoint]:
        """Let the watermarks of partitions without records follow the clock; return the checkpoints that changed."""
        now_us, idle_us = self._clock.wall_us(), self._rules.idle_us
        moved = []
        for partition in self._assigned.values():
            later = partition.watermark.idle(now_us, idle_us)
            settled = partition.checkpoint.next_offset == partition.next_offset and partition.watermark.max_time_us
            silent = now_us - partition.last_record_us >= idle_us
            if settled and silent and later.value_us - partition.watermark.value_us >= idle_us:
                partition.watermark = later
                partition.checkpoint = replace(partition.checkpoint, watermark_us=later.value_us)
                moved.append(partition.checkpoint)
        return moved

    def _count(self, before: Checkpoint, after: Checkpoint) -> None:
        labels = (after.topic, str(after.partition))
        self._telemetry.consumed.labels(*labels).inc(after.consumed - before.consumed)
        self._telemetry.stored.labels(*labels).inc(after.stored - before.stored)
        self._telemetry.duplicates.labels(*labels).inc(after.duplicates - before.duplicates)
