"""How fast, and at what cost, workers drain what waits in Kafka into a database."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.lab.measure.rig import PATIENCE_SECONDS, MeasuringRig, Store
from tests.lab.rig import WorkerProcess
from tests.lab.rig.usage import rate_per_second

__all__ = ["Cost", "Sample", "cost_between", "drain", "steady"]

SAMPLE_SECONDS: Final = 0.1
_CHECKPOINTS: Final = "SELECT topic, partition, next_offset, consumed, worker FROM checkpoints FINAL"

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: what each partition's checkpoint said, and the CPU time of every process so far."""

    at_seconds: float
    offsets: Mapping[Place, int]
    workers: Mapping[Place, str]
    consumed: int
    cpu_seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Cost:
    """What some events took, from one sample to another."""

    events: int
    seconds: float
    cpu_seconds: Mapping[str, float]

    @property
    def events_per_second(self) -> float:
        """The rate; raises ``ValueError`` if no time passed."""
        return rate_per_second(self.events, self.seconds)

    def cpu_us(self, prefix: str) -> float:
        """Return CPU microseconds for each event, of the processes whose name begins so."""
        spent = sum(seconds for name, seconds in self.cpu_seconds.items() if name.startswith(prefix))
        return 1e6 * spent / max(self.events, 1)

    def to_json(self) -> dict[str, Any]:
        """Return events, seconds, rate, and CPU by process."""
        return {
            "events": self.events,
            "seconds": round(self.seconds, 2),
            "events_per_second": round(self.events_per_second),
            "cpu_seconds": {name: round(seconds, 2) for name, seconds in self.cpu_seconds.items()},
            "cpu_us_per_event": {name: round(self.cpu_us(name), 2) for name in ("worker", "clickhouse", "broker")},
        }


def cost_between(first: Sample, last: Sample) -> Cost:
    """Return what was done and used between two samples; a process that was not there at the first counts from 0."""
    spent = {name: seconds - first.cpu_seconds.get(name, 0.0) for name, seconds in last.cpu_seconds.items()}
    return Cost(last.consumed - first.consumed, last.at_seconds - first.at_seconds, spent)


def drain(rig: MeasuringRig, store: Store, workers: Sequence[WorkerProcess], consumed: int) -> list[Sample]:
    """Return samples from when every worker has its partitions until ``consumed`` records are checkpointed.

    The workers are started already. Raises :class:`schemas.errors.MustStop` if one ends or nothing moves any more.
    """
    for worker in workers:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while worker.said_at_seconds("assigned ") is None:
            worker.check()
            if time.monotonic() > deadline:
                raise worker.trouble(f"No partitions after {PATIENCE_SECONDS:.0f} s")
            time.sleep(SAMPLE_SECONDS / 5)
    samples = [_sample(rig, store)]
    moved_at = time.monotonic()
    while samples[-1].consumed < consumed:
        time.sleep(SAMPLE_SECONDS)
        samples.append(_sample(rig, store))
        for worker in workers:
            worker.check()
        if samples[-1].consumed != samples[-2].consumed:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > PATIENCE_SECONDS:
            raise workers[0].trouble(f"Nothing has moved for {PATIENCE_SECONDS:.0f} s at {samples[-1].consumed}")
    return samples


def steady(samples: Sequence[Sample], workers: int) -> Cost | None:
    """Return the cost of the time in which all ``workers`` had work; None if there was none.

    It begins when each has written a checkpoint, and ends when one of them has nothing left.
    """
    ends = samples[-1].offsets
    before = samples[0].offsets
    begun = [sample for sample in samples if _at_work(sample, before) == workers]
    if not begun:
        return None
    last = next(sample for sample in begun if _one_is_done(sample, ends))
    return cost_between(begun[0], last) if last.consumed > begun[0].consumed else None


def _at_work(sample: Sample, before: Mapping[Place, int]) -> int:
    """Return how many workers have written a checkpoint."""
    return len({sample.workers[place] for place, offset in sample.offsets.items() if offset > before.get(place, 0)})


def _one_is_done(sample: Sample, ends: Mapping[Place, int]) -> bool:
    owned: dict[str, list[Place]] = {}
    for place, worker in sample.workers.items():
        owned.setdefault(worker, []).append(place)
    return any(all(sample.offsets[place] >= ends[place] for place in places) for places in owned.values())


def _sample(rig: MeasuringRig, store: Store) -> Sample:
    cpu_seconds = rig.cpu_seconds()
    rows = store.reader.query(_CHECKPOINTS).result_rows
    return Sample(
        time.time(),
        {(topic, int(partition)): int(offset) for topic, partition, offset, _, _ in rows},
        {(topic, int(partition)): str(worker) for topic, partition, _, _, worker in rows},
        sum(int(consumed) for *_, consumed, _ in rows),
        cpu_seconds,
    )
