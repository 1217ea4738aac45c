"""What a worker says while its consumer group assigns it nothing."""

import asyncio
from typing import cast

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from streams.kafka.watch import PROTOCOL, KafkaWatch, Membership, log
from streams.output.dependency import Dependency


class Kafka:
    """A Kafka that describes the group as it was told."""

    def __init__(self, answer: tuple[str, int] | KafkaError) -> None:
        self.answer = answer
        self.state = Dependency(log, "Kafka answers")

    async def members(self, _group: str) -> tuple[str, int]:
        """Describe the group."""
        if isinstance(self.answer, KafkaError):
            raise self.answer
        return self.answer


def waited_for(kafka: Kafka, *, assigned: bool = False) -> str | None:
    """Return what the worker says."""
    membership = Membership(cast("KafkaWatch", kafka), "workers", 10, lambda: assigned)
    asyncio.run(membership.step())
    return membership.state.problem


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (("", 0), ["the consumer group workers to settle"]),
        ((PROTOCOL, 3), ["the consumer group workers to settle", "3 members", "10 s", "CLASSPULSE_SESSION_TIMEOUT"]),
        (("range", 1), ["the consumer group workers", "another program", "range", "CLASSPULSE_GROUP"]),
        (GroupCoordinatorNotAvailableError(), ["the coordinator of the consumer group workers", "NotAvailable"]),
    ],
)
def test_it_names_the_group_the_cause_and_the_remedy(answer: tuple[str, int] | KafkaError, words: list[str]) -> None:
    """Members that are gone, a program that is none of ours, a coordinator that is not there: each has its sentence."""
    said = waited_for(Kafka(answer))
    assert said is not None
    for word in words:
        assert word in said


def test_nothing_is_said_of_the_group_while_it_works_or_kafka_is_away() -> None:
    """An assigned worker waits for nothing; while no broker answers, that alone is said."""
    assert waited_for(Kafka(("", 0)), assigned=True) is None
    kafka = Kafka(("", 0))
    kafka.state.away("waiting for Kafka")
    assert waited_for(kafka) is None


def test_what_was_asked_before_the_assignment_is_not_said_after_it() -> None:
    """Partitions assigned while Kafka describes the group, or after that, end the wait at once, not at the next look."""
    assigned = False

    class Slow(Kafka):
        async def members(self, group: str) -> tuple[str, int]:
            nonlocal assigned
            assigned = True
            return await super().members(group)

    membership = Membership(cast("KafkaWatch", Slow(("", 0))), "workers", 10, lambda: assigned)
    asyncio.run(membership.step())
    assert (membership.problem, membership.state.problem) == (None, None)
    membership.state.away("waiting for the group")
    assert membership.problem is None
    assigned = False
    assert membership.problem == "waiting for the group"
