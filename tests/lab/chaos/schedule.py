"""Which fault strikes when: a pure function of the seed, so that a failing run can be repeated."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Victim = Literal["worker", "extra", "broker", "clickhouse"]

#: The first fault strikes when the workers have had time to join.
WARM_UP_SECONDS: Final = 10.0
#: Nothing strikes in the last seconds; every fault has healed soon after.
COOL_DOWN_SECONDS: Final = 5.0

#: Every step of a write, the ones that matter most twice.
TABLES: Final = (
    "dead_letters",
    "events_classroom",
    "events_classroom",
    "events_prep",
    "events_research",
    "events_registry",
    "metric_rows",
    "metric_rows",
    "metric_rows",
    "checkpoints",
    "checkpoints",
    "checkpoints",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. ``weight``: how often, beside the others; ``seconds``: shortest and longest duration.

    ``durable``: only for a broker that keeps its records over a restart.
    """

    name: str
    victim: Victim
    weight: int
    seconds: tuple[float, float]
    what: str
    durable: bool = False
    tables: tuple[str, ...] = ()


KINDS: Final = (
    Kind("worker_kill", "worker", 3, (0, 0), "SIGKILL, started again at once"),
    Kind("worker_stop", "worker", 2, (0, 0), "SIGTERM, started again"),
    Kind("worker_freeze", "worker", 2, (0.5, 3), "SIGSTOP, SIGCONT before anybody notices"),
    Kind("worker_zombie", "worker", 2, (8, 11), "SIGSTOP until its partitions have moved, SIGCONT"),
    Kind("kill_before_insert", "worker", 4, (4, 8), "SIGKILL before the insert is sent", tables=TABLES),
    Kind("kill_after_insert", "worker", 4, (4, 8), "SIGKILL after the insert is done", tables=TABLES),
    Kind("zombie_insert", "worker", 2, (8, 11), "SIGSTOP before an insert, which comes late", tables=TABLES),
    Kind("worker_joins", "extra", 2, (6, 15), "one more worker joins, and leaves in order"),
    Kind("worker_visits", "extra", 1, (6, 15), "one more worker joins, and is killed"),
    Kind("broker_kill", "broker", 1, (0, 2), "SIGKILL of the broker, started again on its data", durable=True),
    Kind("broker_freeze", "broker", 2, (1, 4), "the broker stands still"),
    Kind("clickhouse_kill", "clickhouse", 2, (0, 2), "SIGKILL of ClickHouse, started again on its data"),
    Kind("clickhouse_freeze", "clickhouse", 2, (1, 5), "ClickHouse stands still"),
    Kind("clickhouse_delay", "worker", 2, (2, 8), "every request waits"),
    Kind("clickhouse_drip", "worker", 2, (2, 6), "a few bytes a second"),
    Kind("clickhouse_half_open", "worker", 2, (2, 6), "ClickHouse accepts and never answers"),
    Kind("clickhouse_cut", "worker", 2, (1, 6), "ClickHouse refuses connections"),
    Kind("clickhouse_reset", "worker", 1, (0, 0), "every connection to ClickHouse is reset"),
    Kind("reset_after_insert", "worker", 4, (3, 6), "executed, then reset, no answer", tables=TABLES),
    Kind("drop_upload", "worker", 3, (3, 6), "reset in the middle of an insert", tables=TABLES),
    Kind("truncate_answer", "worker", 2, (3, 6), "a query's answer ends too early"),
    Kind("kafka_delay", "worker", 2, (2, 8), "every message waits"),
    Kind("kafka_drip", "worker", 2, (2, 6), "a few bytes a second"),
    Kind("kafka_half_open", "worker", 2, (2, 10), "the broker's answers do not arrive"),
    Kind("kafka_cut", "worker", 2, (1, 9), "the broker refuses connections"),
    Kind("kafka_reset", "worker", 1, (0, 0), "every connection to the broker is reset"),
)
KIND: Final = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Step:
    """One fault. ``at_seconds`` counts from the start of the run; ``target`` is a worker, the broker or ClickHouse.

    ``table``: the insert it waits for, at most for its duration; empty where it does not.
    """

    at_seconds: float
    kind: str
    target: str
    duration_seconds: float
    table: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the saved schedule."""
        return asdict(self)

    def __str__(self) -> str:
        what = f" {self.table}" if self.table else ""
        seconds = f" {self.duration_seconds:.1f} s" if self.duration_seconds else ""
        return f"{self.at_seconds:7.1f} s  {self.kind}{what} at {self.target}{seconds}"


def schedule(
    seed: int, seconds: float, faults: int, workers: Sequence[str], *, durable_broker: bool, only: Sequence[str] = ()
) -> list[Step]:
    """Return ``faults`` steps in the order of time; the same arguments always give the same.

    The first steps go once through all kinds that apply (those of ``only``, if any are named), so that a run with at least
    that many has them all.
    Raises ``ValueError`` when there is no worker, or no time.
    """
    if not workers:
        raise ValueError("a schedule needs at least one worker to strike")
    if faults and seconds <= WARM_UP_SECONDS + COOL_DOWN_SECONDS:
        raise ValueError(f"{seconds} s are too short; give more than {WARM_UP_SECONDS + COOL_DOWN_SECONDS:.0f} s")
    # Randomness for variety, not for secrecy.
    chance = random.Random(seed)
    kinds = [kind for kind in KINDS if (durable_broker or not kind.durable) and (not only or kind.name in only)]
    if not kinds:
        raise ValueError("none of these faults can strike this broker")
    spacing = (seconds - WARM_UP_SECONDS - COOL_DOWN_SECONDS) / max(1, faults)
    deck: list[Kind] = []
    steps: list[Step] = []
    for number in range(faults):
        if not deck:
            # The first deck has every kind once; the later ones by weight.
            deck = [kind for kind in kinds for _ in range(kind.weight if steps else 1)]
            chance.shuffle(deck)
        kind = deck.pop()
        at_seconds = WARM_UP_SECONDS + (number + chance.uniform(0, 0.8)) * spacing
        target = chance.choice(list(workers)) if kind.victim == "worker" else kind.victim
        duration_seconds = chance.uniform(*kind.seconds)
        table = chance.choice(kind.tables) if kind.tables else ""
        steps.append(Step(round(at_seconds, 2), kind.name, target, round(duration_seconds, 2), table))
    return steps
