"""Reads the dead-letter topic from one end to the other, in bounded memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from schemas.errors import MustStop, RetryLater
from streams.dlq.records import PublishedDeadLetter, Selection, read_dead_letter
from streams.kafka.consumer import Reader, started_consumer
from streams.kafka.topics import DEAD_LETTER_TOPIC
from streams.settings import Settings

#: Records handed over at once; dead letters may be large.
BATCH_RECORDS: Final = 500
#: Dead letters of one record are at most one write apart, since a crash repeats one write at most.
REMEMBERED_LETTERS: Final = 200_000
#: The records of the last batch are there; they come at once, unless the broker is away.
PROBE_SECONDS: Final = 3.0
#: A broker that sends nothing for so long before the end is not merely slow.
SILENCE_SECONDS: Final = 15.0

#: Called with the records read so far and the records to read.
OnProgress = Callable[[int, int], None]


def client_options(settings: Settings) -> dict[str, Any]:
    """Return what every Kafka client of these commands is made with."""
    return {
        **settings.kafka_access.client_options(),
        "client_id": "classpulse-dlq",
        "request_timeout_ms": int(SILENCE_SECONDS * 1000),
    }


@contextmanager
def kafka_errors(settings: Settings, doing: str) -> Iterator[None]:
    """Turn an error of Kafka into one that says what a person can do."""
    try:
        yield
    except TopicAuthorizationFailedError as error:
        remedy = "Use a user with the rights of classpulse_replay in streams/kafka/acls.yaml"
        raise MustStop(f"Kafka does not allow to {doing}: {error}", remedy) from error
    except (KafkaError, TimeoutError) as error:
        remedy = f"Check that Kafka runs at {settings.kafka}; CLASSPULSE_KAFKA says where. Then repeat the command"
        raise MustStop(f"Kafka failed to {doing} ({error!r})", remedy) from error


class DeadLetterLog:
    """The dead-letter topic up to the end that it had when it was opened: what is rejected later is not read."""

    def __init__(
        self, consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> None:
        self._consumer = consumer
        self._starts = starts
        self._ends = ends
        #: Records of the topic that are no dead letters, as far as the last reading met them.
        self.foreign_records = 0

    async def letters(
        self, selection: Selection, on_progress: OnProgress | None = None, *, events: bool = False
    ) -> AsyncIterator[PublishedDeadLetter]:
        """Yield the selected dead letters, oldest first in each partition; one, where a crash has left two of a record.

        ``events``: one also where a record was replayed and rejected again, so that the next replay sends it once.
        Raises :class:`RetryLater` when Kafka falls silent before the end, and ``KafkaError``.
        """
        starts, ends = await self._range(selection)
        total = sum(ends[partition] - start for partition, start in starts.items())
        read = self.foreign_records = 0
        seen: dict[int, None] = {}
        async for records in self._batches(starts, ends):
            for record in records:
                letter = read_dead_letter(record)
                if letter is None:
                    self.foreign_records += 1
                elif letter in selection:
                    found = {letter.event_identity, letter.identity} if events else {letter.identity}
                    is_new = found.isdisjoint(seen)
                    seen.update(dict.fromkeys(found))
                    while len(seen) > REMEMBERED_LETTERS:
                        del seen[next(iter(seen))]
                    if is_new:
                        yield letter
            read += len(records)
            if on_progress is not None:
                on_progress(min(read, total), total)

    async def _range(self, selection: Selection) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Return where to begin and end in each partition, as narrow as the selection allows."""
        starts, ends = dict(self._starts), dict(self._ends)
        if selection.since_ms is not None and starts:
            # Every dead letter before that offset is older; some of those after it may be older too.
            found = await self._consumer.offsets_for_times(dict.fromkeys(starts, selection.since_ms))
            for partition, found_at in found.items():
                starts[partition] = ends[partition] if found_at is None else max(starts[partition], found_at.offset)
        if selection.positions and all(position.topic == DEAD_LETTER_TOPIC for position in selection.positions):
            for partition, start in list(starts.items()):
                offsets = [position.offset for position in selection.positions if position.partition == partition.partition]
                starts[partition] = max(start, min(offsets, default=ends[partition]))
                ends[partition] = min(ends[partition], max(offsets, default=-1) + 1)
        return {partition: start for partition, start in starts.items() if start < ends[partition]}, ends

    async def _batches(
        self, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> AsyncIterator[Sequence[Any]]:
        waiting = set(starts)
        if not waiting:
            return
        self._consumer.assign(list(waiting))
        for partition, start in starts.items():
            self._consumer.seek(partition, start)
        reader = Reader(self._consumer)
        heard = time.monotonic()
        while waiting:
            batches, exhausted = await reader.take(waiting, BATCH_RECORDS)
            for partition, records in batches.items():
                yield [record for record in records if record.offset < ends[partition]]
            if batches:
                heard = time.monotonic()
            for partition in list(waiting):
                position = await asyncio.wait_for(self._consumer.position(partition), SILENCE_SECONDS)
                if position >= ends[partition] or partition in exhausted:
                    waiting.discard(partition)
                    self._consumer.pause(partition)
            if waiting and time.monotonic() - heard > SILENCE_SECONDS:
                raise RetryLater(f"Kafka sent nothing of {DEAD_LETTER_TOPIC} for {SILENCE_SECONDS:.0f} s; try again")


@asynccontextmanager
async def open_log(settings: Settings) -> AsyncIterator[DeadLetterLog]:
    """Connect to Kafka; raises :class:`MustStop` if that is impossible or the topic is missing."""
    await settings.kafka_access.require()
    with kafka_errors(settings, f"read {DEAD_LETTER_TOPIC}"):
        async with started_consumer(
            **client_options(settings),
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=settings.fetch_max_bytes,
        ) as consumer:
            partitions = [TopicPartition(DEAD_LETTER_TOPIC, number) for number in await _partitions(settings)]
            consumer.assign(partitions)
            starts = await consumer.beginning_offsets(partitions)
            yield DeadLetterLog(consumer, starts, await _ends(consumer, partitions, starts))


async def _partitions(settings: Settings) -> list[int]:
    """Return the numbers of the topic's partitions; a consumer knows them only of topics that it reads already."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        if DEAD_LETTER_TOPIC not in await admin.list_topics():
            raise MustStop(
                f"Kafka has no topic {DEAD_LETTER_TOPIC}, or hides it from this user",
                "Create the topics (`classpulse topics create`), or use a user with the rights of classpulse_replay in "
                "streams/kafka/acls.yaml",
            )
        (described,) = await admin.describe_topics([DEAD_LETTER_TOPIC])
        return sorted(partition["partition"] for partition in described["partitions"])
    finally:
        await admin.close()


async def _ends(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition], starts: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return the offset after the last record of each partition.

    The embedded broker names the first offset of its last batch plus one, so the batch that holds the record before the
    named end is read to see where it ends. Going on until nothing comes would not do: a replay makes new letters.
    """
    ends: dict[TopicPartition, int] = await consumer.end_offsets(list(partitions))
    waiting = {partition for partition, end in ends.items() if end > starts[partition]}
    if not waiting:
        return ends
    consumer.assign(list(waiting))
    for partition in waiting:
        consumer.seek(partition, ends[partition] - 1)
    deadline = time.monotonic() + PROBE_SECONDS
    while waiting and time.monotonic() < deadline:
        for partition, records in (await consumer.getmany(*waiting, timeout_ms=200)).items():
            ends[partition] = max(ends[partition], records[-1].offset + 1)
        for partition in list(waiting):
            # Where the log ends in a transaction's marker, the position passes it without a record.
            if await asyncio.wait_for(consumer.position(partition), SILENCE_SECONDS) >= ends[partition]:
                waiting.discard(partition)
                consumer.pause(partition)
    return ends
