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
from streams.pipeline.pipeline import Checkpoints, Pipeline, Sinks
from tests.model.laws import LawBrokenError
from tests.model.machine import ProtocolMachine
from tests.model.memory import MemoryCheckpointStore, MemoryEventStore, MemoryMetricStore
from tests.model.steps import SteppedSession
from tests.model.workers import sinks_in_memory

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

    def facts(self, family: Family, columns: Sequence[str], keys: Sequence[str], below: dict[int, int]) -> pl.DataFrame:
        """Ignore the positions."""
        return super().facts(family, columns, keys, dict.fromkeys(below, 2**63))


class SameRevision(MemoryMetricStore):
    """Every row has the same revision, so that the last writer wins."""

    def upsert(self, rows: pl.DataFrame) -> None:
        """Write rows."""
        super().upsert(rows.with_columns(pl.lit(1, pl.UInt64).alias("revision")))


class KeepsFacts(Pipeline):
    """Facts outlive a rebalance."""

    def load_checkpoints(self) -> Checkpoints:
        """Forget nothing."""
        return self._sinks.checkpoints.load()


class BelievesHoles(Pipeline):
    """A gap above the expected offset is taken for a hole at once."""

    def following(self, *arguments: Any) -> Any:
        """Take the batch as it comes."""
        batch = arguments[-1]
        partition = self.partitions.get((batch.topic, batch.partition))
        if partition is not None:
            partition.sought = (partition.next_offset, batch.start)
        return super().following(*arguments)


def checkpoint_first(session: SteppedSession, published: list[DeadLetter]) -> Sinks:
    """Plant a checkpoint that comes before the events."""
    events: Any = HastyCheckpoints(session)
    checkpoints: Any = CheckpointsFirst(session, events)
    return replace(sinks_in_memory(session, published), events=events, checkpoints=checkpoints)


def no_position_filter(session: SteppedSession, published: list[DeadLetter]) -> Sinks:
    """Plant facts that ignore the checkpoint."""
    events: Any = EverythingCounts(session)
    return replace(sinks_in_memory(session, published), events=events)


def same_revision(session: SteppedSession, published: list[DeadLetter]) -> Sinks:
    """Plant metric rows without a revision."""
    metrics: Any = SameRevision(session)
    return replace(sinks_in_memory(session, published), metrics=metrics)


@pytest.mark.parametrize(
    ("pipeline_class", "built"),
    [
        pytest.param(Pipeline, checkpoint_first, id="the checkpoint is saved before the events"),
        pytest.param(Pipeline, no_position_filter, id="facts ignore the checkpoint"),
        pytest.param(Pipeline, same_revision, id="the last writer of a metric wins"),
        pytest.param(KeepsFacts, sinks_in_memory, id="facts outlive a rebalance"),
        pytest.param(BelievesHoles, sinks_in_memory, id="a hole is believed at once"),
    ],
)
def test_a_planted_mistake_is_found(pipeline_class: type[Pipeline], built: Callable[..., Sinks]) -> None:
    """The machine finds a run that breaks a law."""
    planted = type("Planted", (ProtocolMachine,), {"pipeline_class": pipeline_class, "built": staticmethod(built)})
    few = settings(
        max_examples=MOST_RUNS,
        stateful_step_count=40,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(LawBrokenError):
        # These seeds find them within few examples.
        run_state_machine_as_test(seed(2 if pipeline_class is KeepsFacts else 1)(planted), settings=few)
