"""From Kafka's assignment of partitions to where the consumer reads on: by the checkpoints, and by what the logs are.

Faust gives a rebalance a limited time and fails beyond it, but ClickHouse or Kafka may be away for longer. So this goes
on in a task of its own for as long as it takes; meanwhile the worker stays in its group and the pipeline waits for
:attr:`Assignment.complete`. If partitions are assigned anew before it ends, the latest assignment counts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiokafka.errors import KafkaError

from sinks.stores.checkpoints import NO_OFFSET
from streams.output.dependency import Dependency
from streams.pipeline.batch import Consumer, TopicPartition
from streams.pipeline.partition import Log, Partition
from streams.pipeline.partitions import Partitions
from streams.pipeline.states import AssignmentState, PartitionState, move
from streams.pipeline.threads import Failure, OneThread
from streams.pipeline.writer import Writer

log = logging.getLogger("classpulse.assignment")

#: So long a rebalance waits; Faust would give up after its request timeout.
PATIENCE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0

#: Returns the fingerprint of the record at each of the given offsets, where the log has one; raises as a consumer does.
Probe = Callable[[Mapping[TopicPartition, int]], Awaitable[Mapping[TopicPartition, int]]]


class Assignment:
    """Fills the partitions. ``confirm`` runs in the thread ``writing`` before the checkpoints are read."""

    def __init__(
        self,
        partitions: Partitions,
        writer: Writer,
        writing: OneThread,
        consumer: Callable[[], Consumer],
        probe: Probe,
        failure: Failure,
        confirm: Callable[[], None] = lambda: None,
    ) -> None:
        self._partitions = partitions
        self._writer = writer
        self._writing = writing
        self._consumer = consumer
        self._probe = probe
        self._failure = failure
        self._confirm = confirm
        self._wanted: frozenset[TopicPartition] = frozenset()
        self._generation = 0
        self._task: asyncio.Task[None] | None = None
        self.state = AssignmentState.UNASSIGNED
        #: Set in the state ASSIGNED.
        self.complete = asyncio.Event()
        self.kafka = Dependency(log, "Kafka describes the partitions")

    @property
    def is_under_way(self) -> bool:
        """Whether Kafka has assigned partitions that are not read yet."""
        return self.state is AssignmentState.ASSIGNING

    async def assign(self, wanted: frozenset[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Begin with exactly these partitions; return where to read on, or nothing if that is not known soon."""
        self.state = move(self.state, AssignmentState.ASSIGNING)
        # No further write may begin before the checkpoints are read: it would count on from older ones.
        self._partitions.revoke()
        self.complete.clear()
        self._wanted = wanted
        self._generation += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._until_assigned())
        try:
            await asyncio.wait_for(self.complete.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            log.info("waiting for ClickHouse and Kafka to answer before the partitions are read")
            return {}
        return self._partitions.next_offsets()

    async def assign_again(self) -> None:
        """Begin anew with the same partitions, from their checkpoints."""
        await self.assign(self._wanted)

    def stop(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()

    async def is_another_log(self, partition: Partition) -> bool:
        """Whether the log of a partition is not the one that was applied: its topic was recreated or truncated.

        Raises ``KafkaError`` or ``TimeoutError`` if Kafka does not say.
        """
        one = partition.topic_partition
        if partition.last_offset != NO_OFFSET:
            found = await self._probe({one: partition.last_offset})
            if one in found:
                return found[one] != partition.last_fingerprint
        start, end = (await self._consumer().logs(frozenset({one})))[one]
        return not start <= partition.next_offset <= end

    async def _until_assigned(self) -> None:
        while self.is_under_way:
            try:
                if await self._is_assigned(self._generation):
                    self.state = move(self.state, AssignmentState.ASSIGNED)
                    self.kafka.back()
                    self.complete.set()
            except (KafkaError, TimeoutError) as error:
                self.kafka.away("waiting for Kafka to describe the partitions", str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception as error:
                # Nobody awaits this task; what is not to be waited for ends the process.
                self._failure.note(error)
                return

    async def _is_assigned(self, generation: int) -> bool:
        """Assign; return False if Kafka has assigned others, or another beginning was asked for, meanwhile."""
        wanted = self._wanted
        await self._writing.run(self._confirm)
        saved = await self._writing.run(self._writer.load_checkpoints)
        logs = await self._consumer().logs(wanted)
        applied = {one: saved[one].last_offset for one in logs if one in saved and saved[one].last_offset != NO_OFFSET}
        found = await self._probe(applied)
        if self._generation != generation:
            return False
        described = {one: Log(start, end, found.get(one)) for one, (start, end) in logs.items()}
        offsets = self._partitions.assign(described, saved)
        for partition in self._partitions.all():
            if partition.state is PartitionState.ENDED_EPOCH:
                below = self._partitions.stored_below()
                counted = await self._writing.run(self._writer.count_ended_epoch, partition, below)
                self._partitions.ended_epoch_counted(partition, counted)
        if self._generation != generation:
            return False
        await self._consumer().seek_offsets(offsets)
        log.info("assigned %s partitions, read from their checkpoints", len(offsets))
        return self._generation == generation
