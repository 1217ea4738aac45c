"""One partition as this worker sees it: how far it is, and what waits to be written."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import polars as pl

from schemas.codec import Record
from schemas.event_types import Family
from sinks.checkpoints import Checkpoint
from sinks.dead_letters import DeadLetter
from sinks.positions import position
from streams.core.watermark import Watermark


class Batch(Protocol):
    """Records of one partition, in order of their offsets."""

    @property
    def topic(self) -> str:
        """Kafka topic."""

    @property
    def partition(self) -> int:
        """Kafka partition."""

    @property
    def records(self) -> Sequence[Record]:
        """At least one record."""


@dataclass(slots=True)
class Pending:
    """What has been decoded since the last write."""

    events: list[pl.DataFrame] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    records: int = 0
    oldest_ms: int | None = None
    newest_ms: int = 0


@dataclass(slots=True)
class Partition:
    """The checkpoint, the watermark ahead of it, and what waits to be written."""

    family: Family
    checkpoint: Checkpoint
    next_offset: int
    watermark: Watermark
    last_record_us: int
    pending: Pending = field(default_factory=Pending)
    #: The offset the consumer was sent back to, until a batch shows whether the hole is real.
    sought: int | None = None

    @classmethod
    def resumed(cls, family: Family, checkpoint: Checkpoint, now_us: int) -> "Partition":
        """Return the partition as it stands at ``checkpoint``."""
        watermark = Watermark(checkpoint.max_time_us, checkpoint.watermark_us)
        return cls(family, checkpoint, checkpoint.next_offset, watermark, now_us)

    def position(self, offset: int) -> int:
        """Position of ``offset`` in the present epoch."""
        return position(self.checkpoint.epoch, offset)

    def advanced(self, *, stored: int, duplicates: int) -> Checkpoint:
        """Return the checkpoint after everything pending is written."""
        before, pending = self.checkpoint, self.pending
        return replace(
            before,
            next_offset=self.next_offset,
            max_time_us=self.watermark.max_time_us,
            watermark_us=self.watermark.value_us,
            consumed=before.consumed + pending.records,
            stored=before.stored + stored,
            duplicates=before.duplicates + duplicates,
            dead_letters=before.dead_letters + len(pending.dead_letters),
        )


def resume_point(saved: Checkpoint | None, topic: str, partition: int, log_start: int, log_end: int) -> Checkpoint:
    """Return where to go on, given the saved checkpoint and the log's first and next offset.

    A checkpoint outside the log means that the topic was recreated or truncated: a new epoch begins at the log's start.
    """
    if saved is None:
        return Checkpoint(topic, partition, next_offset=log_start)
    if log_start <= saved.next_offset <= log_end:
        return saved
    return replace(saved, epoch=saved.epoch + 1, next_offset=log_start)
