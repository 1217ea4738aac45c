"""When things happen: batches are decoded as they come, and written when enough has come or waited long enough.

One batch is decoded while another is written. At most one write is under way; what comes meanwhile waits in the pipeline
until it is as much as a write may hold, then the next batch waits: that is the backpressure.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka.errors import KafkaError

from sinks.stores.checkpoints import Checkpoint
from streams.kafka.transport import CheckpointConsumer, RecordBatch
from streams.pipeline.partition import Partition, Place
from streams.pipeline.pipeline import Pipeline, Write
from streams.pipeline.telemetry import Telemetry
from streams.worker.resume import Resumer

log = logging.getLogger("classpulse.flow")

#: While far behind, a write waits this many times longer for company: larger writes cost less for each event.
CATCHING_UP: Final = 4
#: Rows say little of memory: a refused record may have a megabyte, and is held until it is published.
FLUSH_MAX_BYTES: Final = 128 * 1024 * 1024


class Flow:
    """Moves batches through the pipeline; everything here runs on the event loop.

    ``decode(function, *arguments)`` and ``store(function, *arguments)`` run a step in a thread of its own.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        resumer: Resumer,
        telemetry: Telemetry,
        consumer: Callable[[], CheckpointConsumer],
        decode: Callable[..., Awaitable[Any]],
        store: Callable[..., Awaitable[Any]],
        *,
        flush_max_rows: int,
        flush_interval_ms: int,
    ) -> None:
        self._pipeline = pipeline
        self._resumer = resumer
        self._telemetry = telemetry
        self._consumer = consumer
        self._decode = decode
        self._store = store
        self._flush_max_rows = flush_max_rows
        self._flush_interval_seconds = flush_interval_ms / 1000
        self._oldest_pending: float | None = None
        self._writing: asyncio.Task[None] | None = None
        self.last_tick = self.last_progress = time.monotonic()
        self._backlog_records = 0
        self._last_batch: dict[Place, float] = {}

    async def apply(self, batch: RecordBatch) -> None:
        """Decode one batch and hold it; start a write when enough is held."""
        await self._resumer.done.wait()
        place = (batch.topic, batch.partition)
        self._last_batch[place] = time.monotonic()
        owned = self._pipeline.partitions.get(place)
        if owned is not None and owned.breaker.holds():
            return  # read again after the pause
        found = self._pipeline.following(batch)
        if found is None:
            return
        partition, following = found
        if following.below and await self.is_another_log(place, partition):
            return
        if following.read_again_from is not None:
            await self.read_from(place, following.read_again_from)
        if following.records is None or (following.hole and await self._was_overtaken(place, partition)):
            return
        chunk = await self._decode(self._pipeline.decode_batch, partition, batch, following.records)
        if self._pipeline.partitions.get(place) is not partition:
            return  # a rebalance came in between; whoever owns it now reads it again
        admitted = not chunk.records or partition.breaker.admits(chunk.records, len(chunk.dead_letters), time.monotonic())
        if partition.breaker.holds():
            self._hold_offsets(place, partition)
        if not admitted:
            return
        self._pipeline.hold(partition, chunk)
        self.last_progress = time.monotonic()
        self._oldest_pending = self._oldest_pending or self.last_progress
        if self._pipeline.pending_records >= self._flush_max_rows or self._pipeline.pending_bytes >= FLUSH_MAX_BYTES:
            await self._write_done()
            self._start_write()
        elif self._pipeline.is_fresh:
            # Every key of the first write is read back from the store: with a batch of one partition, that is soon done.
            self._start_write()

    async def tick(self) -> None:
        """Write what has waited long enough; let a trial batch through where a pause is over."""
        self.last_tick = time.monotonic()
        waited_seconds = self.last_tick - (self._oldest_pending or self.last_tick)
        patience = CATCHING_UP if self._backlog_records > self._flush_max_rows else 1
        if waited_seconds >= patience * self._flush_interval_seconds and self._writing is None:
            self._start_write()
        for place, partition in list(self._pipeline.partitions.items()):
            if partition.breaker.holds():
                self.last_progress = self.last_tick  # held on purpose
            if partition.breaker.pause_is_over(self.last_tick):
                self._consumer().resume_place(place)
                await self.read_from(place, partition.next_offset)

    async def write_everything(self) -> None:
        """Write what is held."""
        await self._write_done()
        self._start_write()
        await self._write_done()

    async def save_idle_watermarks(self) -> None:
        """Let the watermarks of silent partitions follow the clock."""
        if self._writing is None and self._resumer.done.is_set() and (moved := self._pipeline.idle_checkpoints()):
            await self._store(self._pipeline.save_checkpoints, moved)

    async def read_from(self, place: Place, offset: int) -> None:
        """Send the consumer to an offset of one partition."""
        try:
            await self._consumer().read_from({place: offset})
        except (KafkaError, TimeoutError) as error:
            # The next batch, or the next assignment, shows that the offset is wrong, and this is tried again.
            log.warning("could not seek %s/%s to %s: %s", *place, offset, error or type(error).__name__)

    def last_batch_of(self, place: Place) -> float:
        """Return when the last batch of a partition came, by the monotonic clock; the first time this is asked counts."""
        return self._last_batch.setdefault(place, time.monotonic())

    def note_backlog(self, records: int) -> None:
        """Take note of how many records wait in Kafka; with none, standing still is no standstill."""
        self._backlog_records = records
        if not records and self._writing is None and not self._pipeline.pending_records:
            self.last_progress = time.monotonic()

    def _start_write(self) -> None:
        if self._writing is None and (write := self._pipeline.take()) is not None:
            self._oldest_pending = None
            self._writing = asyncio.create_task(self._write(write))

    async def _write_done(self) -> None:
        if self._writing is not None:
            await asyncio.wait({self._writing})

    async def _write(self, write: Write) -> None:
        checkpoints: list[Checkpoint] | None = await self._store(self._pipeline.write, write)
        self._writing = None
        self.last_progress = time.monotonic()
        if checkpoints is None:
            log.error("ClickHouse refuses some events; they become dead letters, see `classpulse dlq list`")
            await self._resumer.resume(frozenset(self._pipeline.partitions))
            return
        self._pipeline.finish(write, checkpoints)
        try:
            await self._consumer().show_progress(
                {(point.topic, point.partition): point.next_offset for point in checkpoints}
            )
        except (KafkaError, RuntimeError) as error:
            # A stale generation, most likely. Nothing depends on Kafka's offsets.
            self._telemetry.commit_failures.inc()
            log.warning("Kafka did not take the offsets for lag tools: %s", error)

    async def is_another_log(self, place: Place, partition: Partition) -> bool:
        """Begin a new epoch and return True if the records are those of another log under the same name."""
        try:
            if not await self._resumer.is_another_log(place):
                return False
        except (KafkaError, TimeoutError):
            await self.read_from(place, partition.next_offset)  # it will be seen again
            return True
        log.warning("%s/%s is another log than the one applied so far: it was recreated or truncated", *place)
        await self.write_everything()
        await self._resumer.resume(frozenset(self._pipeline.partitions))
        return True

    async def _was_overtaken(self, place: Place, partition: Partition) -> bool:
        """Take over again if another worker's checkpoint is ahead: it has applied what is missing here, not retention."""
        if await self._store(self._pipeline.stored_position, place) <= partition.checkpoint.position:
            return False
        await self._resumer.resume(frozenset(self._pipeline.partitions))
        return True

    def _hold_offsets(self, place: Place, partition: Partition) -> None:
        self._consumer().pause_place(place)
        self._telemetry.circuit_trips.labels(place[0], str(place[1])).inc()
        log.error(
            "%s/%s: %.0f %% of the recent records are refused; offsets are held for a while, see `classpulse dlq list`",
            *place,
            100 * partition.breaker.refused_share,
        )
