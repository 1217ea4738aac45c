"""One partition as this worker sees it: how far it is, and what waits to be written."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import polars as pl

from schemas.codec.decode import Record
from schemas.events.event_types import Family
from sinks.stores.checkpoints import NO_OFFSET, Checkpoint
from sinks.stores.dead_letters import DeadLetter
from sinks.stores.positions import position
from streams.core.watermark import Watermark
from streams.pipeline.breaker import Breaker

#: A partition's topic and number.
Place = tuple[str, int]
#: The first and the next offset of each log.
Logs = Mapping[Place, tuple[int, int]]


class Batch(Protocol):
    """The records that a partition's log holds from ``start`` to before ``next_offset``, in order of their offsets."""

    @property
    def topic(self) -> str:
        """Kafka topic."""

    @property
    def partition(self) -> int:
        """Kafka partition."""

    @property
    def start(self) -> int:
        """The offset that was asked for."""

    @property
    def next_offset(self) -> int:
        """Above ``start``."""

    @property
    def records(self) -> Sequence[Record]:
        """Possibly none: the offsets may be those of markers, of aborted or of compacted records."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A decoded batch: its events with ``partition`` and ``position``, its dead letters, and what came of its records.

    Without records (``records`` is 0) it only moves the partition on to ``next_offset``.
    """

    events: pl.DataFrame
    dead_letters: list[DeadLetter]
    records: int
    next_offset: int
    latest_us: int
    oldest_ms: int
    last_record_ms: int
    last_offset: int
    last_fingerprint: int
    #: What it holds in memory, about.
    size_bytes: int = 0


@dataclass(slots=True)
class Partition:
    """The checkpoint, what has been decoded beyond it, and how far that reaches."""

    family: Family
    checkpoint: Checkpoint
    next_offset: int
    watermark: Watermark
    last_record_us: int
    last_record_ms: int = 0
    last_offset: int = NO_OFFSET
    last_fingerprint: int = 0
    #: When Kafka last said that everything in the log is applied; what is read afterwards came to the log after that.
    read_up_ms: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    #: The offset the consumer was sent back to and the lowest that came instead, until a batch shows whether the
    #: offset gap is real.
    sought: tuple[int, int] | None = None
    #: The last checkpoint of the epoch that ended here; what was stored above it is yet to be counted.
    ended: Checkpoint | None = None
    breaker: Breaker = field(default_factory=lambda: Breaker(share=0))

    @classmethod
    def resumed(cls, family: Family, checkpoint: Checkpoint, now_us: int) -> "Partition":
        """Return the partition as it stands at ``checkpoint``."""
        return cls(
            family,
            checkpoint,
            checkpoint.next_offset,
            Watermark(checkpoint.max_time_us, checkpoint.watermark_us),
            last_record_us=now_us,
            last_offset=checkpoint.last_offset,
            last_fingerprint=checkpoint.last_fingerprint,
        )

    @property
    def pending_records(self) -> int:
        """Records decoded and not yet handed to a write."""
        return sum(chunk.records for chunk in self.chunks)

    @property
    def pending_bytes(self) -> int:
        """What is decoded and not yet handed to a write holds in memory, about."""
        return sum(chunk.size_bytes for chunk in self.chunks)

    def position(self, offset: int) -> int:
        """Position of ``offset`` in the present epoch."""
        return position(self.checkpoint.epoch, offset)

    def hold(self, chunk: Chunk, out_of_orderness_us: int, now_us: int) -> None:
        """Keep a decoded batch for the next write."""
        self.chunks.append(chunk)
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
        """Hand over what waits, as the part of a write."""
        chunks, self.chunks = self.chunks, []
        after = replace(
            self.checkpoint,
            next_offset=self.next_offset,
            last_offset=self.last_offset,
            last_fingerprint=self.last_fingerprint,
            max_time_us=self.watermark.max_time_us,
            watermark_us=self.watermark.value_us,
        )
        return PartitionWrite(self, self.checkpoint, after, chunks)


@dataclass(frozen=True, slots=True)
class PartitionWrite:
    """The part of one partition in a write: from ``before`` to ``after``, whose counters are still those of ``before``."""

    partition: Partition
    before: Checkpoint
    after: Checkpoint
    chunks: list[Chunk]
    #: Dead letters that a write cut short has left behind.
    found_dead_letters: int = 0

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Every refused record."""
        return [letter for chunk in self.chunks for letter in chunk.dead_letters]

    def counted(self, stored: int) -> Checkpoint:
        """Return the checkpoint to write, given how many of the events were new."""
        valid = sum(chunk.events.height for chunk in self.chunks)
        return replace(
            self.after,
            consumed=self.before.consumed + sum(chunk.records for chunk in self.chunks) + self.found_dead_letters,
            stored=self.before.stored + stored,
            duplicates=self.before.duplicates + valid - stored,
            dead_letters=self.before.dead_letters + len(self.dead_letters) + self.found_dead_letters,
        )


def fingerprint(record: Record) -> int:
    """Return a checksum (CRC-32) over the timestamp, the key and the value of a record."""
    checksum = zlib.crc32(record.timestamp.to_bytes(8, "big", signed=True))
    return zlib.crc32(record.value or b"", zlib.crc32(record.key or b"", checksum))


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
