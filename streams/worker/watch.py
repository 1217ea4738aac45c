"""What the worker says of itself: gauges for Prometheus, health for supervisors; and what it does about a stalled reader.

Faust and aiokafka can come to a standstill that neither notices. It is ended from here:

- A worker that took no records for ``max_poll_interval`` leaves its group, and aiokafka joins again only once records are
  asked for; Faust asks for none until it has joined. :meth:`CheckpointConsumer.touch` counts as asking.
- A stalled partition, one with records of which none come, whatever the reason, is read again from where it stands.

When the process itself makes no progress, the stacks of all its threads are logged before a supervisor restarts it.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Final

from streams.kafka.transport import CheckpointConsumer, LogEnd
from streams.pipeline.assignment import Assignment
from streams.pipeline.batch import TopicPartition
from streams.pipeline.clock import Clock
from streams.pipeline.partition import Partition
from streams.pipeline.partitions import Partitions
from streams.pipeline.pipeline import Pipeline
from streams.pipeline.telemetry import Telemetry
from streams.web.server import Health

log = logging.getLogger("classpulse.watch")

#: The loop ticks twenty times a second, and a batch or a write takes seconds: after a minute without any, something hangs.
STUCK_SECONDS: Final = 60.0
#: A partition with records waits seconds for its turn.
SILENT_SECONDS: Final = 30.0
#: Kafka may have no more to say than it said: ask rarely.
STALLED_AGAIN_SECONDS: Final = 600.0
#: A producer's transaction ends within its timeout, a minute unless it asks for more.
OPEN_TRANSACTION_SECONDS: Final = 120.0


class Watch:
    """Looks every second; ``waits`` returns what the worker waits for, knowingly."""

    def __init__(
        self,
        partitions: Partitions,
        pipeline: Pipeline,
        assignment: Assignment,
        telemetry: Telemetry,
        clock: Clock,
        consumer: Callable[[], CheckpointConsumer],
        waits: Callable[[], Sequence[str]],
    ) -> None:
        self._partitions = partitions
        self._pipeline = pipeline
        self._assignment = assignment
        self._telemetry = telemetry
        self._clock = clock
        self._consumer = consumer
        self._waits = waits
        #: Where a stalled partition was read on, and when.
        self._read_on: dict[TopicPartition, tuple[int, float]] = {}
        #: Records of each partition that are in Kafka and not read yet.
        self._waiting: dict[TopicPartition, int] = {}
        #: The first offset of the open transaction behind which a partition waits, since when, and whether that was said.
        self._open_transactions: dict[TopicPartition, tuple[int, float, bool]] = {}
        self._flowing_at = clock.monotonic_seconds()
        self._stacks_logged = False
        self.joined = False

    async def step(self) -> None:
        """Keep the gauges current, silent watermarks moving, and the reader awake."""
        if not self.joined:
            return
        now_seconds = self._clock.monotonic_seconds()
        if self._consumer().flow_active:
            self._flowing_at = now_seconds
        elif not self._waits():
            self._consumer().touch()
        await self._pipeline.save_idle_watermarks()
        waiting: dict[TopicPartition, int] = {}
        for partition in self._partitions.all():
            if not self._partitions.is_current(partition):
                continue  # assigned anew while another one was looked after
            one = partition.topic_partition
            end = self._consumer().log_end(one) or LogEnd(0, 0)
            waiting[one] = max(0, end.readable - partition.next_offset)
            self._show(partition, end.readable, is_paused=not partition.breaker.is_closed and waiting[one] > 0)
            self._note_open_transaction(one, end, now_seconds)
            if waiting[one] and self._is_stalled(partition, now_seconds):
                await self._read_on_from(partition, now_seconds)
        self._waiting = waiting
        self._pipeline.note_backlog(sum(waiting.values()))

    @property
    def is_reading(self) -> bool:
        """Whether partitions are assigned and read."""
        return self.joined and self._consumer().flow_active

    def note_assignment(self) -> None:
        """Take note that partitions were assigned."""
        if not self.joined:
            self._telemetry.started_timestamp.set(self._clock.wall_us() / 1e6)
        self.joined = True

    def forget_gauges(self) -> None:
        """Show no values of partitions that another worker may own from now on."""
        shown = self._telemetry
        for gauge in (
            shown.lag_records,
            shown.lag_seconds,
            shown.watermark_delay_seconds,
            shown.circuit_open,
            shown.open_transaction_seconds,
        ):
            gauge.clear()
        self._open_transactions.clear()

    def alive(self) -> Health:
        """Say whether a supervisor should restart the process."""
        if not self.joined or self._waits():
            return Health()
        silent_seconds = self._clock.monotonic_seconds() - min(
            self._pipeline.last_poll_seconds, self._pipeline.last_progress_seconds
        )
        if silent_seconds > STUCK_SECONDS:
            self._log_stacks(silent_seconds)
            return Health((f"no progress for {silent_seconds:.0f} s",))
        self._stacks_logged = False
        outside_seconds = self._clock.monotonic_seconds() - self._flowing_at
        if outside_seconds > STUCK_SECONDS:
            return Health((f"not in the consumer group for {outside_seconds:.0f} s",))
        return Health()

    def ready(self) -> Health:
        """Say what keeps the worker from working, if anything does."""
        problems = [*self._waits()]
        if not problems and not self.is_reading:
            problems.append("not in the consumer group yet")
        problems += [
            "{}/{}: {:.0f} % of the recent records are rejected; the partition is paused".format(
                *partition.topic_partition, 100 * partition.breaker.rejected_share
            )
            for partition in self._partitions.all()
            if not partition.breaker.is_closed and self._waiting.get(partition.topic_partition)
        ]
        return Health((*self.alive().problems, *problems))

    def _log_stacks(self, silent_seconds: float) -> None:
        """Log once where each thread is; called by the thread of the web pages, which still runs."""
        if self._stacks_logged:
            return
        self._stacks_logged = True
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        stacks = [
            f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
            for ident, frame in sys._current_frames().items()  # noqa: SLF001 - the documented way to see every thread
        ]
        log.error("no progress for %.0f s; the stacks of all threads:\n%s", silent_seconds, "\n".join(stacks))

    def _show(self, partition: Partition, end: int, *, is_paused: bool) -> None:
        topic, number = partition.topic_partition
        labels, clock_seconds = (topic, str(number)), self._clock.wall_us() / 1e6
        lag = max(0, end - partition.checkpoint.next_offset)
        if not lag:
            partition.read_up_ms = self._consumer().log_end_seen_ms((topic, number))
        applied_ms = max(partition.last_record_ms, partition.read_up_ms)
        behind_seconds = max(0.0, clock_seconds - applied_ms / 1000) if lag and applied_ms else 0.0
        self._telemetry.lag_records.labels(*labels).set(lag)
        self._telemetry.lag_seconds.labels(*labels).set(behind_seconds)
        self._telemetry.circuit_open.labels(*labels).set(is_paused)
        if partition.watermark.value_us:
            delay_seconds = clock_seconds - partition.watermark.value_us / 1e6
            self._telemetry.watermark_delay_seconds.labels(*labels).set(delay_seconds)

    def _note_open_transaction(self, one: TopicPartition, end: LogEnd, now_seconds: float) -> None:
        """Show for how long a transaction has held back what comes after it; say so once if that is long."""
        known = self._open_transactions.get(one)
        if end.written <= end.readable:
            known = None
        elif known is None or known[0] != end.readable:
            known = (end.readable, now_seconds, False)
        open_seconds = now_seconds - known[1] if known else 0.0
        self._telemetry.open_transaction_seconds.labels(one[0], str(one[1])).set(open_seconds)
        if known and not known[2] and open_seconds > OPEN_TRANSACTION_SECONDS:
            known = (*known[:2], True)
            log.warning(
                "%s/%s: %s records wait for a transaction that is open since offset %s; its producer must commit or abort",
                *one,
                end.written - end.readable,
                end.readable,
            )
        if known:
            self._open_transactions[one] = known
        else:
            self._open_transactions.pop(one, None)

    def _is_stalled(self, partition: Partition, now_seconds: float) -> bool:
        if partition.breaker.is_paused or self._waits() or not self._assignment.complete.is_set():
            return False
        offset, read_on_at = self._read_on.get(partition.topic_partition, (-1, 0.0))
        again = offset != partition.next_offset or now_seconds - read_on_at > STALLED_AGAIN_SECONDS
        return again and now_seconds - self._pipeline.last_batch_seconds(partition.topic_partition) > SILENT_SECONDS

    async def _read_on_from(self, partition: Partition, now_seconds: float) -> None:
        topic, number = partition.topic_partition
        self._read_on[topic, number] = (partition.next_offset, now_seconds)
        if await self._pipeline.is_another_log(partition):
            return  # also if retention, or a deletion of records, has dropped all that was to be read
        self._telemetry.stalled.labels(topic, str(number)).inc()
        log.warning("%s/%s is stalled at %s; reading on from there", topic, number, partition.next_offset)
        self._consumer().resume_partition((topic, number))
        await self._pipeline.seek(partition, partition.next_offset)
