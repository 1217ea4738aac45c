"""Whether Kafka has every topic that a worker reads or writes, asked again and again: a topic can be deleted under it.

A consumer says nothing of it: it reads the partitions that it finds.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.metadata import MetadataRequest

from streams.kafka.topics import Topic
from streams.pipeline.telemetry import Telemetry

log = logging.getLogger("classpulse.topics")

CHECK_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 5.0


class TopicWatch:
    """Keeps ``problems``, one sentence for each topic that is not as declared; of an absent broker others tell."""

    def __init__(self, client_options: Mapping[str, Any], topics: Sequence[Topic], telemetry: Telemetry) -> None:
        self._client_options = dict(client_options)
        self._topics = topics
        self._telemetry = telemetry
        self._client: AIOKafkaClient | None = None
        self._asked_at = -CHECK_SECONDS
        self.problems: tuple[str, ...] = ()

    async def step(self) -> None:
        """Ask once in :data:`CHECK_SECONDS`."""
        if time.monotonic() - self._asked_at < CHECK_SECONDS:
            return
        self._asked_at = time.monotonic()
        try:
            self._note(await self._ask())
        except (KafkaError, OSError, TimeoutError):
            await self.close()

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _ask(self) -> Any:
        if self._client is None:
            self._client = AIOKafkaClient(
                **self._client_options, client_id="classpulse-topics", request_timeout_ms=int(REQUEST_SECONDS * 1000)
            )
            await self._client.bootstrap()
        names = [topic.name for topic in self._topics]
        return await self._client.send(
            self._client.get_random_node(), MetadataRequest(names, allow_auto_topic_creation=False)
        )

    def _note(self, answer: Any) -> None:
        found = {name: (code, rest[-1]) for code, name, *rest in answer.topics}
        problems = []
        for topic in self._topics:
            code, partitions = found.get(topic.name, (0, ()))
            led = [partition for _code, partition, leader, *_rest in partitions if leader >= 0]
            self._telemetry.missing_partitions.labels(topic.name).set(max(0, topic.partitions - len(led)))
            if (problem := _problem(topic, code, len(partitions), len(led))) is not None:
                problems.append(problem)
        for problem in problems:
            if problem not in self.problems:
                log.warning("%s", problem)
        if self.problems and not problems:
            log.info("Kafka has every topic again")
        self.problems = tuple(problems)


def _problem(topic: Topic, code: int, partitions: int, led: int) -> str | None:
    if code == TopicAuthorizationFailedError.errno:
        return f"Kafka does not show the topic {topic.name} to this user: run `classpulse topics create --acls`"
    if not partitions:
        return f"Kafka has no topic {topic.name}: run `classpulse topics create`"
    if partitions < topic.partitions:
        return (
            f"the topic {topic.name} has {partitions} of {topic.partitions} partitions: if it holds nothing yet, delete it "
            "and run `classpulse topics create`; otherwise see docs/operations.md"
        )
    if led < partitions:
        return f"the topic {topic.name} has {partitions - led} partitions that no broker leads: bring their brokers back"
    return None
