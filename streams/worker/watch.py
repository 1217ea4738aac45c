"""What the worker says of itself: gauges for Prometheus, health for supervisors; and a nudge where its reader stands still.

Faust and aiokafka can come to a standstill that neither notices. It is mended from here:

- A worker that took no records for ``max_poll_interval`` leaves its group, and aiokafka joins again only once records are
  asked for; Faust asks for none until it has joined. :meth:`CheckpointConsumer.touch` counts as asking.
- A partition with records of which none come, whatever the reason, is read again from where it stands.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from streams.kafka.transport import CheckpointConsumer, LogEnd
from streams.pipeline.partition import Partition, Place
from streams.pipeline.pipeline import Pipeline
from streams.pipeline.telemetry import Telemetry
from streams.web.server import Health
from streams.worker.flow import Flow
from streams.worker.resume import Resumer

log = logging.getLogger("classpulse.watch")

#: The loop ticks twenty times a second, and a batch or a write takes seconds: after a minute without any, something hangs.
STUCK_SECONDS: Final = 60.0
#: A partition with records waits seconds for its turn.
SILENT_SECONDS: Final = 30.0
#: Kafka may have no more to say than it said: ask rarely.
NUDGE_AGAIN_SECONDS: Final = 600.0
#: A producer's transaction ends within its timeout, a minute unless it asks for more.
OPEN_TRANSACTION_SECONDS: Final = 120.0


class Watch:
    """Looks every second; ``waits`` returns what the worker waits for, knowingly."""

    def __init__(
        self,
        pipeline: Pipeline,
        flow: Flow,
        resumer: Resumer,
        telemetry: Telemetry,
        consumer: Callable[[], CheckpointConsumer],
        waits: Callable[[], Sequence[str]],
    ) -> None:
        self._pipeline = pipeline
        self._flow = flow
        self._resumer = resumer
        self._telemetry = telemetry
        self._consumer = consumer
        self._waits = waits
        self._nudged: dict[Place, tuple[int, float]] = {}
        #: Records of each partition that are in Kafka and not read yet.
        self._waiting: dict[Place, int] = {}
        #: The first offset of the transaction that holds a partition back, since when, and whether that was said.
        self._held_back: dict[Place, tuple[int, float, bool]] = {}
        self._flowing_at = time.monotonic()
        self.joined = False

    async def step(self) -> None:
        """Keep the gauges current, silent watermarks moving, and the reader awake."""
        if not self.joined:
            return
        now_seconds = time.monotonic()
        if self._consumer().flow_active:
            self._flowing_at = now_seconds
        elif not self._waits():
            self._consumer().touch()
        await self._flow.save_idle_watermarks()
        waiting: dict[Place, int] = {}
        for place, partition in list(self._pipeline.partitions.items()):
            if self._pipeline.partitions.get(place) is not partition:
                continue  # assigned anew while another one was looked after
            end = self._consumer().log_end(place) or LogEnd(0, 0)
            waiting[place] = max(0, end.readable - partition.next_offset)
            self._show(place, partition, end.readable, is_held=partition.breaker.is_open and waiting[place] > 0)
            self._note_open_transaction(place, end, now_seconds)
            if waiting[place] and self._stands_still(place, partition, now_seconds):
                await self._nudge(place, partition, now_seconds)
        self._waiting = waiting
        self._flow.note_backlog(sum(waiting.values()))

    @property
    def is_reading(self) -> bool:
        """Whether partitions are assigned and read."""
        return self.joined and self._consumer().flow_active

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
        self._held_back.clear()

    def alive(self) -> Health:
        """Say whether a supervisor should restart the process."""
        if not self.joined or self._waits():
            return Health()
        silent_seconds = time.monotonic() - min(self._flow.last_tick, self._flow.last_progress)
        if silent_seconds > STUCK_SECONDS:
            return Health((f"no progress for {silent_seconds:.0f} s",))
        outside_seconds = time.monotonic() - self._flowing_at
        if outside_seconds > STUCK_SECONDS:
            return Health((f"not in the consumer group for {outside_seconds:.0f} s",))
        return Health()

    def ready(self) -> Health:
        """Say what keeps the worker from working, if anything does."""
        problems = [*self._waits()]
        if not problems and not self.is_reading:
            problems.append("not in the consumer group yet")
        problems += [
            f"{topic}/{number}: {100 * partition.breaker.refused_share:.0f} % of the recent records are refused; "
            "offsets are held"
            for (topic, number), partition in list(self._pipeline.partitions.items())
            if partition.breaker.is_open and self._waiting.get((topic, number))
        ]
        return Health((*self.alive().problems, *problems))

    def _show(self, place: Place, partition: Partition, end: int, *, is_held: bool) -> None:
        labels, clock_seconds = (place[0], str(place[1])), time.time()
        lag = max(0, end - partition.checkpoint.next_offset)
        if not lag:
            partition.read_up_ms = self._consumer().log_end_seen_ms(place)
        applied_ms = max(partition.last_record_ms, partition.read_up_ms)
        behind_seconds = max(0.0, clock_seconds - applied_ms / 1000) if lag and applied_ms else 0.0
        self._telemetry.lag_records.labels(*labels).set(lag)
        self._telemetry.lag_seconds.labels(*labels).set(behind_seconds)
        self._telemetry.circuit_open.labels(*labels).set(is_held)
        if partition.watermark.value_us:
            delay_seconds = clock_seconds - partition.watermark.value_us / 1e6
            self._telemetry.watermark_delay_seconds.labels(*labels).set(delay_seconds)

    def _note_open_transaction(self, place: Place, end: LogEnd, now_seconds: float) -> None:
        """Show for how long a transaction has held back what comes after it; say so once if that is long."""
        held = self._held_back.get(place)
        if end.written <= end.readable:
            held = None
        elif held is None or held[0] != end.readable:
            held = (end.readable, now_seconds, False)
        open_seconds = now_seconds - held[1] if held else 0.0
        self._telemetry.open_transaction_seconds.labels(place[0], str(place[1])).set(open_seconds)
        if held and not held[2] and open_seconds > OPEN_TRANSACTION_SECONDS:
            held = (*held[:2], True)
            log.warning(
                "%s/%s: %s records wait for a transaction that is open since offset %s; its producer must commit or abort",
                *place,
                end.written - end.readable,
                end.readable,
            )
        if held:
            self._held_back[place] = held
        else:
            self._held_back.pop(place, None)

    def _stands_still(self, place: Place, partition: Partition, now_seconds: float) -> bool:
        if partition.breaker.holds() or self._waits() or not self._resumer.done.is_set():
            return False
        offset, nudged_at = self._nudged.get(place, (-1, 0.0))
        again = offset != partition.next_offset or now_seconds - nudged_at > NUDGE_AGAIN_SECONDS
        return again and now_seconds - self._flow.last_batch_of(place) > SILENT_SECONDS

    async def _nudge(self, place: Place, partition: Partition, now_seconds: float) -> None:
        self._nudged[place] = (partition.next_offset, now_seconds)
        if await self._flow.is_another_log(place, partition):
            return  # also if retention, or a deletion of records, has dropped all that was to be read
        self._telemetry.nudges.labels(place[0], str(place[1])).inc()
        log.warning("%s/%s stood still at %s; reading on from there", *place, partition.next_offset)
        self._consumer().resume_place(place)
        await self._flow.read_from(place, partition.next_offset)
