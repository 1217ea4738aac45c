"""Faust's Kafka transport, changed so that batches are processed whole and ClickHouse owns the offsets.

It differs from Faust's own in these ways:

1. :class:`BatchScheduler` delivers one message for each topic partition and fetch, which covers a range of the log.
2. :class:`CheckpointConsumer` resumes from the checkpoints in ClickHouse, never from Kafka's committed offsets; those are
   written after each flush for lag tools only.
3. It drops no batch as already read, and leaves no partition out of a fetch because its batch is still waiting.
4. It reads committed records only, with smaller fetches and shorter waits.
5. It waits for a broker at its start, where Faust would fail.
6. It joins its group again after a pause, and leaves it at a stop only if ``leave_group`` says so.

Why: Faust's per-record path is the bottleneck, and its acknowledgements can run ahead of what was stored
(``docs/decisions/0001``). Written against faust-streaming 0.15.3 and aiokafka 0.14.0, which are pinned.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, cast

import faust
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition
from faust.transport.drivers import aiokafka as driver
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP, Message
from faust.types.transports import ConsumerT

from schemas.events.event_types import FAMILIES
from streams.kafka.fetch.batches import Fetched
from streams.pipeline.batch import Logs, TopicPartition

#: Assigns partitions, and returns where to read on as far as that is known soon.
Assign = Callable[[frozenset[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]
EVENT_TOPICS = frozenset(family.topic for family in FAMILIES)
#: One answer of Kafka holds at most so many full partitions; the next comes while it is decoded.
FETCHED_PARTITIONS: Final = 2
#: Kafka may wait so long for company before it answers that little or nothing is there. aiokafka asks a broker once at a
#: time, and a broker that does not wake a waiting request makes all later records wait as well.
FETCH_WAIT_MS: Final = 100
RETRY_SECONDS: Final = 1.0

log = logging.getLogger("classpulse.kafka")


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The offset after the last that may be read, and after the last there is; an open transaction is between them."""

    readable: int
    written: int


@dataclass(slots=True)
class RecordBatch:
    """What one fetch from one partition covers; to Faust it looks like a single record at the first offset.

    ``records`` may be empty: then no offset that it covers holds a record.
    """

    topic: str
    partition: int
    records: Fetched
    headers: tuple[()] = ()
    key: None = None
    checksum: None = None
    timestamp_type: int = 0
    serialized_key_size: int = 0
    serialized_value_size: int = 0

    @property
    def start(self) -> int:
        """The offset that was asked for."""
        return self.records.start

    @property
    def next_offset(self) -> int:
        """The offset after what is covered."""
        return self.records.next_offset

    @property
    def offset(self) -> int:
        """First offset, for Faust."""
        return self.start

    @property
    def timestamp(self) -> int:
        """Timestamp of the first record, in milliseconds; 0 without any."""
        return int(self.records[0].timestamp) if len(self.records) else 0

    @property
    def value(self) -> "RecordBatch":
        """What an agent receives."""
        return self


class BatchScheduler(DefaultSchedulingStrategy):
    """Yields one :class:`RecordBatch` for each event partition; records of other topics pass through as they are."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """Yield ``(partition, batch)``."""
        return super().iterate(
            {
                tp: [RecordBatch(tp.topic, tp.partition, cast("Fetched", found))] if tp.topic in EVENT_TOPICS else found
                for tp, found in records.items()
                if found
            }
        )


class BatchSchema(faust.Schema[Any, Any]):
    """Hands keys and values on untouched."""

    def loads_key(self, app: Any, message: Message, **_options: Any) -> Any:  # noqa: ARG002
        """Return the key as it came."""
        return message.key

    def loads_value(self, app: Any, message: Message, **_options: Any) -> Any:  # noqa: ARG002
        """Return the value as it came."""
        return message.value


class _NoReadOffsets(dict[TP, int | None]):
    """What Faust has read of each partition: nothing, so that it drops no batch as read before.

    A batch below the expected offset may be that of a recreated topic; ``streams/pipeline/partition.py`` tells.
    """

    def __getitem__(self, _tp: TP) -> None:
        return None


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Reads what is committed, less at a time than aiokafka's 50 MiB, and waits less than Faust's 1.5 s.

    Faust has no settings for these; it reads aborted transactions as well.

    A buffer of that size is new memory for each answer, and to touch it costs as much as reading the records. The
    partitions of a request are shuffled, so all have their turn.

    It also waits for a broker at its start, where Faust would fail.
    """

    async def on_start(self) -> None:
        """Start, again and again while no broker answers; ``streams/kafka/watch.py`` says so meanwhile."""
        while not self.should_stop and not await self._is_started():  # noqa: ASYNC110 - only trying tells
            await asyncio.sleep(RETRY_SECONDS)

    async def _is_started(self) -> bool:
        try:
            await super().on_start()
        except KafkaError:
            await self._ensure_consumer().stop()
            return False
        if not cast(CheckpointTransport, self.transport).leave_group:
            coordinator: Any = self._ensure_consumer()._coordinator  # noqa: SLF001 - aiokafka has no setting for it

            async def stay() -> None:
                coordinator.reset_generation()

            coordinator._maybe_leave_group = stay  # noqa: SLF001 - as above
        return True

    def on_crash(self, msg: str, *fmt: Any, **_options: Any) -> None:
        """Log what Mode would print."""
        log.critical(msg.format(*fmt))

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        consumer = super()._create_consumer(loop)
        consumer._fetch_max_bytes = FETCHED_PARTITIONS * consumer._max_partition_fetch_bytes  # noqa: SLF001 - before it starts
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - as above
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - as above
        return consumer


class CheckpointConsumer(driver.Consumer):
    """Resumes where the checkpoints say."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoReadOffsets()

    def on_buffer_full(self, tp: TP) -> None:
        """Go on asking for every partition.

        Faust would leave out one whose batch waits in the stream. It may miss for a second that it no longer waits, and
        aiokafka fetches nothing of a broker while records of one partition lie unasked for. The stream's bound is enough:
        whoever hands on a batch waits for its place.
        """

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing was left out."""

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every assigned partition to its checkpoint; return the offsets, as far as they are known yet.

        Faust calls this after each rebalance, before records flow.
        """
        transport = self.transport
        if not isinstance(transport, CheckpointTransport):
            raise TypeError("a CheckpointConsumer belongs to a CheckpointTransport")
        assigned = frozenset((tp.topic, tp.partition) for tp in self.assignment() if tp.topic in EVENT_TOPICS)
        return {TP(*one): offset for one, offset in (await transport.assign(assigned)).items()}

    async def logs(self, partitions: frozenset[TopicPartition]) -> Logs:
        """Return the first and next readable offset of each log; raises ``KafkaError`` or ``TimeoutError``."""
        wanted = [TP(*one) for one in partitions]
        if not wanted:
            return {}
        starts, ends = await self.earliest_offsets(*wanted), await self.highwaters(*wanted)
        return {(tp.topic, tp.partition): (starts[tp], ends[tp]) for tp in wanted}

    async def seek_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets; batches already on their way are recognised by theirs.

        Raises ``KafkaError`` or ``TimeoutError``, also for a partition that has moved to another worker.
        """
        await self.seek_wait({TP(*one): offset for one, offset in offsets.items()})

    def pause_partition(self, partition: TopicPartition) -> None:
        """Fetch no more of a partition."""
        self.pause_partitions({TP(*partition)})

    def resume_partition(self, partition: TopicPartition) -> None:
        """Fetch a partition again, if it is still assigned."""
        if TP(*partition) in self.assignment():
            self.resume_partitions({TP(*partition)})

    def touch(self) -> None:
        """Let aiokafka believe that records were asked for just now, so that it joins the group again."""
        consumer = self._thread._consumer  # noqa: SLF001 - there is no other way
        if consumer is None:
            return
        subscription = consumer._subscription  # noqa: SLF001 - as above

        def ask() -> None:
            with subscription.fetch_context():  # what aiokafka's own fetches do
                pass

        self._thread.thread_loop.call_soon_threadsafe(ask)

    def log_end(self, partition: TopicPartition) -> LogEnd | None:
        """Return where a log ends as of the last fetch; None if that is not known."""
        consumer, one = self._thread._ensure_consumer(), TP(*partition)  # noqa: SLF001 - Faust asks for one end alone
        try:
            written, readable = consumer.highwater(one), consumer.last_stable_offset(one)
        except (AssertionError, KafkaError):
            return None  # it has just moved to another worker
        if written is None:
            return None
        # A broker that knows no transactions names no last stable offset.
        return LogEnd(written if readable is None or readable < 0 else readable, written)

    def log_end_seen_ms(self, partition: TopicPartition) -> int:
        """Return when a fetch last told the end of a log, in milliseconds since the epoch; 0 if none has."""
        consumer = self._thread._ensure_consumer()  # noqa: SLF001 - Faust has no other way to ask
        try:
            return int(consumer.last_poll_timestamp(KafkaPartition(*partition)) or 0)
        except (AssertionError, KafkaError):
            return 0  # it has just moved to another worker

    async def commit_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets to Kafka for lag tools; raises ``aiokafka.errors.KafkaError`` if Kafka refuses."""
        consumer = self._thread._ensure_consumer()  # noqa: SLF001 - Faust has no other way to commit given offsets
        assigned = {(tp.topic, tp.partition) for tp in self.assignment()}
        committed = {
            KafkaPartition(*one): OffsetAndMetadata(offset, "") for one, offset in offsets.items() if one in assigned
        }
        if committed:
            await self._thread.call_thread(consumer.commit, committed)


class CheckpointTransport(driver.Transport):
    """Faust's aiokafka transport with a :class:`CheckpointConsumer`.

    ``assign`` is called with the assigned partitions. ``leave_group``: whether the consumer group is told when the worker
    stops.
    """

    Consumer: ClassVar[type[ConsumerT]] = CheckpointConsumer

    def __init__(self, *args: Any, assign: Assign, leave_group: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.assign = assign
        self.leave_group = leave_group
