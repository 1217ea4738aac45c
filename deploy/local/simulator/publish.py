"""Sends records to Kafka in their order, in batches built here: the producer's own path costs three times as much."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from deploy.local.simulator.ledger import Ledger, Produced
from schemas.errors import MustStop

_BATCH_BYTES: Final = 256 * 1024
#: Batches are sent at the latest after so many records of all partitions together, full or not. It keeps what is in
#: memory small and partitions abreast: the registry must not wait for a batch of its own to fill.
_FLUSH_RECORDS: Final = 8_000
#: The producer's tasks run only when the loop gets control; this often it does.
_YIELD_RECORDS: Final = 400
#: Waits shorter than this are not worth a timer.
_SHORTEST_WAIT_SECONDS: Final = 0.005
_LONGEST_WAIT_SECONDS: Final = 1.0
_HASHES_CACHED: Final = 100_000


class _Batches:
    """One open batch a partition; sending keeps each partition's order, since one coroutine sends them all."""

    def __init__(self, producer: AIOKafkaProducer, existing_topics: Collection[str], *, stamp_now: bool) -> None:
        self._producer = producer
        self._stamp_now = stamp_now
        self._existing_topics = existing_topics
        self._open: dict[tuple[str, int], Any] = {}
        self._partitions: dict[str, int] = {}
        self._hashes: dict[bytes, int] = {}
        self._sent: deque[asyncio.Future[Any]] = deque()

    async def append(self, record: Produced) -> None:
        topic, key, value, headers, timestamp_ms, _, _ = record
        if self._stamp_now:
            timestamp_ms = time.time_ns() // 1_000_000
        count = self._partitions.get(topic) or await self._partition_count(topic)
        partition = topic, self._hash(key) % count
        batch = self._open.get(partition)
        if batch is None:
            batch = self._open[partition] = self._producer.create_batch()
        if batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers) is None:
            await self._send(partition)
            batch = self._open[partition] = self._producer.create_batch()
            batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers)

    async def flush(self) -> None:
        """Hand every open batch to the producer; raises what became of batches sent earlier."""
        for partition in list(self._open):
            await self._send(partition)
        while self._sent and self._sent[0].done():
            self._sent.popleft().result()

    async def settle(self) -> None:
        """Wait until Kafka has acknowledged everything."""
        await self.flush()
        while self._sent:
            await self._sent.popleft()

    async def _send(self, partition: tuple[str, int]) -> None:
        batch = self._open.pop(partition)
        batch.close()
        self._sent.append(await self._producer.send_batch(batch, partition[0], partition=partition[1]))

    async def _partition_count(self, topic: str) -> int:
        if topic not in self._existing_topics:
            # The client would wait for the topic until its request times out.
            raise MustStop(f"Kafka has no topic {topic}", "Create the topics: classpulse topics create")
        partitions = await self._producer.partitions_for(topic)
        self._partitions[topic] = len(partitions)
        return len(partitions)

    def _hash(self, key: bytes | None) -> int:
        """The default partitioner's hash; a record without key goes to partition 0, so that runs are repeatable."""
        if key is None:
            return 0
        found = self._hashes.get(key)
        if found is None:
            if len(self._hashes) >= _HASHES_CACHED:
                self._hashes.clear()
            found = self._hashes[key] = murmur2(key) & 0x7FFFFFFF
        return found


class _Pace:
    """Says how long to wait before a record may go, by the speed of the simulated time and by a rate cap."""

    def __init__(self, speed: float | None, rate: float | None, pace_from_ms: int) -> None:
        self._speed = speed
        self._rate = rate
        self._pace_from_ms = pace_from_ms
        self._began: float | None = None
        self._first_ms = 0
        self._start = time.monotonic()
        self.unlimited = speed is None and rate is None

    def wait_seconds(self, timestamp_ms: int, sent: int) -> float:
        now = time.monotonic()
        wait = sent / self._rate - (now - self._start) if self._rate else 0.0
        if self._speed and timestamp_ms >= self._pace_from_ms:
            if self._began is None:
                self._began, self._first_ms = now, timestamp_ms
            wait = max(wait, (timestamp_ms - self._first_ms) / 1000 / self._speed - (now - self._began))
        return wait


async def publish(
    kafka: str | Mapping[str, Any],
    records: Iterable[Produced],
    *,
    speed: float | None = None,
    rate: float | None = None,
    pace_from_ms: int = 0,
    stamp_now: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Ledger:
    """Send ``records`` in their order and return their account once Kafka has acknowledged all.

    ``speed``: simulated seconds a second, None for as fast as possible; records with a timestamp before
    ``pace_from_ms`` go at once. ``rate``: records a second at most. ``on_progress`` gets the number sent so far.
    ``stamp_now``: a record bears the time at which it is sent, as a real producer's does, and not that of its arrival.
    ``kafka``: bootstrap servers, or the options of an aiokafka client.
    The topics must exist. A resend after a lost acknowledgement can make Kafka hold a record twice; the account counts
    it once. Raises ``MustStop`` when Kafka cannot be reached, has no such topic, or refuses.
    """
    options = {"bootstrap_servers": kafka} if isinstance(kafka, str) else kafka
    bootstrap = options["bootstrap_servers"]
    producer = AIOKafkaProducer(
        **options,
        acks="all",
        enable_idempotence=False,
        max_batch_size=_BATCH_BYTES,
        client_id="classpulse-simulator",
    )
    try:
        await producer.start()
    except KafkaError as error:
        await producer.stop()
        remedy = "Start it (`classpulse dev up` starts an embedded one) or give another --bootstrap"
        raise MustStop(f"No Kafka answers at {bootstrap} ({error})", remedy) from error
    try:
        existing = (await producer.client.fetch_all_metadata()).topics()
        batches = _Batches(producer, existing, stamp_now=stamp_now)
        return await _publish(batches, records, _Pace(speed, rate, pace_from_ms), on_progress)
    except KafkaError as error:
        remedy = "See the broker's log; what was sent before may be stored, and can be sent again"
        raise MustStop(f"Kafka at {bootstrap} rejected records ({error!r})", remedy) from error
    finally:
        await producer.stop()


async def _publish(
    batches: _Batches, records: Iterable[Produced], pace: _Pace, on_progress: Callable[[int], None] | None
) -> Ledger:
    ledger = Ledger()
    sent = 0
    for record in records:
        if not pace.unlimited:
            await _keep_pace(pace, record.timestamp_ms, sent, batches)
        await batches.append(record)
        ledger.add(record)
        sent += 1
        if sent % _YIELD_RECORDS == 0:
            await asyncio.sleep(0)
            if sent % _FLUSH_RECORDS == 0:
                await batches.flush()
            if on_progress is not None:
                on_progress(sent)
    await batches.settle()
    if on_progress is not None:
        on_progress(sent)
    return ledger


async def _keep_pace(pace: _Pace, timestamp_ms: int, sent: int, batches: _Batches) -> None:
    wait = pace.wait_seconds(timestamp_ms, sent)
    if wait < _SHORTEST_WAIT_SECONDS:
        return
    await batches.flush()
    while wait >= _SHORTEST_WAIT_SECONDS:
        await asyncio.sleep(min(wait, _LONGEST_WAIT_SECONDS))
        wait = pace.wait_seconds(timestamp_ms, sent)
