"""The path of an event, from a batch of Kafka records to queryable metrics and a checkpoint:

    submit    follow -> decode -> admit -> keep     a batch becomes a chunk that waits in its partition
    _write    take -> write -> finish -> commit     what waits is written, once it is enough or has waited long enough

Where to read on: ``partition.py`` says what follows what, ``decoder.py`` makes columns of records, ``breaker.py`` admits
them, ``writer.py`` drops duplicates, folds (``streams/core``) and stores (``sinks/stores``), ``assignment.py`` begins
anew after a rebalance, and ``states.py`` has every state that a partition can be in.

All of this runs on the event loop, which alone changes the partitions. One thread decodes and one writes; a batch is
decoded while another is written. At most one write is under way: what comes meanwhile waits in the partitions until it is
as much as a write may take, then the next batch waits as well. That is the backpressure.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiokafka.errors import KafkaError

from schemas.codec.decode import Record
from sinks.stores.checkpoints import Checkpoint
from streams.pipeline.assignment import Assignment
from streams.pipeline.batch import Batch, Chunk, Consumer, TopicPartition
from streams.pipeline.clock import Clock
from streams.pipeline.decoder import Before, Decoder
from streams.pipeline.partition import Partition
from streams.pipeline.partitions import Partitions, Write
from streams.pipeline.rules import Rules
from streams.pipeline.telemetry import Telemetry
from streams.pipeline.threads import OneThread
from streams.pipeline.writer import Rejected, Writer

log = logging.getLogger("classpulse.pipeline")

#: While far behind, a write waits this many times longer for company: larger writes cost less for each event.
CATCHING_UP: Final = 4
#: Rows say little of memory: a rejected record may have a megabyte, and is kept until it is published.
FLUSH_MAX_BYTES: Final = 128 * 1024 * 1024


class Pipeline:
    """Moves batches along the path."""

    def __init__(
        self,
        partitions: Partitions,
        assignment: Assignment,
        decoder: Decoder,
        writer: Writer,
        rules: Rules,
        telemetry: Telemetry,
        clock: Clock,
        consumer: Callable[[], Consumer],
        decoding: OneThread,
        writing: OneThread,
    ) -> None:
        self._partitions = partitions
        self._assignment = assignment
        self._decoder = decoder
        self._writer = writer
        self._rules = rules
        self._telemetry = telemetry
        self._clock = clock
        self._consumer = consumer
        self._decoding = decoding
        self._writing = writing
        self._write_under_way: asyncio.Task[None] | None = None
        self._waiting_since: float | None = None
        self._backlog_records = 0
        self._last_batch: dict[TopicPartition, float] = {}
        self.last_poll_seconds = self.last_progress_seconds = clock.monotonic_seconds()

    # The path

    async def submit(self, batch: Batch) -> None:
        """Take a batch to where it waits for the next write; start that if enough waits."""
        await self._assignment.complete.wait()
        one = (batch.topic, batch.partition)
        self._last_batch[one] = self._clock.monotonic_seconds()
        partition = self._partitions.get(one)
        if partition is None or partition.breaker.is_paused:
            return  # whoever is assigned it reads it; what is paused is read again after the pause
        records = await self._follow(partition, batch)
        if records is None:
            return
        chunk = await self._decode(partition, batch, records)
        if not self._partitions.is_current(partition):
            return  # assigned anew meanwhile, here or elsewhere, and read again from the checkpoint
        if self._admit(partition, chunk):
            self._partitions.keep(partition, chunk)
            await self._write_if_enough()

    async def poll(self) -> None:
        """Write what has waited long enough; let a trial batch through where a pause is over. Called every tick."""
        self.last_poll_seconds = now_seconds = self._clock.monotonic_seconds()
        waited_seconds = now_seconds - (self._waiting_since or now_seconds)
        patience = CATCHING_UP if self._backlog_records > self._rules.flush_max_rows else 1
        if waited_seconds >= patience * self._rules.flush_interval_seconds:
            self._start_write()
        for partition in self._partitions.all():
            if partition.breaker.is_paused:
                self.last_progress_seconds = now_seconds  # it waits on purpose
            if partition.breaker.pause_is_over(now_seconds):
                self._consumer().resume_partition(partition.topic_partition)
                await self.seek(partition, partition.next_offset)

    async def join(self) -> None:
        """Write everything that waits."""
        await self._write_done()
        self._start_write()
        await self._write_done()

    async def _follow(self, partition: Partition, batch: Batch) -> Sequence[Record] | None:
        """Return the records that follow what was applied, possibly none; None if the batch is not to be applied."""
        found = self._partitions.follow(partition, batch)
        if found.below and await self.is_another_log(partition):
            return None
        if found.read_again_from is not None:
            await self.seek(partition, found.read_again_from)
        if found.gap and await self._is_overtaken(partition):
            return None
        return found.records

    async def _decode(self, partition: Partition, batch: Batch, records: Sequence[Record]) -> Chunk:
        """Turn records into columns and dead letters."""
        before = Before(partition.checkpoint.epoch, partition.watermark.max_time_us)
        rejected = self._partitions.rejected_of(partition.topic_partition)
        self._telemetry.batch_rows.observe(len(records))
        return await self._decoding.run(
            self._timed_decode, partition, batch, records, before, self._clock.wall_us(), rejected
        )

    def _admit(self, partition: Partition, chunk: Chunk) -> bool:
        """Return whether to apply a chunk; pause its partition if too much of what comes is rejected."""
        breaker, now_seconds = partition.breaker, self._clock.monotonic_seconds()
        if not chunk.records:
            return True
        admitted = breaker.admits(chunk.records, len(chunk.dead_letters), now_seconds)
        if breaker.is_paused:
            topic, number = partition.topic_partition
            self._consumer().pause_partition((topic, number))
            self._telemetry.circuit_trips.labels(topic, str(number)).inc()
            log.error(
                "%s/%s: %.0f %% of the recent records are rejected; the partition is paused for a while, see "
                "`classpulse dlq list`",
                topic,
                number,
                100 * breaker.rejected_share,
            )
        return admitted

    async def _write_if_enough(self) -> None:
        self.last_progress_seconds = self._clock.monotonic_seconds()
        self._waiting_since = self._waiting_since or self.last_progress_seconds
        waiting = self._partitions
        if waiting.pending_records >= self._rules.flush_max_rows or waiting.pending_bytes >= FLUSH_MAX_BYTES:
            await self._write_done()
            self._start_write()
        elif waiting.is_fresh:
            # Every key of the first write is read back from the store: with a batch of one partition, that is soon done.
            self._start_write()

    def _start_write(self) -> None:
        if self._write_under_way is None and (write := self._partitions.take()) is not None:
            self._waiting_since = None
            self._write_under_way = asyncio.create_task(self._write(write))

    async def _write(self, write: Write) -> None:
        written = await self._writing.run(self._writer.write, write)
        self._write_under_way = None
        self.last_progress_seconds = self._clock.monotonic_seconds()
        if isinstance(written, Rejected):
            log.error("ClickHouse rejects some events; they become dead letters, see `classpulse dlq list`")
            self._partitions.note_rejected(written.records)
            await self._assignment.assign_again()
        else:
            self._partitions.finish(write, written)
            await self._commit(written)

    async def _write_done(self) -> None:
        if self._write_under_way is not None:
            await asyncio.wait({self._write_under_way})

    async def _commit(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Commit offsets to Kafka. Lag tools read them; nothing else depends on them."""
        try:
            await self._consumer().commit_offsets({(one.topic, one.partition): one.next_offset for one in checkpoints})
        except (KafkaError, RuntimeError) as error:  # a stale generation, most likely
            self._telemetry.commit_failures.inc()
            log.warning("Kafka did not take the offsets for lag tools: %s", error)

    def _timed_decode(
        self,
        partition: Partition,
        batch: Batch,
        records: Sequence[Record],
        before: Before,
        now_us: int,
        rejected: Mapping[int, str],
    ) -> Chunk:
        with self._telemetry.stage("decode"):
            return self._decoder.decode_batch(partition.family, batch, records, before, now_us, rejected)

    # Beside the path

    async def seek(self, partition: Partition, offset: int) -> None:
        """Send the consumer to an offset of one partition."""
        try:
            await self._consumer().seek_offsets({partition.topic_partition: offset})
        except (KafkaError, TimeoutError) as error:
            # The next batch, or the next assignment, shows that the offset is wrong, and this is tried again.
            reason = str(error) or type(error).__name__
            log.warning("could not seek %s/%s to %s: %s", *partition.topic_partition, offset, reason)

    async def is_another_log(self, partition: Partition) -> bool:
        """Begin a new epoch and return True if the records are those of another log under the same name."""
        try:
            if not await self._assignment.is_another_log(partition):
                return False
        except (KafkaError, TimeoutError):
            await self.seek(partition, partition.next_offset)  # it will be seen again
            return True
        topic_partition = partition.topic_partition
        log.warning("%s/%s is another log than the one applied so far: it was recreated or truncated", *topic_partition)
        await self.join()
        await self._assignment.assign_again()
        return True

    async def _is_overtaken(self, partition: Partition) -> bool:
        """Begin anew if another worker's checkpoint is ahead: it has applied what is missing here, not retention."""
        stored = await self._writing.run(self._writer.stored_position, partition.topic_partition)
        if stored <= partition.checkpoint.position:
            return False
        await self._assignment.assign_again()
        return True

    async def save_idle_watermarks(self) -> None:
        """Let the watermarks of silent partitions follow the clock."""
        if self._write_under_way is None and self._assignment.complete.is_set():
            moved = self._partitions.idle_checkpoints()
            if moved:
                await self._writing.run(self._writer.save_checkpoints, moved)

    def last_batch_seconds(self, topic_partition: TopicPartition) -> float:
        """Return when the last batch of a partition came, by the monotonic clock; the first time this is asked counts."""
        return self._last_batch.setdefault(topic_partition, self._clock.monotonic_seconds())

    def note_backlog(self, records: int) -> None:
        """Take note of how many records wait in Kafka; with none, making no progress is no standstill."""
        self._backlog_records = records
        if not records and self._write_under_way is None and not self._partitions.pending_records:
            self.last_progress_seconds = self._clock.monotonic_seconds()
