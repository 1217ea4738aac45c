"""The dead-letter topic, as the pipeline's thread sees it."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future

from aiokafka import AIOKafkaProducer

from sinks.dead_letters import LARGEST_VALUE_BYTES, DeadLetter
from streams.topics import DEAD_LETTER_TOPIC

#: So many letters are on their way at once, which bounds memory when everything is refused.
LETTERS_AT_ONCE = 1_000


class KafkaDeadLetterTopic:
    """Publishes dead letters on the event loop that owns the producer, while the caller's thread goes on."""

    def __init__(self, bootstrap: str, loop: asyncio.AbstractEventLoop) -> None:
        self._bootstrap = bootstrap
        self._loop = loop
        self._producer: AIOKafkaProducer | None = None

    def publish(self, letters: Sequence[DeadLetter]) -> Future[None]:
        """Begin to publish; done when every replica in sync has all of them, or failed with a ``KafkaError``."""
        return asyncio.run_coroutine_threadsafe(self._publish_all(letters), self._loop)

    async def close(self) -> None:
        """Stop the producer."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _publish_all(self, letters: Sequence[DeadLetter]) -> None:
        for start in range(0, len(letters), LETTERS_AT_ONCE):
            await self._publish(letters[start : start + LETTERS_AT_ONCE])

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
