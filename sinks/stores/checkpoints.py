"""Checkpoints: how far each partition has been applied. ClickHouse owns them; Kafka's committed offset is for show."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl

from sinks.clickhouse.client import Warehouse
from sinks.stores.positions import position

TABLE = "checkpoints"
#: In place of an offset: no record was applied yet.
NO_OFFSET: Final = -1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of one partition below ``next_offset``; the counters run since the beginning, over all epochs.

    ``last_fingerprint`` is that of the last record applied in this epoch, at ``last_offset`` (-1: none), by which a
    recreated topic is recognised. From there to ``next_offset`` the log holds no record.
    """

    topic: str
    partition: int
    epoch: int = 0
    next_offset: int = 0
    last_fingerprint: int = 0
    max_time_us: int = 0
    watermark_us: int = 0
    consumed: int = 0
    stored: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    last_offset: int = NO_OFFSET

    @property
    def position(self) -> int:
        """Everything below it is applied."""
        return position(self.epoch, self.next_offset)


class CheckpointStore:
    """The table ``checkpoints``."""

    def __init__(self, warehouse: Warehouse, worker: str) -> None:
        self._warehouse = warehouse
        self._worker = worker

    def save(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Write checkpoints; of two with the same position the later written counts."""
        rows = [
            {
                "topic": point.topic,
                "partition": point.partition,
                "position": point.position,
                "epoch": point.epoch,
                "next_offset": point.next_offset,
                "last_offset": point.last_offset,
                "last_fingerprint": point.last_fingerprint,
                "max_time_us": point.max_time_us,
                "watermark_us": point.watermark_us,
                "consumed": point.consumed,
                "stored": point.stored,
                "duplicates": point.duplicates,
                "dead_letters": point.dead_letters,
                "worker": self._worker,
            }
            for point in checkpoints
        ]
        self._warehouse.insert(TABLE, pl.DataFrame(rows, schema_overrides={"position": pl.UInt64}))

    def load(self) -> dict[tuple[str, int], Checkpoint]:
        """Return the latest checkpoint of every partition."""
        found = self._warehouse.query(
            "read the checkpoints",
            "SELECT topic, toInt64(partition) AS partition, toInt64(epoch) AS epoch, toInt64(next_offset) AS next_offset,"
            " last_offset, toInt64(last_fingerprint) AS last_fingerprint,"
            " toUnixTimestamp64Micro(max_time) AS max_time_us, toUnixTimestamp64Micro(watermark) AS watermark_us,"
            " toInt64(consumed) AS consumed, toInt64(stored) AS stored, toInt64(duplicates) AS duplicates,"
            " toInt64(dead_letters) AS dead_letters FROM checkpoints FINAL",
        )
        return {(row["topic"], row["partition"]): Checkpoint(**row) for row in found.iter_rows(named=True)}
