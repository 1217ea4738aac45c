"""Publishes records steadily, and keeps the account of what Kafka has acknowledged, record by record."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from deploy.local.simulator import Ledger, Produced, source_and_id
from schemas.errors import MustStop

Place = tuple[str, int]

#: Records handed to the producer and not acknowledged yet; more wait.
MOST_UNACKNOWLEDGED: Final = 2_000
#: Kafka may be away for so long; a record that waits longer has an unknown outcome, and the run is void.
REQUEST_MS: Final = 120_000
_LINGER_MS: Final = 20


def identity(key: bytes, source: str, event_id: str) -> int:
    """Return 64 bits that stand for an event: a set of a million takes little memory."""
    digest = blake2b(digest_size=8)
    for part in (key, source.encode(), event_id.encode()):
        digest.update(len(part).to_bytes(4, "big") + part)
    return int.from_bytes(digest.digest(), "big")


def identity_of(record: Produced) -> int:
    """Read the identity from a valid record, structured or binary."""
    return identity(record.key or b"", *source_and_id(record))


class Account:
    """What is in Kafka for certain: in all, by partition, and every unique event."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        #: place -> Counter of stored, duplicate, dead_letter
        self.partitions: dict[Place, Counter[str]] = {}
        #: topic -> identities of its unique valid events
        self.events: dict[str, set[int]] = {}

    def add(self, record: Produced, partition: int) -> None:
        """Take note of one acknowledged record."""
        self.ledger.add(record)
        self.partitions.setdefault((record.topic, partition), Counter())[record.outcome] += 1
        if record.outcome == "stored":
            self.events.setdefault(record.topic, set()).add(identity_of(record))


class Feed:
    """Publishes in a thread of its own, straight to the broker.

    ``idempotent``: the broker recognises what the producer sends again, so a lost acknowledgement doubles nothing.
    ``sent`` and ``acknowledged`` count records and may be read at any time; ``account`` only after ``finish``.
    """

    def __init__(self, bootstrap: str, records: Iterable[Produced], records_per_second: float, *, idempotent: bool) -> None:
        self._bootstrap = bootstrap
        self._records = records
        self._records_per_second = records_per_second
        self._idempotent = idempotent
        self._failure: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self.account = Account()
        self.sent = 0
        self.acknowledged = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more; what was sent is still acknowledged."""
        self._stopped.set()

    def finish(self, timeout_seconds: float) -> Account:
        """Wait until everything is sent and acknowledged; raises :class:`MustStop` if that fails."""
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            raise MustStop(f"Kafka has not taken all records after {timeout_seconds:.0f} s", "Look at the broker's log")
        if self._failure is not None:
            raise MustStop(
                f"A record's outcome in Kafka is unknown, so nothing can be counted: {self._failure!r}", "Repeat the run"
            ) from self._failure
        return self.account

    def _run(self) -> None:
        try:
            asyncio.run(self._publish())
        except Exception as error:  # whatever it is, finish() raises it
            self._failure = error

    async def _publish(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=self._idempotent,
            linger_ms=_LINGER_MS,
            request_timeout_ms=REQUEST_MS,
            client_id="classpulse-torture",
        )
        await producer.start()
        try:
            await self._send_all(producer)
        finally:
            await producer.stop()

    async def _send_all(self, producer: AIOKafkaProducer) -> None:
        began = time.monotonic()
        room = asyncio.Semaphore(MOST_UNACKNOWLEDGED)
        pending: set[asyncio.Future[Any]] = set()

        def acknowledge(record: Produced, future: asyncio.Future[Any]) -> None:
            pending.discard(future)
            room.release()
            try:
                self.account.add(record, future.result().partition)
            except (KafkaError, asyncio.CancelledError) as error:
                self._failure = self._failure or error
                return
            self.acknowledged += 1

        for record in self._records:
            if self._stopped.is_set() or self._failure is not None:
                break
            await asyncio.sleep(max(0.0, self.sent / self._records_per_second - (time.monotonic() - began)))
            await room.acquire()
            partitions = await producer.partitions_for(record.topic)
            future = await producer.send(
                record.topic,
                record.value,
                record.key,
                partition=_partition(record.key, len(partitions)),
                timestamp_ms=record.timestamp_ms,
                headers=record.headers,
            )
            pending.add(future)
            future.add_done_callback(lambda done, record=record: acknowledge(record, done))
            self.sent += 1
        while pending:
            await asyncio.wait(set(pending))


def _partition(key: bytes | None, count: int) -> int:
    """Choose as Kafka's default partitioner does; a record without key goes to the first, so that runs are repeatable."""
    return 0 if key is None else (murmur2(key) & 0x7FFFFFFF) % count
