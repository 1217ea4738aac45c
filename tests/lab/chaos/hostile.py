"""A seeded stream of hostile records between valid ones, with the verdict that each must get.

Two judges are independent of the worker: the kind of hostility, for kinds that can only be rejected (or only be stored),
and for every record the contract itself, ``schemas.codec.validate``, asked record by record. Where the two disagree, the
contract has a gap, and the record says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Any, Final, Literal, NamedTuple

from deploy.local.simulator import Produced, SimulationConfig, simulate
from deploy.local.simulator.chance import seeded
from schemas.codec.decode import ClockLimits
from schemas.codec.validate import Event, validate
from schemas.events.event_types import FAMILIES
from tests.lab.chaos.hostile_batches import BATCH_KINDS, HostileBatch
from tests.lab.chaos.hostile_faults import EITHER, LARGE, REFUSED, STORED, Draft, Maker, Valid

Verdict = Literal["stored", "rejected"]

#: Below a half, so that a partition is not taken for a broken one and held.
HOSTILE_SHARE: Final = 0.4
_LARGE_SHARE: Final = 0.000_5
#: Each kind of batch comes four times in a run, and in a long run once in so many records.
_BATCHES: Final = 4 * len(BATCH_KINDS)
_BATCH_EVERY: Final = 5_000
#: Bases are cut from simulations of so many events, each with a seed of its own.
_BASES: Final = 20_000
_COMPACTED_TOPIC: Final = "classpulse.registry"
_FAMILIES: Final = {family.topic: family for family in FAMILIES}
VALID: Final = "valid"


class HostileRecord(NamedTuple):
    """One record, its kind, and its outcome. ``disagreement``: what the kind says, where the contract says otherwise."""

    topic: str
    draft: Draft
    kind: str
    verdict: Verdict
    disagreement: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The worker's limits, which the contract is asked under."""

    clock: ClockLimits
    now_us: Callable[[], int]
    max_value_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the contract reads of a record."""

    key: bytes | None
    value: bytes | None
    headers: Any
    timestamp: int
    offset: int = 0


def hostile_stream(
    records: int, seed: int, limits: Limits, without: Collection[str] = ()
) -> Iterator[HostileRecord | HostileBatch]:
    """Yield about ``records`` records; a batch that aiokafka's producer would not build counts as its records.

    ``without``: kinds to leave out.

    Deterministic by ``seed``, but for verdicts at the edge of the clock.
    """
    rng = seeded(seed, "hostile")
    valid = simulate(SimulationConfig(seed=seed * 2, events=records))
    bases = _bases(seed * 2 + 1)
    makers = [
        (name, maker, verdict)
        for kinds, verdict in ((REFUSED, "rejected"), (STORED, "stored"), (EITHER, None))
        for name, maker in kinds.items()
        if name not in without
    ]
    batches = cycle(BATCH_KINDS.items())
    every = min(_BATCH_EVERY, max(1, records // _BATCHES))
    sent, next_batch = 0, every
    while sent < records:
        if sent >= next_batch:
            next_batch = sent + every
            kind, build = next(batches)
            batch = build(kind, next(bases)[0], rng)
            sent += batch.records
            yield batch
        sent += 1
        if rng.random() >= HOSTILE_SHARE:
            one = next(valid)
            yield HostileRecord(one.topic, Draft(one.key, one.value, list(one.headers), one.timestamp_ms), VALID, "stored")
            continue
        topic, base = next(bases)
        if rng.random() < _LARGE_SHARE:
            name, maker = rng.choice(sorted(LARGE.items()))
            yield _judged(topic, name, maker, "rejected", base, rng, limits)
        else:
            yield _judged(topic, *rng.choice(makers), base, rng, limits)


def _judged(
    topic: str, name: str, maker: Maker, expected: str | None, base: Valid, rng: Random, limits: Limits
) -> HostileRecord:
    draft = maker(base, rng)
    if draft.value is None and topic == _COMPACTED_TOPIC:
        draft = draft._replace(value=b"")  # a null there deletes an entry, and the broker may remove it
    record = _Judged(draft.key, draft.value, draft.headers, draft.timestamp_ms)
    answer = validate(
        _FAMILIES[topic], record, 0, clock=limits.clock, now_us=limits.now_us(), max_value_bytes=limits.max_value_bytes
    )
    verdict: Verdict = "stored" if isinstance(answer, Event) else "rejected"
    if expected is None or expected == verdict:
        return HostileRecord(topic, draft, name, verdict)
    return HostileRecord(topic, draft, name, verdict, "stored" if expected == "stored" else "rejected")


def _bases(seed: int) -> Iterator[tuple[str, Valid]]:
    """Yield valid events that nothing else in the stream holds, each once."""
    while True:
        for produced in simulate(SimulationConfig(seed=seed, events=_BASES, binary_share=0.0)):
            yield produced.topic, _valid(produced)
        seed += 1_000_003


def _valid(produced: Produced) -> Valid:
    record = Draft(produced.key, produced.value, list(produced.headers), produced.timestamp_ms)
    return Valid(json.loads(produced.value or b"{}"), record)
