"""The measuring program: options, a rig, the measurement of a scenario, and its outcome told."""

import argparse
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local.commands.demo_display import Display
from deploy.local.stack import stack
from streams.output.terminal import Console
from tests.lab.bench.machine import machine, versions
from tests.lab.measure.outcome import Outcome
from tests.lab.measure.rig import MeasuringRig, made_rig

__all__ = ["SCENARIOS", "Measurement", "run"]

#: ``measure`` of a scenario's module.
Measurement = Callable[[MeasuringRig, argparse.Namespace, Display], Outcome]
#: Scenario: what it tells. Each is a module of this package with ``options(parser)`` and ``measure``.
SCENARIOS: Final = {
    "latency": "how long from an event to its metrics, at steady rates",
    "restart": "how long from a stop or a kill until the worker works again",
    "memory": "how much a worker needs for so many devices and lessons",
    "workers": "what a second worker adds",
    "history": "whether an event costs more with 100 million stored",
    "capacity": "what an event costs; docs/capacity.md is made from it",
    "cycle": "how long the evaluator takes for a day of the whole district",
    "term": "how long the queries of evaluation services take over a term",
}


def run(scenario: str, arguments: Sequence[str]) -> None:
    """Measure on a rig of its own, with progress on standard error, and tell the outcome."""
    module = importlib.import_module(f"tests.lab.measure.{scenario}")
    options = _parser(scenario, module).parse_args(arguments)
    measure: Measurement = module.measure
    with Display(Console(stderr=True)) as display:
        on = machine()
        with made_rig(options, display.step) as rig:
            clickhouse = str(rig.store.reader.server_version)
            on_what = versions(apache=rig.info.broker == stack.APACHE, clickhouse=clickhouse)
            outcome = measure(rig, options, display)
    outcome.tell(on, on_what, options)


def _parser(scenario: str, module: Any) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=f"classpulse measure {scenario}",
        description=str(module.__doc__).partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--broker", choices=(stack.EMBEDDED, stack.APACHE), default=stack.EMBEDDED, help="which Kafka")
    made.add_argument("--partitions", type=int, help="of each event topic; without: as streams/kafka/topics.yaml says")
    made.add_argument("--folder", type=Path, help="keep data and logs here, instead of in a folder that is removed")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the JSON here too")
    made.add_argument("--seed", type=int, default=1, help="the same seed gives the same events")
    module.options(made)
    return made
