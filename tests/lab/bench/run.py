"""All rounds of one benchmark, alternating, and the result."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

from tests.lab.bench import ceiling
from tests.lab.bench.catalogue import LIMIT_SECONDS, Peer, Python
from tests.lab.bench.launch import ProgramError, launch
from tests.lab.bench.mixes import TOPIC, Mix
from tests.lab.bench.product import Product
from tests.lab.bench.program import Task
from tests.lab.bench.reading import ProductReading, Reading, median_rate, ratio, spread

__all__ = ["CEILING", "CLASSPULSE", "Plan", "Result", "Show", "run"]

CEILING: Final = "ceiling"
CLASSPULSE: Final = "classpulse"
_CEILING_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    ``partitions``: of the topic. ``fetch_max_bytes``: what the worker and the ceiling fetch from a partition at most.
    ``clickhouse``: the variables by which a peer finds a database to write to; they hold a password.
    """

    bootstrap: str
    partitions: int
    events: int
    rounds: int
    mix: Mix
    peers: Sequence[Peer]
    python: Python
    fetch_max_bytes: int
    logs: Path
    clickhouse: dict[str, str] = field(repr=False)


class Show(Protocol):
    """Where progress is shown."""

    def step(self, what: str) -> None:
        """Say what happens now."""

    def bar(self, what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show a bar while the block runs; it is given how many are done."""


@dataclass(slots=True)
class Result:
    """What was measured; ``missing`` says of a peer why it was not."""

    ceiling: list[Reading] = field(default_factory=list)
    classpulse: list[ProductReading] = field(default_factory=list)
    peers: dict[str, list[Reading]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def ratio_to_ceiling(self) -> float:
        """How much of the ceiling classpulse reaches: of the medians."""
        return ratio(self._product_rate(), median_rate(self.ceiling))

    @property
    def verify_differences(self) -> int | None:
        """The differences of all rounds that were verified; None where none was."""
        found = [reading.differences for reading in self.classpulse if reading.differences is not None]
        return sum(found) if found else None

    @property
    def invariants_hold(self) -> bool:
        """Every round's accounts balance, and a round was verified without a difference."""
        return all(reading.accounts_balance for reading in self.classpulse) and self.verify_differences == 0

    def to_json(self) -> dict[str, Any]:
        """Return the result's part of what ``--json`` prints; the medians come first."""
        rate = self._product_rate()
        return {
            "ceiling_events_per_second": round(median_rate(self.ceiling), 1),
            "classpulse_events_per_second": round(rate, 1),
            "ratio_to_ceiling": self.ratio_to_ceiling,
            "peers": {name: _peer_json(readings, rate) for name, readings in self.peers.items()},
            "not_measured": self.missing,
            "laws_hold": self.invariants_hold,
            "verify_differences": self.verify_differences,
            **self._costs(),
            "spread": {
                CEILING: round(spread(self.ceiling), 3),
                CLASSPULSE: round(spread([each.reading for each in self.classpulse]), 3),
            },
            "rounds": {
                CEILING: [reading.to_json() for reading in self.ceiling],
                CLASSPULSE: [reading.to_json() for reading in self.classpulse],
                **{name: [reading.to_json() for reading in readings] for name, readings in self.peers.items()},
            },
        }

    def _costs(self) -> dict[str, Any]:
        return {
            "worker_cpu_us_per_event": _median(each.reading.cpu_us_per_event for each in self.classpulse),
            "clickhouse_cpu_us_per_event": _median(each.clickhouse_cpu_us_per_event for each in self.classpulse),
            "ceiling_cpu_us_per_event": _median(each.cpu_us_per_event for each in self.ceiling),
            "startup_seconds": _median(each.startup_seconds for each in self.classpulse),
            "worker_peak_memory_bytes": max(each.peak_memory_bytes for each in self.classpulse),
        }

    def _product_rate(self) -> float:
        return median_rate([each.reading for each in self.classpulse])


def run(plan: Plan, product: Product, show: Show) -> Result:
    """Measure everything ``plan.rounds`` times, one after the other, round by round.

    A peer that gives no answer is not asked again, and is among the missing. The last round of classpulse is verified.
    Raises :class:`schemas.errors.MustStop` where classpulse does not get through, :class:`ProgramError` where the
    ceiling does not.
    """
    result = Result()
    for peer in plan.peers:
        if (remedy := peer.missing(plan.python)) is not None:
            result.missing[peer.name] = remedy
            show.step(f"{peer.name} is not measured: {remedy}")
    for number in range(1, plan.rounds + 1):
        show.step(f"Round {number} of {plan.rounds}")
        _one_round(plan, product, result, number, show)
    return result


def _one_round(plan: Plan, product: Product, result: Result, number: int, show: Show) -> None:
    with show.bar(f"  {CEILING}", plan.events) as update:
        result.ceiling.append(_ceiling(plan))
        update(plan.events)
    show.step(f"  {CEILING}: {result.ceiling[-1].events_per_second:,.0f} events/s")
    with show.bar(f"  {CLASSPULSE}", plan.events) as update:
        measured = product.measure(number, verified=number == plan.rounds, on_progress=update)
        result.classpulse.append(measured)
    show.step(f"  {CLASSPULSE}: {measured.reading.events_per_second:,.0f} events/s")
    for peer in plan.peers:
        if peer.name in result.missing:
            continue
        with show.bar(f"  {peer.name}", peer.events_of(plan.events)) as update:
            try:
                reading = _peer(plan, peer)
            except ProgramError as error:
                result.peers.pop(peer.name, None)
                result.missing[peer.name] = str(error)
                show.step(f"  {peer.name} is not measured: {error}")
                continue
            result.peers.setdefault(peer.name, []).append(reading)
            update(peer.events_of(plan.events))
        show.step(f"  {peer.name}: {reading.events_per_second:,.0f} events/s")


def _task(plan: Plan, events: int, seconds: float) -> Task:
    # A group that nobody knows begins at the beginning.
    return Task(plan.bootstrap, TOPIC, plan.partitions, f"bench-{uuid4().hex[:12]}", events, seconds, plan.fetch_max_bytes)


def _ceiling(plan: Plan) -> Reading:
    task = _task(plan, plan.events, _CEILING_SECONDS)
    command = [plan.python.own, "-m", ceiling.__name__, *task.arguments()]
    return launch(command, task.seconds, plan.logs / "ceiling.log")


def _peer(plan: Plan, peer: Peer) -> Reading:
    task = _task(plan, peer.events_of(plan.events), LIMIT_SECONDS)
    environment = plan.clickhouse if peer.writes_to_clickhouse else {}
    return launch(peer.command(task, plan.python), task.seconds, plan.logs / f"{peer.name}.log", environment)


def _peer_json(readings: Sequence[Reading], classpulse: float) -> dict[str, Any]:
    rate = median_rate(readings)
    return {
        "events_per_second": round(rate, 1),
        "ratio": ratio(classpulse, rate),
        "events": max(reading.events for reading in readings),
        "cpu_us_per_event": _median(reading.cpu_us_per_event for reading in readings),
        "spread": round(spread(readings), 3),
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(statistics.median(known), 3) if known else None
