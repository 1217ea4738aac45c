"""Publishes rejected records again, to their own topics, as they were.

A replayed event keeps its source and id, so one that is stored already counts as a duplicate, however often it comes.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, OffsetOutOfRangeError
from aiokafka.structs import RecordMetadata, TopicPartition

from schemas.errors import MustStop
from sinks.stores.dead_letters import OWN_PREFIX, REPLAYED_FROM
from streams.dlq.log import DeadLetterLog, client_options, kafka_errors
from streams.dlq.records import TOPICS, KafkaRecord, PublishedDeadLetter, RecordPosition, Selection
from streams.kafka.consumer import Reader, started_consumer
from streams.settings import Settings

#: So many records are on their way at once, and at most so many bytes, which bounds memory.
RECORDS_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 16 * 1024 * 1024
#: A producer rejects larger requests; the topic's own limit is what counts, and the broker knows it.
LARGEST_REQUEST_BYTES: Final = 64 * 1024 * 1024
#: A record that the log has comes at once.
ORIGINAL_SECONDS: Final = 10.0

NO_VALUE: Final = "without a value: that can never become an event"
OTHER_TOPIC: Final = "from a topic that is none of the event topics"
ORIGINAL_GONE: Final = "cut, and the original is no longer where it was"
TOO_LARGE: Final = "larger than the topic takes"

Headers = Sequence[tuple[str, bytes | None]]


def obstacle(letter: PublishedDeadLetter) -> str | None:
    """Return why a dead letter cannot be replayed, as far as it tells itself; None if nothing speaks against it.

    A record without a value is left alone also because, in the compacted registry, it would delete an entry that may
    have been fixed meanwhile.
    """
    if letter.position.topic not in TOPICS:
        return OTHER_TOPIC
    if not letter.value:
        return NO_VALUE
    return None


@dataclass
class Replayed:
    """What a replay has done so far: records sent, and those left out, by why."""

    sent: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def letters(self) -> int:
        """All dead letters dealt with."""
        return self.sent + self.skipped.total()


async def replay(
    log: DeadLetterLog,
    settings: Settings,
    selection: Selection,
    *,
    rate: float | None = None,
    on_progress: Callable[[Replayed], None] | None = None,
) -> Replayed:
    """Send the record of each selected dead letter to its topic again; return once Kafka has acknowledged all.

    ``rate``: records a second at most. Dead letters that come of this replay are not read: the log ends where it did when
    it was opened. Raises :class:`MustStop` when Kafka refuses or is away; then repeating the replay is harmless.
    """
    done = Replayed()
    began = time.monotonic()
    with kafka_errors(settings, "replay the records"):
        async with _Sender(settings, done) as sender, _Originals(settings) as originals:
            async for letter in log.letters(selection, events=True):
                await _resend(letter, sender, originals, done)
                if on_progress is not None:
                    on_progress(done)
                if rate is not None:
                    await asyncio.sleep(done.letters / rate - (time.monotonic() - began))
            await sender.settle()
    return done


async def _resend(letter: PublishedDeadLetter, sender: "_Sender", originals: "_Originals", done: Replayed) -> None:
    if why := obstacle(letter):
        done.skipped[why] += 1
        return
    key, value, headers = letter.key, letter.value, letter.headers
    if letter.truncated:
        original = await originals.find(letter)
        if original is None:
            done.skipped[ORIGINAL_GONE] += 1
            return
        key, value, headers = original.key, original.value, original.headers
    await sender.send(letter, key, value, headers)


class _Sender(AbstractAsyncContextManager["_Sender"]):
    """Publishes in order, with a bounded amount under way."""

    def __init__(self, settings: Settings, done: Replayed) -> None:
        self._settings = settings
        self._done = done
        self._under_way: deque[tuple[asyncio.Future[RecordMetadata], int]] = deque()
        self._bytes = 0

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            **client_options(self._settings), acks="all", linger_ms=5, max_request_size=LARGEST_REQUEST_BYTES
        )
        try:
            await self._producer.start()
            self._topics = (await self._producer.client.fetch_all_metadata()).topics()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def send(self, letter: PublishedDeadLetter, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Send one record; waits while too much is under way."""
        topic = letter.position.topic
        if topic not in self._topics:
            # The client would wait for the topic until its request times out.
            raise MustStop(f"Kafka has no topic {topic}", "Create the topics: classpulse topics create")
        kept = [(name, content) for name, content in headers if not name.startswith(OWN_PREFIX)]
        size_bytes = len(key or b"") + len(value or b"")
        while self._under_way and (len(self._under_way) >= RECORDS_AT_ONCE or self._bytes + size_bytes > BYTES_AT_ONCE):
            await self._settle_one()
        try:
            future = await self._producer.send(
                topic,
                value=value,
                key=key,
                # The key decides, as it did for the producer; without one it goes to where it was.
                partition=letter.position.partition if key is None else None,
                headers=[*kept, (REPLAYED_FROM, letter.origin.encode())],
            )
        except MessageSizeTooLargeError:
            self._done.skipped[TOO_LARGE] += 1
            return
        self._under_way.append((future, size_bytes))
        self._bytes += size_bytes

    async def settle(self) -> None:
        """Wait until Kafka has everything."""
        while self._under_way:
            await self._settle_one()

    async def _settle_one(self) -> None:
        future, size_bytes = self._under_way.popleft()
        self._bytes -= size_bytes
        try:
            await future
        except MessageSizeTooLargeError:
            self._done.skipped[TOO_LARGE] += 1
        else:
            self._done.sent += 1


class _Originals(AsyncExitStack):
    """Reads the records that dead letters were cut from, where the dead letters point; connects when first asked."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None

    async def find(self, letter: PublishedDeadLetter) -> KafkaRecord | None:
        """Return the record that ``letter`` was cut from, or None if the log has it no longer."""
        if self._consumer is None:
            self._consumer = await self.enter_async_context(
                started_consumer(
                    **client_options(self._settings),
                    auto_offset_reset="none",
                    isolation_level="read_committed",
                    max_partition_fetch_bytes=self._settings.fetch_max_bytes,
                )
            )
        found = await self._read(self._consumer, letter.position)
        return found if found is not None and _is_original(found, letter) else None

    async def _read(self, consumer: AIOKafkaConsumer, position: RecordPosition) -> KafkaRecord | None:
        partition = TopicPartition(position.topic, position.partition)
        consumer.assign([partition])
        consumer.seek(partition, position.offset)
        reader = Reader(consumer)
        deadline = time.monotonic() + ORIGINAL_SECONDS
        while time.monotonic() < deadline:
            try:
                batches, exhausted = await reader.take([partition], 1)
            except OffsetOutOfRangeError:
                return None
            if records := batches.get(partition):
                record: KafkaRecord = records[0]
                return record if record.offset == position.offset else None
            if exhausted:
                break
        return None


def _is_original(record: KafkaRecord, letter: PublishedDeadLetter) -> bool:
    """Tell the record a dead letter was cut from; a recreated topic has another one in its place."""
    return (
        len(record.value or b"") == letter.value_bytes
        and (record.value or b"").startswith(letter.value or b"")
        and (record.key or b"").startswith(letter.key or b"")
        and letter.recorded_ms in {None, record.timestamp}
    )
