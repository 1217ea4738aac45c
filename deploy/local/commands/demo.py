"""``classpulse demo``: a simulated school morning through everything, and the check of the result."""

import asyncio
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from deploy.local.commands import dev
from deploy.local.commands.demo_display import Display, print_next, print_summary
from deploy.local.commands.demo_worker import DemoWorker, Progress, Watcher
from deploy.local.simulator import Disturbance, Ledger, SimulationConfig, in_whole_weeks, publish, simulate
from deploy.local.stack import stack
from schemas.errors import MustStop
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import connect
from sinks.verify.verify import VerifyReport, verify
from streams import settings as settings_module
from streams.output.terminal import Console, echo_json

DEFAULT_FOLDER = Path(".classpulse/demo")
MORNING_EVENTS = 150_000
#: A morning of some hours in half a minute.
MORNING_EVENTS_PER_SECOND = 6_000.0
#: A school day with more trouble than a real one, so that every path is seen.
TROUBLED = Disturbance(
    disorder_share=0.05,
    duplicate_share=0.02,
    late_share=0.005,
    offline_share=0.03,
    skew_share=0.05,
    wild_clock_share=0.0005,
    malformed_share=0.001,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the demo found. ``invariants_hold``: the accounting in ClickHouse, and agreement with the simulator's ledger."""

    ledger: Ledger
    progress: Progress
    report: VerifyReport
    metric_rows: int
    events_per_second: float

    @property
    def invariants_hold(self) -> bool:
        """Both invariants: every record accounted for, and every metric recomputed."""
        found = (self.progress.consumed, self.progress.stored, self.progress.duplicates, self.progress.dead_letters)
        ledger = self.ledger
        expected = (ledger.produced, ledger.stored, ledger.duplicates, ledger.dead_letters)
        return found == expected and found[0] == sum(found[1:]) and self.report.differences_total == 0

    def to_json(self) -> dict[str, float]:
        """Return the keys that ``--json`` prints."""
        return {
            "produced": self.ledger.produced,
            "stored": self.progress.stored,
            "duplicates": self.progress.duplicates,
            "dead_letters": self.progress.dead_letters,
            "metric_rows": self.metric_rows,
            "verify_differences": self.report.differences_total,
            "events_per_second": round(self.events_per_second, 1),
        }


@click.command()
@click.option(
    "--events",
    type=click.IntRange(1, 100_000_000),
    help="First fill the topics with so many records, then start the worker and measure how fast it drains them. "
    f"Without: {MORNING_EVENTS} records are played while the worker runs.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed plays the same morning.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the summary.")
@click.option("--keep", is_flag=True, help="Leave the stack and the worker running afterwards.")
@click.option("--stop", "only_stop", is_flag=True, help="Stop what --keep left running, and do nothing else.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, show_default=True, help="Emptied at the start."
)
def demo(events: int | None, seed: int, as_json: bool, keep: bool, only_stop: bool, folder: Path) -> None:
    """Play a simulated school morning through everything, and check the result.

    Starts the embedded Kafka and ClickHouse and a worker, plays lessons, preparation and research of a district (with
    disorder, duplicates, late and malformed events), recomputes every metric in SQL, and stops everything again.

    \b
    Exit status: 0 only if every record is accounted for and verify finds no difference.
    Example:     classpulse demo --events 1000000 --json
    """
    console = Console(stderr=True)
    if only_stop:
        _stop(folder)
        return
    settings_module.load()  # the worker gets them too, and a wrong one is said before anything is started
    worker = None
    try:
        with Display(console) as display:
            display.step(_plan(events))
            _stop(folder)
            _empty(folder)
            display.step("Starting Kafka and ClickHouse (embedded, on loopback)")
            info = stack.up(folder)
            display.step("Making topics, tables and views")
            dev.prepare(info)
            worker = DemoWorker(folder, dev.environment(info))
            outcome = _run(info, worker, display, events, seed)
        if as_json:
            echo_json(outcome.to_json())
        else:
            client = connect(dev.target(info, "classpulse_reader"))
            print_summary(Console(), outcome.to_json(), outcome.ledger, client, outcome.invariants_hold, events is not None)
            client.close()
            print_next(Console(), info.clickhouse_url if keep else None, folder)
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            if worker is not None:
                worker.stop()
            stack.down(folder)
    if not outcome.invariants_hold:
        raise SystemExit(1)


def _plan(events: int | None) -> str:
    if events is None:
        return f"A simulated school morning, {MORNING_EVENTS:,} records through Kafka into ClickHouse; about a minute"
    return f"{events:,} records into Kafka, then one worker drains them into ClickHouse, then every metric is recomputed"


def _stop(folder: Path) -> None:
    DemoWorker(folder, {}).stop()
    stack.down(folder)


def _empty(folder: Path) -> None:
    """Remove what an earlier demo left; raises :class:`MustStop` for a folder that is not a demo's."""
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / "credentials.json").exists():
        raise MustStop(f"{folder} holds something else than a demo", "Name a new or empty folder with --folder")
    shutil.rmtree(folder)


def _run(info: stack.StackInfo, worker: DemoWorker, display: Display, events: int | None, seed: int) -> Outcome:
    count = events or MORNING_EVENTS
    config = in_whole_weeks(SimulationConfig(seed=seed, events=count, disturbance=TROUBLED), datetime.now(UTC))
    records = simulate(config)
    client = connect(dev.target(info))
    if events is None:
        display.step("Starting a worker, and playing the morning")
        worker.start()
    stored = display.bar("Worker stores", count)
    with Watcher(worker, dev.target(info), stored.update) as watcher:
        produced = display.bar("Devices produce", count)
        rate = MORNING_EVENTS_PER_SECOND if events is None else None
        ledger = asyncio.run(publish(info.kafka_bootstrap, records, rate=rate, stamp_now=True, on_progress=produced.update))
        if events is not None:
            worker.start()
        progress = watcher.wait_until(ledger.produced)
    display.step("Recomputing every metric from the stored events")
    report = verify(client, rules=MetricRules())
    rows = client.query("SELECT count() FROM metric_rows FINAL").result_rows[0][0]
    client.close()
    return Outcome(ledger, progress, report, rows, progress.consumed / worker.drain_seconds())
