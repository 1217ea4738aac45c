"""Fingerprints of records: that of the last one applied tells a log from another one under the same name.

A recreated topic can be as long as the old one was, and the end that a broker names is not always the end (the embedded
broker names the first offset of its last batch), so offsets alone do not tell.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition as KafkaPartition

from streams.kafka.consumer import started_consumer
from streams.pipeline.batch import TopicPartition, fingerprint

#: A record that is there comes at once; waiting this long for one that is not delays a rebalance.
PROBE_SECONDS: Final = 3.0
#: A broker that is slow must not be taken for one without the record.
ANSWER_SECONDS: Final = 15.0


async def fingerprints(
    client_options: Mapping[str, Any], offsets: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return the fingerprint of the record at each offset; a partition whose log does not hold it is left out.

    Raises ``KafkaError`` or ``TimeoutError`` if Kafka does not say.
    """
    wanted = {KafkaPartition(*one): offset for one, offset in offsets.items()}
    if not wanted:
        return {}
    async with started_consumer(
        **client_options,
        client_id="classpulse-probe",
        auto_offset_reset="none",
        max_partition_fetch_bytes=65_536,
    ) as consumer:
        consumer.assign(list(wanted))
        for partition, offset in wanted.items():
            consumer.seek(partition, offset)
        return await _read(consumer, wanted)


async def _read(consumer: AIOKafkaConsumer, wanted: dict[KafkaPartition, int]) -> dict[TopicPartition, int]:
    found: dict[TopicPartition, int] = {}
    waiting = set(wanted)
    started = time.monotonic()
    while waiting:
        waited_seconds = time.monotonic() - started
        if waited_seconds > PROBE_SECONDS and not _unanswered(consumer, wanted, waiting):
            break
        if waited_seconds > ANSWER_SECONDS:
            raise TimeoutError(f"no record from {len(waiting)} partitions within {ANSWER_SECONDS:.0f} s")
        try:
            batches = await consumer.getmany(*waiting, timeout_ms=200, max_records=len(waiting))
        except OffsetOutOfRangeError as error:
            waiting -= set(error.args[0])
            continue
        for partition, records in batches.items():
            if len(records) and records[0].offset == wanted[partition]:
                found[partition.topic, partition.partition] = fingerprint(records[0])
        for partition in [one for one in waiting if await consumer.position(one) > wanted[one]]:
            # It has passed the offset, whether that holds a record or a transaction's marker.
            waiting.discard(partition)
            consumer.pause(partition)
    return found


def _unanswered(consumer: AIOKafkaConsumer, wanted: dict[KafkaPartition, int], waiting: set[KafkaPartition]) -> bool:
    """Whether the broker owes an answer: it has not said where a log ends, or that it reaches beyond the offset."""
    ends = {partition: consumer.highwater(partition) for partition in waiting}
    return any(end is None or wanted[partition] < end for partition, end in ends.items())
