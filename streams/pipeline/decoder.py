"""From a batch of Kafka records to a decoded chunk: columns, pseudonyms, positions, dead letters.

It knows no partition, and the time is passed in, so it may run in any thread.
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
from streams.pipeline.batch import Batch, Chunk, fingerprint


@dataclass(frozen=True, slots=True)
class Before:
    """How far the partition had come before a batch: its epoch, and the latest event time seen; 0: none yet."""

    epoch: int
    latest_us: int


@dataclass(frozen=True, slots=True)
class Decoder:
    """What decoding needs to know."""

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
        rejected: Mapping[int, str] = MappingProxyType({}),
    ) -> Chunk:
        """Decode ``records``, possibly none; students become pseudonyms here, before anything is kept.

        ``rejected`` gives the positions of records that the database does not take, with what it says.
        """
        decoded = decode(
            family,
            records,
            clock=self.clock,
            now_us=now_us,
            max_value_bytes=self.max_value_bytes,
            log=f"/kafka/{batch.topic}/{batch.partition}/{before.epoch}",
        )
        found = _without_rejected(decoded, records, before.epoch, rejected) if rejected else decoded
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


def _without_rejected(decoded: Decoded, records: Sequence[Record], epoch: int, rejected: Mapping[int, str]) -> Decoded:
    texts = {row: rejected.get(position(epoch, record.offset)) for row, record in enumerate(records)}
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
