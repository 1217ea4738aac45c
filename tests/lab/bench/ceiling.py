"""The ceiling: a bare aiokafka consumer that reads everything and does nothing with it.

No group, since joining one is not reading. Measured from the first poll to the last record.
"""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.lab.bench.program import Stopwatch, Task

_POLL_MS = 500


async def _read(task: Task) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap,
        max_partition_fetch_bytes=task.fetch_max_bytes,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    partitions = [TopicPartition(task.topic, number) for number in range(task.partitions)]
    # Finding the brokers and opening connections is not reading.
    await consumer.end_offsets(partitions)
    consumer.assign(partitions)
    stopwatch = Stopwatch(task)
    stopwatch.start()
    while True:
        batches = await consumer.getmany(timeout_ms=_POLL_MS)
        stopwatch.count(sum(len(batch) for batch in batches.values()))


if __name__ == "__main__":
    asyncio.run(_read(Task.from_command_line()))
