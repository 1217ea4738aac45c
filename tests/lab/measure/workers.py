"""Do two workers do twice as much: the same backlog, drained by one worker on one core and by two on two.

    classpulse measure workers

Broker and ClickHouse need CPU too, and where the machine has but two cores they share them with the workers. So it is told
in two ways, alternating:

- ``worker pinned``: one worker pinned to one core, broker and ClickHouse free on both; two workers, one on each core.
- ``all pinned``: worker, broker and ClickHouse together on one core; then all of them and a second worker on two. Here
  twice the cores do all of the work, so this is how the design scales.

Each drain begins with an empty database. A rate is that of the time in which every worker had work.
"""

import argparse
import os
import statistics
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any, Final

from deploy.local.commands.demo_display import Display
from schemas.errors import MustStop
from tests.lab.measure import inputs
from tests.lab.measure.drain import Cost, cost_between, drain, steady
from tests.lab.measure.outcome import Goal, Outcome
from tests.lab.measure.rig import MeasuringRig
from tests.lab.rig import usage

__all__ = ["ARMS", "measure", "options", "speedup"]

GOAL: Final = 1.7
#: Name, and the workers' cores by their place among those of the machine; then where broker and ClickHouse may run.
ARMS: Final[tuple[tuple[str, tuple[tuple[int, ...], ...], tuple[int, ...]], ...]] = (
    ("one worker, pinned to one core", ((0,),), (0, 1)),
    ("two workers, a core each", ((0,), (1,)), (0, 1)),
    ("one worker, all on one core", ((0,),), (0,)),
    ("two workers, all on two cores", ((0, 1), (0, 1)), (0, 1)),
)


def speedup(runs: dict[str, list[Cost]], one: str, two: str) -> float:
    """Return the median rate of arm ``two`` over that of arm ``one``."""
    rates = {arm: statistics.median(cost.events_per_second for cost in runs[arm]) for arm in (one, two)}
    return rates[two] / rates[one]


def measure(rig: MeasuringRig, options: argparse.Namespace, display: Display) -> Outcome:
    """Drain the backlog with each arm, again and again; return what was found."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise MustStop("Two workers on two cores need a machine with two", "Measure on a larger machine")
    display.step(f"Filling the topics with {options.events} events of {options.lessons} lessons")
    records = inputs.lessons_at_once(options.lessons, options.students, options.seed)
    count = rig.publish(islice(records, options.events)).produced
    runs: dict[str, list[Cost]] = {name: [] for name, *_ in ARMS}
    bar = display.bar("Drains", options.repeat * len(ARMS))
    try:
        for turn in range(options.repeat):
            for name, of_workers, of_others in ARMS:
                places = [tuple(cores[core] for core in its) for its in of_workers]
                _pin_others(rig, [cores[core] for core in of_others])
                runs[name].append(_run(rig, places, count, f"{name} {turn}"))
                bar.update(sum(len(costs) for costs in runs.values()))
    finally:
        _pin_others(rig, cores)
    return _outcome(runs)


def _pin_others(rig: MeasuringRig, cores: Collection[int]) -> None:
    for pid in (rig.info.kafka_pid, rig.info.clickhouse_pid):
        usage.pin(pid, cores)


def _run(rig: MeasuringRig, cores: Sequence[Collection[int]], count: int, name: str) -> Cost:
    number = len(rig.workers)
    store = rig.new_store(f"classpulse_{number}")
    workers = [rig.worker_on(store, CLASSPULSE_GROUP=f"measure-{number}") for _ in cores]
    try:
        for worker, its in zip(workers, cores, strict=True):
            worker.start(its)
        samples = drain(rig, store, workers, count)
        found = steady(samples, len(workers))
    finally:
        for worker in workers:
            worker.stop()
        rig.drop(store)
    if found is None and len(cores) > 1:
        raise MustStop(f"{name}: the workers never had work at the same time", "Give more --events")
    return found or cost_between(samples[0], samples[-1])


def _outcome(runs: dict[str, list[Cost]]) -> Outcome:
    medians = {
        name: {
            "events_per_second": statistics.median(cost.events_per_second for cost in costs),
            **{part: statistics.median(cost.cpu_us(part) for cost in costs) for part in ("worker", "clickhouse", "broker")},
        }
        for name, costs in runs.items()
    }
    one_pinned, two_pinned, one_all, two_all = (name for name, *_ in ARMS)
    ratios = {"worker pinned": speedup(runs, one_pinned, two_pinned), "all pinned": speedup(runs, one_all, two_all)}
    figures: dict[str, Any] = {
        "arms": {
            name: {key: round(number, 2) for key, number in medians[name].items()}
            | {"runs": [cost.to_json() for cost in runs[name]]}
            for name in medians
        },
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        # Two cores cannot do more than two seconds of CPU time a second, whoever uses them.
        "most_on_two_cores": round(2e6 / sum(medians[two_pinned][part] for part in ("worker", "clickhouse", "broker"))),
    }
    rows = [
        [name, f"{of['events_per_second']:,.0f}", *(f"{of[part]:.1f}" for part in ("worker", "clickhouse", "broker"))]
        for name, of in medians.items()
    ]
    goals = [Goal(f"two workers over one, {name}", GOAL, ratio, "×", at_most=False) for name, ratio in ratios.items()]
    columns = ("arm", "events/s", "worker µs/event", "ClickHouse µs/event", "broker µs/event")
    return Outcome("workers", columns, rows, figures, goals)


def options(parser: argparse.ArgumentParser) -> None:
    """Add what this scenario may be told."""
    parser.add_argument("--events", type=int, default=1_000_000, help="of the backlog")
    parser.add_argument("--repeat", type=int, default=5, help="drains of each arm")
    parser.add_argument("--lessons", type=int, default=810, help="open at once")
    parser.add_argument("--students", type=int, default=45, help="in each lesson")
