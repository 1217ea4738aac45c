"""The states of a partition, of its circuit and of the assignment, and every way from one to another.

Whoever changes a state says so by :func:`move`, which rejects what the table does not have.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeVar


class PartitionState(Enum):
    """How the records of an assigned partition come."""

    #: A new epoch begins. What the ended one stored above its last checkpoint is still to be counted.
    ENDED_EPOCH = "ended epoch"
    #: Each batch follows the one before.
    READING = "reading"
    #: Offsets are missing before the last batch. The consumer was sent back for them; what it brings decides.
    SEEKING = "seeking"


class CircuitState(Enum):
    """Whether the records of a partition are let through; see ``streams/pipeline/breaker.py``."""

    CLOSED = "closed"
    #: Most recent records were rejected: the partition is paused.
    OPEN = "open"
    #: The pause is over, and the next batch is a trial.
    HALF_OPEN = "half open"


class AssignmentState(Enum):
    """Whether the worker has its partitions; see ``streams/pipeline/assignment.py``."""

    #: Kafka has not assigned any yet.
    UNASSIGNED = "unassigned"
    #: Checkpoints are read, logs described, ended epochs counted. Batches wait.
    ASSIGNING = "assigning"
    #: The consumer reads from the checkpoints.
    ASSIGNED = "assigned"


TRANSITIONS: Final[Mapping[Enum, Mapping[Enum, str]]] = {
    PartitionState.ENDED_EPOCH: {PartitionState.READING: "the ended epoch is counted"},
    PartitionState.READING: {PartitionState.SEEKING: "a batch begins above the expected offset"},
    PartitionState.SEEKING: {
        PartitionState.SEEKING: "a batch that was on its way before the seek",
        PartitionState.READING: "the missing offsets came, or Kafka does not have them any more",
    },
    CircuitState.CLOSED: {CircuitState.OPEN: "too many of the recent records are rejected"},
    CircuitState.OPEN: {CircuitState.HALF_OPEN: "the pause is over"},
    CircuitState.HALF_OPEN: {
        CircuitState.CLOSED: "the trial batch is good",
        CircuitState.OPEN: "the trial batch is bad; the next pause is twice as long",
    },
    AssignmentState.UNASSIGNED: {AssignmentState.ASSIGNING: "Kafka assigns partitions"},
    AssignmentState.ASSIGNING: {
        AssignmentState.ASSIGNING: "Kafka assigns others meanwhile; the latest assignment counts",
        AssignmentState.ASSIGNED: "the consumer was sent to the checkpoints",
    },
    AssignmentState.ASSIGNED: {AssignmentState.ASSIGNING: "a rebalance, or a checkpoint or a log that is another one"},
}

S = TypeVar("S", bound=Enum)


def move(state: S, to: S) -> S:
    """Return ``to``; raises ``RuntimeError`` if no transition leads there from ``state``."""
    if to not in TRANSITIONS[state]:
        raise RuntimeError(f"no transition leads from {state.value} to {to.value}")
    return to
