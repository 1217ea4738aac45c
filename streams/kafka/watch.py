"""Whether Kafka is there, asked again and again on a connection of its own, at a worker's start and ever after.

The consumer itself does not tell: it tries again silently for as long as it takes, and fails if Kafka is away at its start.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import MustStop
from streams.kafka import rights as kafka_rights
from streams.kafka.access import CHECK_SECONDS, KafkaAccess
from streams.output.dependency import Dependency

log = logging.getLogger("classpulse.kafka")

#: So often Kafka is asked while a worker works.
LOOK_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0
#: How Faust's members share out partitions; Kafka keeps members of another protocol out of a group.
PROTOCOL: Final = "faust"
#: A join takes seconds; what takes longer is said.
JOIN_SECONDS: Final = 5.0


class KafkaWatch:
    """Asks a broker to describe itself; one that stands still accepts connections all the same."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access
        self._client: AIOKafkaClient | None = None
        self.state = Dependency(log, "Kafka answers")

    async def until_it_lets_in(self, group: str, topics: Sequence[str]) -> None:
        """Wait until Kafka answers; raises :class:`MustStop` if it rejects this user, its topics or its group."""
        while not await self.look():  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(RETRY_SECONDS)
        await kafka_rights.check(self._access, group, topics)

    async def step(self) -> None:
        """Look, and take a rejection for an absence: it was no rejection when the worker began, so it may pass."""
        try:
            await self.look()
        except MustStop as rejection:
            self.state.away("waiting for Kafka to let this worker in", rejection)

    async def look(self) -> bool:
        """Ask once, and return whether Kafka answered; raises :class:`MustStop` if it rejects this user.

        The answer may come from any broker: where one of several is away, the others do its work.
        """
        for _attempt in range(2 if self._client is not None else 1):
            try:
                await self._ask()
            except (KafkaError, OSError, TimeoutError):
                await self.close()
            else:
                self.state.back()
                return True
        await self._access.check()
        self.state.away(f"waiting for Kafka: no broker answers at {self._access.bootstrap} (CLASSPULSE_KAFKA)")
        return False

    async def members(self, group: str) -> tuple[str, int]:
        """Return a consumer group's protocol, empty before it has one, and how many members Kafka counts.

        Those that were killed a moment ago are included.

        Raises ``KafkaError``, ``OSError`` or ``TimeoutError`` if Kafka does not say.
        """
        client = await self._connected()
        coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
        answer = await client.send(coordinator, DescribeGroupsRequest([group]))
        ((code, _group, _state, _kind, protocol, members, *_rights),) = answer.groups
        if code:
            raise for_code(code)
        return protocol, len(members)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _ask(self) -> None:
        client = await self._connected()
        await client.send(client.get_random_node(), MetadataRequest([]))

    async def _connected(self) -> AIOKafkaClient:
        if self._client is None:
            client = AIOKafkaClient(
                **self._access.client_options(),
                client_id="classpulse-watch",
                request_timeout_ms=int(CHECK_SECONDS * 1000),
            )
            try:
                await client.bootstrap()
            except BaseException:
                await client.close()
                raise
            self._client = client
        return self._client


class Membership:
    """Says what the worker waits for while it is in no consumer group, or its group has not settled.

    ``is_assigned()`` returns whether partitions are assigned and read, or being taken over.
    """

    def __init__(
        self, kafka: KafkaWatch, group: str, session_timeout_seconds: float, is_assigned: Callable[[], bool]
    ) -> None:
        self._kafka = kafka
        self._group = group
        self._session_timeout_seconds = session_timeout_seconds
        self._is_assigned = is_assigned
        self.state = Dependency(log, "the consumer group has settled", patience_seconds=JOIN_SECONDS)

    async def step(self) -> None:
        """Look."""
        if self._is_assigned():
            self.state.back()
        elif self._kafka.state.problem is None:
            waiting = await self._waiting()
            if not self._is_assigned():  # Kafka may have assigned partitions while it was asked
                self.state.away(waiting)

    @property
    def problem(self) -> str | None:
        """What the worker waits for, as of now: the last look may be older than the assignment."""
        return None if self._is_assigned() else self.state.problem

    async def _waiting(self) -> str:
        try:
            protocol, members = await self._kafka.members(self._group)
        except (KafkaError, OSError, TimeoutError) as error:
            return (
                f"waiting for Kafka to name the coordinator of the consumer group {self._group}: "
                f"{str(error) or type(error).__name__}"
            )
        if protocol not in {"", PROTOCOL}:
            return (
                f"waiting for the consumer group {self._group}: another program is a member of it, by the protocol "
                f"{protocol}; end that program, or set CLASSPULSE_GROUP to a group that only workers use"
            )
        others = (
            f": Kafka counts {members} members and waits for each; one that was killed counts until "
            f"{self._session_timeout_seconds:g} s have passed (CLASSPULSE_SESSION_TIMEOUT_SECONDS)"
        )
        return f"waiting for the consumer group {self._group} to settle{others if members > 1 else ''}"
