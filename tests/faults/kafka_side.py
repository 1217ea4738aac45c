"""What Kafka's administrators see and do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from streams.kafka.topics import DEAD_LETTER_TOPIC
from tests.end_to_end.harness import AccountedRig

T = TypeVar("T")
GROUP = "classpulse"


def ask(rig: AccountedRig, question: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
    """Ask Kafka as an administrator."""

    async def run() -> T:
        admin = AIOKafkaAdminClient(bootstrap_servers=rig.info.kafka_bootstrap)
        await admin.start()
        try:
            return await question(admin)
        finally:
            await admin.close()

    return asyncio.run(run())


def committed_records(rig: AccountedRig) -> int:
    """Return the sum of the offsets that the workers have committed to Kafka."""
    offsets: dict[Any, Any] = ask(rig, lambda admin: admin.list_consumer_group_offsets(GROUP))
    return sum(max(0, found.offset) for found in offsets.values())


def members(rig: AccountedRig) -> int:
    """Return how many workers are in the group."""

    async def count(admin: AIOKafkaAdminClient) -> int:
        answers = await admin.describe_consumer_groups([GROUP])
        return sum(len(group[5]) for answer in answers for group in answer.groups)

    return ask(rig, count)


def delete_topics(rig: AccountedRig, *names: str) -> None:
    """Delete topics with all they hold."""
    ask(rig, lambda admin: admin.delete_topics(list(names)))


def delete_records(rig: AccountedRig, topic: str, before: dict[int, int]) -> None:
    """Delete the records of each partition before an offset, as retention does."""
    wanted = {TopicPartition(topic, number): RecordsToDelete(offset) for number, offset in before.items()}
    ask(rig, lambda admin: admin.delete_records(wanted))


def dead_letters(rig: AccountedRig, count: int) -> list[Any]:
    """Return the first so many records of the dead-letter topic."""

    async def read() -> list[Any]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=rig.info.kafka_bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(DEAD_LETTER_TOPIC, 0)])
            return [await asyncio.wait_for(consumer.getone(), 30) for _ in range(count)]
        finally:
            await consumer.stop()

    return asyncio.run(read())
