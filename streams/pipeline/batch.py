"""What goes along the path: a batch of records, the chunk it is decoded to; and what is asked of the Kafka consumer."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from schemas.codec.decode import Record
from sinks.stores.dead_letters import DeadLetter

#: A topic's name and a partition's number.
TopicPartition = tuple[str, int]
#: The first offset of each log, and the next one that may be read.
Logs = Mapping[TopicPartition, tuple[int, int]]


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
    #: Approximate size in memory.
    size_bytes: int = 0


class Consumer(Protocol):
    """What the path asks of the Kafka consumer; every method raises ``KafkaError`` or ``TimeoutError`` if Kafka fails."""

    async def logs(self, partitions: frozenset[TopicPartition]) -> Logs:
        """Return the first and the next readable offset of each log."""

    async def seek_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets; batches that are on their way may still come."""

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets, for lag tools only."""

    def pause_partition(self, partition: TopicPartition) -> None:
        """Fetch no more of a partition."""

    def resume_partition(self, partition: TopicPartition) -> None:
        """Fetch a partition again, if it is still assigned."""


def fingerprint(record: Record) -> int:
    """Return a checksum (CRC-32) over the timestamp, the key and the value of a record."""
    checksum = zlib.crc32(record.timestamp.to_bytes(8, "big", signed=True))
    return zlib.crc32(record.value or b"", zlib.crc32(record.key or b"", checksum))
