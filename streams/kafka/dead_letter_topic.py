"""The dead-letter topic, as the pipeline's thread sees it."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)

from schemas.errors import MustStop, Stopping
from sinks.stores.dead_letters import DeadLetter
from streams.kafka.topics import DEAD_LETTER_TOPIC
from streams.output.dependency import Dependency

log = logging.getLogger("classpulse.dead_letters")

#: Dead letters that are on their way at once: bounds memory when everything is rejected.
LETTERS_AT_ONCE: Final = 1_000
BYTES_AT_ONCE: Final = 16 * 1024 * 1024
REQUEST_SECONDS: Final = 10.0
FIRST_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 10.0
#: What waiting does not mend. (Whether an error is "retriable" by aiokafka says little: its own timeout is not.)
_REFUSALS: Final = (
    ClusterAuthorizationFailedError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)


def _portions(letters: Sequence[DeadLetter]) -> Iterator[list[DeadLetter]]:
    portion: list[DeadLetter] = []
    size_bytes = 0
    for letter in letters:
        portion.append(letter)
        size_bytes += letter.size_bytes
        if len(portion) >= LETTERS_AT_ONCE or size_bytes >= BYTES_AT_ONCE:
            yield portion
            portion, size_bytes = [], 0
    if portion:
        yield portion


class KafkaDeadLetterTopic:
    """Publishes dead letters on the event loop that owns the producer, while the caller's thread goes on.

    While the topic is away it tries again, for as long as it takes: the checkpoint waits for the dead letters, so nothing
    is diverted and forgotten. ``on_retry(error)`` is called before each wait.
    """

    def __init__(
        self,
        client_options: Mapping[str, Any],
        loop: asyncio.AbstractEventLoop,
        on_retry: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        self._client_options = dict(client_options)
        self._loop = loop
        self._on_retry = on_retry
        self._producer: AIOKafkaProducer | None = None
        self._stopping = asyncio.Event()
        self.state = Dependency(log, "Kafka takes dead letters")

    def publish(self, letters: Sequence[DeadLetter]) -> Future[None]:
        """Begin to publish; done when every replica in sync has all of them.

        The future holds :class:`MustStop` for what waiting cannot mend, :class:`Stopping` when closed meanwhile.
        """
        return asyncio.run_coroutine_threadsafe(self._publish_all(letters), self._loop)

    async def close(self) -> None:
        """Give up what is under way, and stop the producer."""
        self._stopping.set()
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _publish_all(self, letters: Sequence[DeadLetter]) -> None:
        for some in _portions(letters):
            await self._until_published(some)

    async def _until_published(self, letters: Sequence[DeadLetter]) -> None:
        delay_seconds = FIRST_DELAY_SECONDS
        while True:
            try:
                await self._publish(letters)
            except KafkaError as error:
                if self._stopping.is_set():
                    raise Stopping("Stopped before all dead letters were published") from error
                if isinstance(error, _REFUSALS):
                    raise MustStop(
                        f"Kafka rejects dead letters: {error}",
                        f"Let this user write to {DEAD_LETTER_TOPIC}, in the size that streams/kafka/topics.yaml gives",
                    ) from error
                await self._wait(error, delay_seconds)
                delay_seconds = min(LONGEST_DELAY_SECONDS, delay_seconds * 2)
            else:
                self.state.back()
                return

    async def _wait(self, error: KafkaError, seconds: float) -> None:
        self.state.away(f"waiting for Kafka to take dead letters: {str(error) or type(error).__name__}")
        self._on_retry(error)
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        raise Stopping("Stopped while waiting to publish dead letters") from error

    async def _publish(self, letters: Sequence[DeadLetter]) -> None:
        producer = self._producer or await self._started()
        sent = [
            await producer.send(
                DEAD_LETTER_TOPIC, value=letter.kafka_value, key=letter.kafka_key, headers=letter.kafka_headers()
            )
            for letter in letters
        ]
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failed:
            raise failed[0]

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._client_options,
            acks="all",
            client_id="classpulse-dead-letters",
            linger_ms=5,
            request_timeout_ms=int(REQUEST_SECONDS * 1000),
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        return producer
