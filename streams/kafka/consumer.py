"""A consumer that reads partitions of its own choice, for the commands and checks that read a log once.

It never waits without a bound: neither for records that a log does not hold, nor to be stopped.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

__all__ = ["Reader", "started_consumer"]

STOP_SECONDS: Final = 1.0
#: A broker hands on what a log holds at once; one that answers without records for so long has none to hand on.
EMPTY_SECONDS: Final = 3.0


@asynccontextmanager
async def started_consumer(**options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer without a group and stop it in the end. Raises ``KafkaError``."""
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False)
    try:
        await consumer.start()
        yield consumer
    finally:
        # aiokafka's fetcher swallows the request to end when partitions were assigned just before. Giving up the wait
        # repeats the request, and the second one counts.
        with suppress(TimeoutError):
            await asyncio.wait_for(consumer.stop(), STOP_SECONDS)


class Reader:
    """Takes what a consumer has fetched, and tells a partition without more records from a broker that owes some.

    The last offsets of a log may hold no record: a transaction's marker, or records that compaction has removed. Then no
    record ever arrives at the log's end.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._heard_ms: dict[TopicPartition, float] = {}

    async def take(
        self, partitions: Collection[TopicPartition], max_records: int | None = None
    ) -> tuple[dict[TopicPartition, list[Any]], set[TopicPartition]]:
        """Return records by partition, after a short wait at most, and the partitions that have no more.

        Raises ``KafkaError``.
        """
        # Taken before the records are: what an answer brought is then among them.
        answered_ms = {partition: self._consumer.last_poll_timestamp(partition) or 0 for partition in partitions}
        batches = await self._consumer.getmany(*partitions, timeout_ms=200, max_records=max_records)
        now_ms = time.time() * 1000
        self._heard_ms |= dict.fromkeys(batches, now_ms)
        heard_ms = {partition: self._heard_ms.setdefault(partition, now_ms) for partition in partitions}
        if batches:
            return batches, set()
        return {}, {one for one in partitions if answered_ms[one] - heard_ms[one] > EMPTY_SECONDS * 1000}
