"""One assigned partition: its checkpoint, how far its records are read, and the chunks that wait for the next write."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from schemas.codec.decode import Record
from schemas.events.event_types import Family
from sinks.stores.checkpoints import NO_OFFSET, Checkpoint
from sinks.stores.dead_letters import DeadLetter
from streams.core.watermark import Watermark
from streams.pipeline.batch import Batch, Chunk, TopicPartition
from streams.pipeline.breaker import Breaker
from streams.pipeline.states import PartitionState, move


@dataclass(frozen=True, slots=True)
class Following:
    """What a batch means for its partition: the records to apply, or the offset to read again from.

    ``records`` is None if nothing is to be applied, and empty if the log has nothing where the partition moves on.
    """

    records: Sequence[Record] | None = None
    read_again_from: int | None = None
    #: Offsets that Kafka passed over before the batch; 0 unless asking again did not bring them.
    gap: int = 0
    #: Offsets of the batch below the expected one: applied before, or those of another log.
    below: int = 0


@dataclass(slots=True)
class Partition:
    """What this worker knows of a partition; only the event loop changes it."""

    family: Family
    checkpoint: Checkpoint
    next_offset: int
    watermark: Watermark
    last_record_us: int
    breaker: Breaker
    state: PartitionState = PartitionState.READING
    last_record_ms: int = 0
    last_offset: int = NO_OFFSET
    last_fingerprint: int = 0
    #: When Kafka last said that everything in the log is applied; what is read afterwards came to the log after that.
    read_up_ms: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    #: While seeking: the lowest first offset that came in place of the expected one.
    lowest_start: int = 0
    #: In the state ENDED_EPOCH: the last checkpoint of that epoch.
    ended: Checkpoint | None = None

    @classmethod
    def assigned(cls, family: Family, checkpoint: Checkpoint, now_us: int, breaker: Breaker) -> "Partition":
        """Return the partition as it stands at ``checkpoint``."""
        return cls(
            family,
            checkpoint,
            checkpoint.next_offset,
            Watermark(checkpoint.max_time_us, checkpoint.watermark_us),
            last_record_us=now_us,
            breaker=breaker,
            last_offset=checkpoint.last_offset,
            last_fingerprint=checkpoint.last_fingerprint,
        )

    @property
    def topic_partition(self) -> TopicPartition:
        """Topic and number."""
        return self.checkpoint.topic, self.checkpoint.partition

    @property
    def pending_records(self) -> int:
        """Records decoded and not yet taken by a write."""
        return sum(chunk.records for chunk in self.chunks)

    @property
    def pending_bytes(self) -> int:
        """Approximate size of what is decoded and not yet taken by a write, in bytes."""
        return sum(chunk.size_bytes for chunk in self.chunks)

    def follow(self, batch: Batch) -> Following:
        """Compare what a batch covers with the next expected offset.

        Offsets below it were applied already, unless the log is another one: that is for the caller to find out. Offsets
        without a record within the batch are the log's own: markers, aborted records, compaction. A batch that begins
        above the expected offset may be a fetch that raced the seek after a rebalance, so the consumer is sent back; if
        that brings the same first offset, Kafka has dropped what was expected (retention).
        """
        first, expected = batch.start, self.next_offset
        below = max(0, min(expected, batch.next_offset) - first)
        if batch.next_offset <= expected:
            return Following(below=below)
        seeking = self.state is PartitionState.SEEKING
        if first > expected and not (seeking and first == self.lowest_start):
            # Batches may come that were on their way before the seek: the lowest of them is what asking again must bring.
            self.lowest_start = min(first, self.lowest_start) if seeking else first
            self.state = move(self.state, PartitionState.SEEKING)
            return Following(read_again_from=expected)
        if seeking:
            self.state = move(self.state, PartitionState.READING)
        records = [record for record in batch.records if record.offset >= expected] if below else batch.records
        return Following(records, gap=max(0, first - expected), below=below)

    def keep(self, chunk: Chunk, out_of_orderness_us: int, now_us: int) -> None:
        """Keep a decoded batch for the next write."""
        # A record may bear any time: one that is replayed, or sent by a device after an outage.
        self.chunks.append(replace(chunk, oldest_ms=max(chunk.oldest_ms, self.read_up_ms)))
        self.next_offset = chunk.next_offset
        if not chunk.records:
            return
        self.last_record_ms = chunk.last_record_ms
        self.last_offset = chunk.last_offset
        self.last_fingerprint = chunk.last_fingerprint
        self.last_record_us = now_us
        if chunk.latest_us:
            self.watermark = self.watermark.seen(chunk.latest_us, out_of_orderness_us)

    def take(self) -> "PartitionWrite":
        """Give what waits to a write."""
        chunks, self.chunks = self.chunks, []
        after = replace(
            self.checkpoint,
            next_offset=self.next_offset,
            last_offset=self.last_offset,
            last_fingerprint=self.last_fingerprint,
            max_time_us=self.watermark.max_time_us,
            watermark_us=self.watermark.value_us,
        )
        return PartitionWrite(self.family, self.checkpoint, after, chunks)

    def ended_epoch_counted(self, checkpoint: Checkpoint) -> None:
        """Read the records of the new epoch: ``checkpoint`` counts what the ended one left behind."""
        self.state = move(self.state, PartitionState.READING)
        self.checkpoint, self.ended = checkpoint, None


@dataclass(frozen=True, slots=True)
class PartitionWrite:
    """The part of one partition in a write: from ``before`` to ``after``, whose counters are still those of ``before``."""

    family: Family
    before: Checkpoint
    after: Checkpoint
    chunks: list[Chunk]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Every rejected record."""
        return [letter for chunk in self.chunks for letter in chunk.dead_letters]

    def counted(self, stored: int) -> Checkpoint:
        """Return the checkpoint to write, given how many of the events were new."""
        valid = sum(chunk.events.height for chunk in self.chunks)
        return replace(
            self.after,
            consumed=self.before.consumed + sum(chunk.records for chunk in self.chunks),
            stored=self.before.stored + stored,
            duplicates=self.before.duplicates + valid - stored,
            dead_letters=self.before.dead_letters + len(self.dead_letters),
        )


@dataclass(frozen=True, slots=True)
class Log:
    """What Kafka says of a partition's log: its first offset, its end, and the fingerprint of the record last applied.

    The end is that of what may be read: an open transaction holds it back. The fingerprint is None where the log does not
    hold that record, or none was applied.
    """

    start: int
    end: int
    fingerprint: int | None = None


def resume_point(saved: Checkpoint | None, topic: str, partition: int, log: Log) -> Checkpoint:
    """Return where to go on.

    If the log is not the one the checkpoint speaks of (another record where the last one applied was, or none and the
    checkpoint outside the log), the topic was recreated or truncated, and a new epoch begins at the log's start.
    """
    if saved is None:
        return Checkpoint(topic, partition, next_offset=log.start)
    if log.fingerprint is None:
        same = log.start <= saved.next_offset <= log.end
    else:
        same = log.fingerprint == saved.last_fingerprint
    if same:
        return saved
    return replace(saved, epoch=saved.epoch + 1, next_offset=log.start, last_offset=NO_OFFSET, last_fingerprint=0)
