"""Sends records to Kafka at a fixed rate, and remembers when each was handed over and which offset it got."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from deploy.local.simulator import Produced

__all__ = ["Paced", "SentBatch", "send_at_rate"]

#: As often as a gateway sends what its devices gave it.
TICK_SECONDS: Final = 0.02
_BATCH_BYTES: Final = 256 * 1024
_SPEECH: Final = b"speech.recorded"

Place = tuple[str, int]


@dataclass(slots=True)
class SentBatch:
    """Records of one partition that were handed to the client together. ``base_offset`` is known once Kafka has them."""

    place: Place
    handed_at_seconds: float
    count: int
    base_offset: int = -1
    #: Key and place within the batch of one event that is looked for by itself.
    probe: tuple[str, int] | None = None

    @property
    def next_offset(self) -> int:
        """Offset after its last record."""
        return self.base_offset + self.count


@dataclass(slots=True)
class Paced:
    """What was sent, and how well the pace was kept: ``late_seconds`` is the furthest it fell behind."""

    batches: list[SentBatch] = field(default_factory=list)
    began_at_seconds: float = 0.0
    ended_at_seconds: float = 0.0
    late_seconds: float = 0.0

    @property
    def count(self) -> int:
        """Records sent."""
        return sum(batch.count for batch in self.batches)

    @property
    def per_second(self) -> float:
        """The rate that was kept."""
        return self.count / max(self.ended_at_seconds - self.began_at_seconds, 1e-3)


async def send_at_rate(
    bootstrap: str, records: Sequence[Produced], rate: float, sent: Paced, on_progress: Callable[[int], None]
) -> None:
    """Send ``records`` at ``rate`` a second, in ticks of 20 ms; ``sent`` fills meanwhile.

    The timestamp of a record is the time it is handed over. Raises ``KafkaError`` if Kafka refuses.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=False,
        max_batch_size=_BATCH_BYTES,
        client_id="classpulse-measure",
    )
    await producer.start()
    try:
        sender = _Sender(producer, sent)
        sent.began_at_seconds = began = time.time()
        done = 0
        while done < len(records):
            now = time.time()
            due = min(len(records), int((now - began) * rate))
            sent.late_seconds = max(sent.late_seconds, (due - done) / rate - TICK_SECONDS)
            if due > done:
                await sender.send(records[done:due])
                done = due
                on_progress(done)
            await asyncio.sleep(max(0.001, TICK_SECONDS - (time.time() - now)))
        sent.ended_at_seconds = time.time()
        await asyncio.gather(*sender.under_way)
    finally:
        await producer.stop()


class _Sender:
    """Turns the records of one tick into a batch for each partition; one batch a second carries a probe."""

    def __init__(self, producer: AIOKafkaProducer, sent: Paced) -> None:
        self._producer = producer
        self._sent = sent
        self._partitions: dict[str, int] = {}
        self._places: dict[bytes | None, Place] = {}
        self._next_probe_seconds = 0.0
        self.under_way: set[asyncio.Task[None]] = set()

    async def send(self, records: Sequence[Produced]) -> None:
        by_place: dict[Place, list[Produced]] = {}
        for record in records:
            by_place.setdefault(await self._place(record), []).append(record)
        for place, of_place in by_place.items():
            done = 0
            while done < len(of_place):
                done += await self._hand_over(place, of_place[done:])

    async def _hand_over(self, place: Place, records: Sequence[Produced]) -> int:
        """Send as many of the records as one batch holds; return how many."""
        batch = self._producer.create_batch()
        now = time.time()
        stamp_ms = int(now * 1000)
        count = 0
        for record in records:
            if batch.append(key=record.key, value=record.value, timestamp=stamp_ms, headers=record.headers) is None:
                break
            count += 1
        batch.close()
        told = SentBatch(place, now, count, probe=self._probe(records[:count], now))
        self._sent.batches.append(told)
        sending = await self._producer.send_batch(batch, place[0], partition=place[1])
        task = asyncio.ensure_future(_note_offset(sending, told))
        self.under_way.add(task)
        task.add_done_callback(self._settled)
        return count

    def _settled(self, task: asyncio.Task[None]) -> None:
        # A batch that Kafka rejected stays, so that waiting for all of them raises why.
        if not task.cancelled() and task.exception() is None:
            self.under_way.discard(task)

    def _probe(self, records: Sequence[Produced], now: float) -> tuple[str, int] | None:
        """Once a second, name an event of speech: it changes the talk shares of its lesson, so its metrics must follow."""
        if now < self._next_probe_seconds:
            return None
        for number in range(len(records) - 1, -1, -1):
            key, value = records[number].key, records[number].value
            if key is not None and value is not None and _SPEECH in value:
                self._next_probe_seconds = now + 1.0
                return key.decode(), number
        return None

    async def _place(self, record: Produced) -> Place:
        found = self._places.get(record.key)
        if found is None:
            count = self._partitions.get(record.topic)
            if count is None:
                count = self._partitions[record.topic] = len(await self._producer.partitions_for(record.topic))
            found = self._places[record.key] = (record.topic, (murmur2(record.key or b"") & 0x7FFFFFFF) % count)
        return found


async def _note_offset(sending: "asyncio.Future[Any]", told: SentBatch) -> None:
    told.base_offset = (await sending).offset
