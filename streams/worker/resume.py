"""Taking partitions over after a rebalance: from the checkpoints in ClickHouse and the logs in Kafka to where to read on.

Faust gives a rebalance a limited time and fails beyond it, but ClickHouse or Kafka may be away for longer. So this goes
on in a task of its own for as long as it takes; meanwhile the worker stays in its group and the pipeline waits for
:attr:`Resumer.done`. If partitions are assigned anew before it ends, the latest assignment counts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError

from sinks.stores.checkpoints import NO_OFFSET
from streams.output.dependency import Dependency
from streams.pipeline.partition import Log, Logs, Place
from streams.pipeline.pipeline import Pipeline

log = logging.getLogger("classpulse.resume")

#: So long a rebalance waits; Faust would give up after its request timeout.
PATIENCE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0


class Reader(Protocol):
    """What is asked of the consumer."""

    async def logs(self, places: frozenset[Place]) -> Logs:
        """Return the first and next offset of each log; raises ``KafkaError`` or ``TimeoutError``."""

    async def read_from(self, offsets: Mapping[Place, int]) -> None:
        """Seek; raises ``KafkaError`` or ``TimeoutError``."""


class Resumer:
    """Hands the pipeline its partitions.

    ``run(function, *arguments)`` runs in the database's thread, ``probe(offsets)`` returns fingerprints of records,
    ``fail(error)`` ends the process.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        reader: Callable[[], Reader],
        run: Callable[..., Awaitable[Any]],
        probe: Callable[[Mapping[Place, int]], Awaitable[Mapping[Place, int]]],
        fail: Callable[[Exception], None],
    ) -> None:
        self._pipeline = pipeline
        self._reader = reader
        self._run = run
        self._probe = probe
        self._fail = fail
        self._wanted: frozenset[Place] | None = None
        self._task: asyncio.Task[None] | None = None
        #: Set while the pipeline has its partitions and the consumer reads from where it should.
        self.done = asyncio.Event()
        self.kafka = Dependency(log, "Kafka describes the partitions")

    @property
    def is_busy(self) -> bool:
        """Whether partitions are being taken over."""
        return self._wanted is not None

    async def resume(self, places: frozenset[Place]) -> Mapping[Place, int]:
        """Take over exactly these partitions; return where to read on, or nothing if that is not known soon."""
        # No further write may begin before the checkpoints are read: it would count on from older ones.
        self._pipeline.release()
        self.done.clear()
        self._wanted = places
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._until_resumed())
        try:
            await asyncio.wait_for(self.done.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            log.info("partitions are not taken over yet; reading begins when they are")
            return {}
        return {place: partition.next_offset for place, partition in self._pipeline.partitions.items()}

    def stop(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()

    async def is_another_log(self, place: Place) -> bool:
        """Whether the log of a partition is not the one that was applied: its topic was recreated or truncated.

        Raises ``KafkaError`` or ``TimeoutError`` if Kafka does not say.
        """
        partition = self._pipeline.partitions[place]
        if partition.last_offset != NO_OFFSET:
            found = await self._probe({place: partition.last_offset})
            if place in found:
                return found[place] != partition.last_fingerprint
        start, end = (await self._reader().logs(frozenset({place})))[place]
        return not start <= partition.next_offset <= end

    async def _until_resumed(self) -> None:
        while (wanted := self._wanted) is not None:
            try:
                if await self._take_over(wanted):
                    self._wanted = None
                    self.kafka.back()
                    self.done.set()
            except (KafkaError, TimeoutError) as error:
                self.kafka.away("waiting for Kafka to describe the partitions", str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                # Nobody awaits this task; what it cannot mend ends the process.
                self._fail(error)
                return

    async def _take_over(self, wanted: frozenset[Place]) -> bool:
        """Return False if another assignment came in between."""
        saved = await self._run(self._pipeline.load_checkpoints)
        logs = await self._reader().logs(wanted)
        applied = {
            place: saved[place].last_offset for place in logs if place in saved and saved[place].last_offset != NO_OFFSET
        }
        found = await self._probe(applied)
        if self._wanted is not wanted:
            return False
        offsets = self._pipeline.assign(
            {place: Log(start, end, found.get(place)) for place, (start, end) in logs.items()}, saved
        )
        for partition in [one for one in self._pipeline.partitions.values() if one.ended is not None]:
            await self._run(self._pipeline.adopt, partition)
        if self._wanted is not wanted:
            return False
        await self._reader().read_from(offsets)
        log.info("resumed %s partitions", len(offsets))
        return self._wanted is wanted
