"""Waits until workers have applied what was sent: their checkpoints, held against the ends of Kafka's logs."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from clickhouse_connect.driver.client import Client

from schemas.errors import MustStop
from schemas.events.event_types import FAMILIES
from sinks.clickhouse.client import Target
from streams.cli.reading import reading
from streams.kafka.access import KafkaAccess

__all__ = ["Applied"]

#: A worker that has just been started needs some seconds to join its group.
PATIENCE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.3
_CHECKPOINTS: Final = "SELECT topic, toInt64(partition), toInt64(next_offset), toInt64(consumed) FROM checkpoints FINAL"


class Applied:
    """Made before anything is sent. Raises :class:`MustStop` when ClickHouse cannot be read."""

    def __init__(self, target: Target, access: KafkaAccess) -> None:
        self._target = target
        self._access = access
        with reading(target, "read the checkpoints") as client:
            self._consumed_before = _read(client)[0]

    def wait(self, sent: int, on_progress: Callable[[int], None]) -> None:
        """Return when ``sent`` records more are applied, and all that the logs hold; ``on_progress`` gets how many are.

        Raises :class:`MustStop` when nothing has moved for ``PATIENCE_SECONDS``.
        """
        ends = asyncio.run(self._log_ends())
        moved_at, last = time.monotonic(), -1
        with reading(self._target, "read the checkpoints") as client:
            while True:
                consumed, offsets = _read(client)
                applied = consumed - self._consumed_before
                # The counters tell a new log from the one before it, the offsets tell a backlog from what was sent.
                if applied >= sent and all(offsets.get(partition, 0) >= end for partition, end in ends.items()):
                    on_progress(sent)
                    return
                if applied != last:
                    moved_at, last = time.monotonic(), applied
                    on_progress(min(applied, sent))
                if time.monotonic() - moved_at > PATIENCE_SECONDS:
                    raise MustStop(
                        f"Workers have taken {applied:,} of the {sent:,} records, and nothing has moved for "
                        f"{PATIENCE_SECONDS:.0f} s",
                        "Start a worker with the same settings (`classpulse worker`), or read in its log what it waits "
                        "for. The records stay in Kafka",
                    )
                time.sleep(_POLL_SECONDS)

    async def _log_ends(self) -> dict[tuple[str, int], int]:
        # Without a group it has every partition of the topics assigned as soon as it has started.
        consumer = AIOKafkaConsumer(
            *(family.topic for family in FAMILIES), **self._access.client_options(), client_id="classpulse-simulator"
        )
        try:
            await consumer.start()
            ends = await consumer.end_offsets(list(consumer.assignment()))
            return {(partition.topic, partition.partition): end for partition, end in ends.items()}
        except KafkaError as error:
            raise MustStop(f"Kafka does not say how much it holds ({error!r})", "The records are sent") from error
        finally:
            await consumer.stop()


def _read(client: Client) -> tuple[int, dict[tuple[str, int], int]]:
    """Return how many records are applied in all, and the next offset of each partition."""
    rows = client.query(_CHECKPOINTS).result_rows
    return sum(row[3] for row in rows), {(row[0], row[1]): row[2] for row in rows}
