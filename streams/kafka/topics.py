"""The topics, declared once in ``streams/kafka/topics.yaml``, and how they come to be."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Final

import aiokafka.client
import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.protocol.metadata import MetadataRequest

DEAD_LETTER_TOPIC: Final = "classpulse.dead-letters"
#: A user may create a topic without the right to see it: then this is all the waiting there is.
SETTLE_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: its partitions and its settings on the broker."""

    name: str
    partitions: int
    config: dict[str, str]


def declared(event_partitions: int | None = None) -> list[Topic]:
    """Return every topic of the declaration; ``event_partitions`` replaces the partitions of all but the dead letters."""
    text = files("streams.kafka").joinpath("topics.yaml").read_text(encoding="utf-8")
    return [
        Topic(
            entry["name"],
            event_partitions if event_partitions and entry["name"] != DEAD_LETTER_TOPIC else entry["partitions"],
            {key: str(value) for key, value in entry["config"].items()},
        )
        for entry in yaml.safe_load(text)["topics"]
    ]


async def create(kafka: str | Mapping[str, Any], topics: Sequence[Topic], replication: int = 1) -> list[str]:
    """Create the topics that are missing; return their names. ``kafka``: bootstrap servers, or a client's options.

    An existing topic is left as it is: more partitions would move keys to other partitions. Returns once a broker names
    the new ones to its clients, which is a moment after they were made.
    """
    options = {"bootstrap_servers": kafka} if isinstance(kafka, str) else kafka
    admin = AIOKafkaAdminClient(**options, client_id="classpulse-topics")
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        if not missing:
            return []
        answer = await admin.create_topics(
            [NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.config) for topic in missing]
        )
        for _name, code, *_rest in answer.topic_errors:
            if code and code != TopicAlreadyExistsError.errno:
                raise for_code(code)
        await _settled(admin, {topic.name for topic in missing})
        return [topic.name for topic in missing]
    finally:
        await admin.close()


def never_create_by_asking() -> None:
    """Let no client of this process create a topic by asking for it; again is harmless.

    aiokafka's clients ask so that a broker with ``auto.create.topics.enable``, Kafka's default, makes what is missing: with
    one partition, and without the declared settings.
    """
    aiokafka.client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)


async def _settled(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        if names <= set(await admin.list_topics()):
            return
        await asyncio.sleep(POLL_SECONDS)
