"""The dead-letter topic, as the pipeline's thread sees it."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from sinks.dead_letters import LARGEST_VALUE_BYTES, DeadLetter
from streams.topics import DEAD_LETTER_TOPIC

#: So many letters are on their way at once, which bounds memory when everything is refused.
LETTERS_AT_ONCE = 1_000


class KafkaDeadLetterTopic:
    """Publishes dead letters on the event loop that owns the producer, and waits for the broker in the caller's thread."""

    def __init__(self, bootstrap: str, loop: asyncio.AbstractEventLoop) -> None:
        self._bootstrap = bootstrap
        self._loop = loop
        self._producer: AIOKafkaProducer | None = None

    def publish(self, letters: Sequence[DeadLetter]) -> None:
        """Publish all; returns when every replica in sync has them, raises ``KafkaError`` otherwise."""
        for start in range(0, len(letters), LETTERS_AT_ONCE):
            part = letters[start : start + LETTERS_AT_ONCE]
            asyncio.run_coroutine_threadsafe(self._publish(part), self._loop).result()

    async def close(self) -> None:
        """Stop the producer."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _publish(self, letters: Sequence[DeadLetter]) -> None:
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap, acks="all", client_id="classpulse-dead-letters", linger_ms=5
            )
            await producer.start()
            self._producer = producer
        sent = [
            await self._producer.send(
                DEAD_LETTER_TOPIC,
                value=letter.value[:LARGEST_VALUE_BYTES] if letter.value is not None else None,
                key=letter.key,
                headers=letter.kafka_headers(),
            )
            for letter in letters
        ]
        await asyncio.gather(*sent)
