"""The machine can fail: each known mistake of such a protocol is found within few runs."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from schemas.events.event_types import Family
from sinks.stores.checkpoints import Checkpoint
from sinks.stores.dead_letters import DeadLetter
from streams.pipeline.batch import Batch
from streams.pipeline.partition import Following
from streams.pipeline.partitions import Checkpoints
from streams.pipeline.states import PartitionState
from streams.pipeline.writer import Sinks, Writer
from tests.model.invariants import InvariantBrokenError
from tests.model.machine import ProtocolMachine
from tests.model.memory import MemoryCheckpointStore, MemoryEventStore, MemoryMetricStore
from tests.model.steps import SteppedSession
from tests.model.workers import sinks_in_memory
from tests.oracle.path import Path

MOST_RUNS = int(os.environ.get("CLASSPULSE_PROTOCOL_EXAMPLES", "300"))


class HastyCheckpoints(MemoryEventStore):
    """Events are only stored after the checkpoint."""

    def __init__(self, session: SteppedSession) -> None:
        super().__init__(session)
        self.waiting: list[tuple[Family, pl.DataFrame]] = []

    def insert(self, family: Family, events: pl.DataFrame) -> dict[tuple[int, int], str]:
        """Wait."""
        self.waiting.append((family, events))
        return {}

    def flush(self) -> None:
        """Store what waits."""
        waiting, self.waiting = self.waiting, []
        for family, events in waiting:
            super().insert(family, events)


class CheckpointsFirst(MemoryCheckpointStore):
    """The checkpoint is saved before the events."""

    def __init__(self, session: SteppedSession, events: HastyCheckpoints) -> None:
        super().__init__(session, "planted")
        self._events = events

    def save(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Save, then let the events go."""
        super().save(checkpoints)
        self._events.flush()


class EverythingCounts(MemoryEventStore):
    """What is stored above the checkpoint counts as known."""

    def events_of(self, family: Family, columns: Sequence[str], keys: Sequence[str], below: dict[int, int]) -> pl.DataFrame:
        """Ignore the positions."""
        return super().events_of(family, columns, keys, dict.fromkeys(below, 2**63))


class SameRevision(MemoryMetricStore):
    """Every row has the same revision, so that the last writer wins."""

    def upsert(self, rows: pl.DataFrame) -> None:
        """Write rows."""
        super().upsert(rows.with_columns(pl.lit(1, pl.UInt64).alias("revision")))


class ForgetsNothing(Writer):
    """Cached events outlive a rebalance."""

    def load_checkpoints(self) -> Checkpoints:
        """Forget nothing."""
        return self._sinks.checkpoints.load()


class KeepsCache(Path):
    """Cached events outlive a rebalance."""

    writer_class = ForgetsNothing


class BelievesGaps(Path):
    """Offsets that are missing are taken for dropped at once."""

    def submit(self, batch: Batch) -> Following | None:
        """Take the batch as it comes."""
        partition = self.partitions.get((batch.topic, batch.partition))
        if partition is not None and batch.start > partition.next_offset:
            partition.state, partition.lowest_start = PartitionState.SEEKING, batch.start
        return super().submit(batch)


def checkpoint_first(session: SteppedSession, published: list[DeadLetter]) -> Sinks:
    """Plant a checkpoint that comes before the events."""
    events: Any = HastyCheckpoints(session)
    checkpoints: Any = CheckpointsFirst(session, events)
    return replace(sinks_in_memory(session, published), events=events, checkpoints=checkpoints)


def no_position_filter(session: SteppedSession, published: list[DeadLetter]) -> Sinks:
    """Plant cached events that ignore the checkpoint."""
    events: Any = EverythingCounts(session)
    return replace(sinks_in_memory(session, published), events=events)


def same_revision(session: SteppedSession, published: list[DeadLetter]) -> Sinks:
    """Plant metric rows without a revision."""
    metrics: Any = SameRevision(session)
    return replace(sinks_in_memory(session, published), metrics=metrics)


@pytest.mark.parametrize(
    ("path_class", "built"),
    [
        pytest.param(Path, checkpoint_first, id="the checkpoint is saved before the events"),
        pytest.param(Path, no_position_filter, id="cached events ignore the checkpoint"),
        pytest.param(Path, same_revision, id="the last writer of a metric wins"),
        pytest.param(KeepsCache, sinks_in_memory, id="cached events outlive a rebalance"),
        pytest.param(BelievesGaps, sinks_in_memory, id="a gap is believed at once"),
    ],
)
def test_a_planted_mistake_is_found(path_class: type[Path], built: Callable[..., Sinks]) -> None:
    """The machine finds a run that breaks an invariant."""
    planted = type("Planted", (ProtocolMachine,), {"path_class": path_class, "built": staticmethod(built)})
    few = settings(
        max_examples=MOST_RUNS,
        stateful_step_count=40,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(InvariantBrokenError):
        # These seeds find them within few examples.
        run_state_machine_as_test(seed(2 if path_class is KeepsCache else 1)(planted), settings=few)
