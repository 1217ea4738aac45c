"""The first half of the way: from a batch of Kafka records to a decoded chunk, held until the next write.

Pure but for the clock that is passed in. ``decode_batch`` may run in a thread of its own; everything else belongs to the
thread that owns the partitions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import polars as pl

from schemas.codec.decode import ClockLimits, Decoded, Reason, Record, Reject, decode
from schemas.events.event_types import Family
from schemas.events.pseudonym import Pseudonymizer
from sinks.stores.checkpoints import NO_OFFSET
from sinks.stores.dead_letters import DeadLetter
from sinks.stores.positions import position
from streams.pipeline.partition import Batch, Chunk, Partition, fingerprint


@dataclass(frozen=True, slots=True)
class Following:
    """What a batch means for its partition: the records to apply, or the offset to read again from.

    ``records`` is None if nothing is to be applied, and empty if the log has nothing where the partition moves on.
    """

    records: Sequence[Record] | None = None
    read_again_from: int | None = None
    #: Offsets that Kafka passed over before the batch; 0 unless asking again did not bring them.
    hole: int = 0
    #: Offsets of the batch below the expected one: applied before, or those of another log.
    below: int = 0


def following(partition: Partition, batch: Batch) -> Following:
    """Compare what a batch covers with the next expected offset.

    Offsets below it were applied already, unless the log is another one: that is for the caller to find out. Offsets
    without a record within the batch are the log's own: markers, aborted records, compaction. A batch that begins above
    the expected offset may be a fetch that raced the seek after a rebalance, so the consumer is sent back; if that brings
    the same first offset, Kafka has dropped what was expected (retention).
    """
    first, expected = batch.start, partition.next_offset
    below = max(0, min(expected, batch.next_offset) - first)
    if batch.next_offset <= expected:
        return Following(below=below)
    hole = first - expected
    if hole > 0 and partition.sought != (expected, first):
        # Batches may come that were on their way before the seek: the lowest of them is what asking again must bring.
        before = partition.sought
        lowest = min(first, before[1]) if before is not None and before[0] == expected else first
        partition.sought = (expected, lowest)
        return Following(read_again_from=expected)
    partition.sought = None
    records = [record for record in batch.records if record.offset >= expected] if below else batch.records
    return Following(records, hole=max(0, hole), below=below)


@dataclass(frozen=True, slots=True)
class Before:
    """How far the partition had come before a batch: its epoch, and the latest event time seen; 0: none yet."""

    epoch: int
    latest_us: int


@dataclass(frozen=True, slots=True)
class Decoder:
    """What decoding needs to know; safe to use in any thread, by one at a time."""

    clock: ClockLimits
    out_of_orderness_us: int
    max_value_bytes: int
    pseudonymizer: Pseudonymizer

    def decode_batch(
        self,
        family: Family,
        batch: Batch,
        records: Sequence[Record],
        before: Before,
        now_us: int,
        refused: Mapping[int, str] = MappingProxyType({}),
    ) -> Chunk:
        """Decode ``records``, possibly none; students become pseudonyms here, before anything is kept.

        ``refused`` gives the positions of records that the database does not take, with what it says.
        """
        decoded = decode(
            family,
            records,
            clock=self.clock,
            now_us=now_us,
            max_value_bytes=self.max_value_bytes,
            log=f"/kafka/{batch.topic}/{batch.partition}/{before.epoch}",
        )
        found = _taken_out(decoded, records, before.epoch, refused) if refused else decoded
        events = self.pseudonymizer.apply(found.events)
        times_us = events["time_us"].to_numpy()
        # No expressions: each would be planned for every batch anew, which costs more than what they compute.
        events = events.hstack(
            [
                pl.repeat(batch.partition, len(events), dtype=pl.UInt16, eager=True).alias("partition"),
                (events["offset"] + position(before.epoch, 0)).cast(pl.UInt64).alias("position"),
                pl.Series("late", self._late(times_us, before.latest_us), pl.Boolean),
            ]
        )
        for name in ("offset", "row"):
            events.drop_in_place(name)
        letters = [_dead_letter(batch, reject, records[reject.row], before.epoch) for reject in found.rejects]
        last = records[-1] if len(records) else None
        return Chunk(
            events=events,
            dead_letters=letters,
            records=len(records),
            next_offset=batch.next_offset,
            latest_us=int(times_us.max(initial=0)),
            oldest_ms=records[0].timestamp if last else 0,
            last_record_ms=last.timestamp if last else 0,
            last_offset=last.offset if last else NO_OFFSET,
            last_fingerprint=fingerprint(last) if last else 0,
            size_bytes=int(events.estimated_size()) + sum(letter.size_bytes for letter in letters),
        )

    def _late(self, times_us: npt.NDArray[np.int64], latest_us: int) -> npt.NDArray[np.bool_]:
        """Whether an event is behind the watermark that those before it in the log make; independent of how they came."""
        seen_us = np.maximum.accumulate(np.concatenate([[latest_us], times_us[:-1]]))[: len(times_us)]
        return times_us < seen_us - self.out_of_orderness_us


def _taken_out(decoded: Decoded, records: Sequence[Record], epoch: int, refused: Mapping[int, str]) -> Decoded:
    texts = {row: refused.get(position(epoch, record.offset)) for row, record in enumerate(records)}
    rows = [row for row in decoded.events["row"] if texts[row] is not None]
    rejects = [Reject(row, Reason.DATABASE, None, texts[row] or "") for row in rows]
    return Decoded(decoded.events.filter(~pl.col("row").is_in(rows)), [*decoded.rejects, *rejects])


def _dead_letter(batch: Batch, reject: Reject, record: Record, epoch: int) -> DeadLetter:
    return DeadLetter(
        topic=batch.topic,
        partition=batch.partition,
        position=position(epoch, record.offset),
        offset=record.offset,
        timestamp_ms=record.timestamp,
        reason=reject.reason,
        field=reject.field or "",
        detail=reject.detail,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )
