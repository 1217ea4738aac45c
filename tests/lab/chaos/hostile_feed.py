"""Sends the hostile stream to Kafka and keeps the account: for each place in the log, what must become of its record."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import CorruptRecordException, MessageSizeTooLargeError, UnknownError, for_code
from aiokafka.partitioner import murmur2
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import TopicPartition

from tests.lab.chaos.hostile import HostileRecord, Verdict
from tests.lab.chaos.hostile_batches import HostileBatch

Place = tuple[str, int]

_BATCH_BYTES: Final = 1_000_000
_FLUSH_RECORDS: Final = 4_000
_YIELD_RECORDS: Final = 200
_REQUEST_MS: Final = 60_000
_INVALID_RECORD: Final = 87  # aiokafka has no name for it
#: What a broker that looks into batches says of hostile ones.
_TURNED_AWAY: Final = frozenset(
    {CorruptRecordException.errno, MessageSizeTooLargeError.errno, _INVALID_RECORD, UnknownError.errno}
)
#: So many are listed of what is wrong; one would do.
_MOST_LISTED: Final = 20


@dataclass(slots=True)
class Account:
    """``verdicts`` and ``kinds``: by place, one entry an offset from 0 on; ``disagreements``: see ``HostileRecord``.

    ``turned_away``: batches by kind that the broker itself rejected; they are in no log.
    """

    verdicts: dict[Place, list[Verdict]] = field(default_factory=dict)
    kinds: dict[Place, list[str]] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)
    turned_away: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """All records."""
        return sum(map(len, self.verdicts.values()))

    def by_kind(self) -> Counter[tuple[str, Verdict]]:
        """Return how many records of each kind have which verdict."""
        pairs: Counter[tuple[str, Verdict]] = Counter()
        for place, kinds in self.kinds.items():
            pairs.update(zip(kinds, self.verdicts[place], strict=True))
        return pairs

    def count(self, verdict: Verdict) -> int:
        """Return how many records have a verdict."""
        return sum(verdicts.count(verdict) for verdicts in self.verdicts.values())

    def add(self, place: Place, kind: str, verdict: Verdict, times: int = 1) -> None:
        """Note what was sent to the end of a place."""
        self.verdicts.setdefault(place, []).extend([verdict] * times)
        self.kinds.setdefault(place, []).extend([kind] * times)


class Feed:
    """Sends in order; nobody else may write to the topics, since the place in the account is the offset."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._open: dict[Place, Any] = {}
        self._sent: deque[tuple[int, asyncio.Future[Any]]] = deque()
        self._counts: dict[str, int] = {}
        self.account = Account()

    async def send(self, record: HostileRecord) -> None:
        """Append one record to the open batch of its partition."""
        key, value, headers, timestamp_ms = record.draft
        place = await self._place(record.topic, key)
        options = {"key": key, "value": value, "timestamp": timestamp_ms, "headers": headers}
        if place not in self._open or self._open[place].append(**options) is None:
            await self._close(place)
            self._open[place] = self._producer.create_batch()
            self._open[place].append(**options)
        self.account.add(place, record.kind, record.verdict)
        if record.disagreement is not None and len(self.account.disagreements) < _MOST_LISTED:
            self.account.disagreements.append(f"{record.kind}: expected {record.disagreement}, {str(record)[:500]}")

    async def send_batch(self, batch: HostileBatch) -> None:
        """Send a batch as it stands."""
        place = await self._place(batch.topic, None)
        await self.settle()
        offset = len(self.account.verdicts.get(place, ()))
        client = self._producer.client
        request = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=_REQUEST_MS, topics=[(place[0], [(place[1], batch.wire)])]
        )
        leader = client.cluster.leader_for_partition(TopicPartition(*place))
        response = await client.send(leader, request)
        _partition, code, base_offset, *_rest = response.topics[0][1][0]
        if code in _TURNED_AWAY:
            self.account.turned_away[batch.kind] += 1
            return
        if code:
            raise for_code(code)(f"the broker does not take {batch.kind}")
        _check(base_offset, offset)
        self.account.add(place, batch.kind, "rejected", batch.records)

    async def flush(self) -> None:
        """Hand every open batch to the producer."""
        for place in list(self._open):
            await self._close(place)
        while self._sent and self._sent[0][1].done():
            self._acknowledged(*self._sent.popleft())

    async def settle(self) -> None:
        """Wait until Kafka has everything."""
        await self.flush()
        while self._sent:
            offset, future = self._sent.popleft()
            await future
            self._acknowledged(offset, future)

    async def _close(self, place: Place) -> None:
        batch = self._open.pop(place, None)
        if batch is not None:
            offset = len(self.account.verdicts[place]) - batch.record_count()
            batch.close()
            self._sent.append((offset, await self._producer.send_batch(batch, place[0], partition=place[1])))

    def _acknowledged(self, offset: int, future: asyncio.Future[Any]) -> None:
        _check(future.result().offset, offset)

    async def _place(self, topic: str, key: bytes | None) -> Place:
        if topic not in self._counts:
            self._counts[topic] = len(await self._producer.partitions_for(topic))
        return topic, 0 if key is None else (murmur2(key) & 0x7FFFFFFF) % self._counts[topic]


def _check(found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"Kafka put a batch at offset {found}, expected {expected}: somebody else writes to the topic")


async def feed(
    bootstrap: str, stream: Iterable[HostileRecord | HostileBatch], on_progress: Callable[[int], None]
) -> Account:
    """Send the stream in order; return its account once Kafka has acknowledged all. Raises ``KafkaError``."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=False,
        max_batch_size=_BATCH_BYTES,
        max_request_size=16 * _BATCH_BYTES,
        request_timeout_ms=_REQUEST_MS,
        client_id="classpulse-hostile",
    )
    await producer.start()
    try:
        sender = Feed(producer)
        for sent, one in enumerate(stream, start=1):
            if isinstance(one, HostileBatch):
                await sender.send_batch(one)
            else:
                await sender.send(one)
            if sent % _YIELD_RECORDS == 0:
                await asyncio.sleep(0)
                on_progress(sender.account.records)
            if sent % _FLUSH_RECORDS == 0:
                await sender.flush()
        await sender.settle()
        return sender.account
    finally:
        await producer.stop()
