"""What every measuring program is: options, a rig, a measurement, and its outcome told."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.local.commands.demo_display import Display
from deploy.local.stack import stack
from schemas.errors import ClasspulseError
from streams.output.terminal import Console
from tests.lab.bench.machine import machine, versions
from tests.lab.measure.outcome import Outcome
from tests.lab.measure.rig import Rig, made_rig

__all__ = ["Measurement", "parser", "run"]

Measurement = Callable[[Rig, argparse.Namespace, Display], Outcome]


def parser(document: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every measuring program has."""
    made = argparse.ArgumentParser(
        description=(document or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--broker", choices=(stack.EMBEDDED, stack.APACHE), default=stack.EMBEDDED, help="which Kafka")
    made.add_argument("--partitions", type=int, help="of each event topic; without: as streams/kafka/topics.yaml says")
    made.add_argument("--folder", type=Path, help="keep data and logs here, instead of in a folder that is removed")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the JSON here too")
    made.add_argument("--seed", type=int, default=1, help="the same seed gives the same events")
    return made


def run(measure: Measurement, options: argparse.Namespace) -> None:
    """Measure on a rig of its own, with progress on standard error, and tell the outcome."""
    try:
        _run(measure, options)
    except ClasspulseError as error:
        sys.exit(f"{error}")


def _run(measure: Measurement, options: argparse.Namespace) -> None:
    with Display(Console(stderr=True)) as display:
        on = machine()
        with made_rig(options, display.step) as rig:
            clickhouse = str(rig.store.reader.server_version)
            on_what = versions(apache=rig.info.broker == stack.APACHE, clickhouse=clickhouse)
            outcome = measure(rig, options, display)
    outcome.tell(on, on_what, options)
