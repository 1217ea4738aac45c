"""``classpulse torture``: faults without end on a stack of its own, and then the question whether every invariant still
holds.
"""

import asyncio
import json
import logging
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import click

from deploy.local.commands import dev
from deploy.local.simulator import Disturbance, SimulationConfig, simulate
from deploy.local.stack import stack
from schemas.errors import MustStop
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import connect
from streams import settings as settings_module
from streams.cli.options import NumberType
from streams.kafka import topics
from streams.output.terminal import Console, echo, echo_json
from tests.lab.chaos.conductor import Conductor
from tests.lab.chaos.feed import Feed
from tests.lab.chaos.invariants import NotSettledError, Verdict, judge, judge_published_letters, published_letters, settle
from tests.lab.chaos.rig import Ending, ProxiedRig
from tests.lab.chaos.schedule import COOL_DOWN_SECONDS, KIND, WARM_UP_SECONDS, Step, schedule
from tests.lab.commands.torture_display import TortureDisplay, print_result

DEFAULT_FOLDER: Final = Path(".classpulse/torture")
SCHEDULE_FILE: Final = "schedule.json"
JOURNAL_FILE: Final = "faults.ndjson"
PAGES_FOLDER: Final = "pages"
#: A fixed day: a seed must give the same records tomorrow.
SCHOOL_DAY: Final = date(2026, 3, 4)
TROUBLED: Final = Disturbance(
    disorder_share=0.05,
    duplicate_share=0.04,
    late_share=0.01,
    offline_share=0.05,
    skew_share=0.05,
    wild_clock_share=0.001,
    malformed_share=0.01,
)
#: Small and frequent writes, so that there is always one under way; short timeouts, so that a fault is noticed in seconds.
WORKER_SETTINGS: Final[Mapping[str, str]] = {
    "CLASSPULSE_FLUSH_MAX_ROWS": "500",
    "CLASSPULSE_FLUSH_INTERVAL_MS": "200",
    "CLASSPULSE_CACHE_MAX_ROWS": "20000",
    "CLASSPULSE_CLICKHOUSE_TIMEOUT_SECONDS": "3",
    "CLASSPULSE_SESSION_TIMEOUT_SECONDS": "6",
}
#: After the last fault: without any progress for so long the run has failed.
SETTLE_PATIENCE_SECONDS: Final = 120.0
#: Records that a broker's restart has held up are still on their way.
FEED_PATIENCE_SECONDS: Final = 180.0
DEFAULT_SECONDS_A_FAULT: Final = 4.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does; with the same plan it does the same again."""

    seed: int
    minutes: float
    broker: stack.BrokerKind
    workers: int
    events_per_second: float
    faults: int
    only: tuple[str, ...] = ()
    topic_partitions: int | None = None

    def steps(self) -> list[Step]:
        """Return the schedule."""
        names = [f"w{number}" for number in range(self.workers)]
        durable = self.broker == stack.APACHE
        try:
            return schedule(self.seed, self.minutes * 60, self.faults, names, durable_broker=durable, only=self.only)
        except ValueError as error:
            raise MustStop(f"There is no such schedule: {error}", "Change --minutes or --faults") from error

    def command(self) -> str:
        """Return the command that repeats the run."""
        return (
            f"classpulse torture --seed {self.seed} --minutes {self.minutes:g} --broker {self.broker} "
            f"--workers {self.workers} --events-per-second {self.events_per_second:g} --faults {self.faults}"
            + "".join(f" --only {name}" for name in self.only)
            + (f" --topic-partitions {self.topic_partitions}" if self.topic_partitions else "")
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run. ``met``: faults of each kind that something ran into; ``endings``: workers that gave up."""

    plan: Plan
    verdict: Verdict
    done: Mapping[str, int]
    met: Mapping[str, int]
    failures: list[str]
    endings: list[Ending]

    @property
    def invariants_hold(self) -> bool:
        """Nothing is lost, doubled or different, and every fault could be performed as planned."""
        return self.verdict.holds and not self.failures

    def to_json(self) -> dict[str, Any]:
        """Return the keys that ``--json`` prints."""
        return {
            "laws_hold": self.invariants_hold,
            "command": self.plan.command(),
            **asdict(self.plan),
            **asdict(self.verdict),
            "faults_done": dict(self.done),
            "faults_met": dict(self.met),
            "failures": self.failures,
            "endings": [asdict(ending) for ending in self.endings],
        }


@click.command()
@click.option("--minutes", default=5.0, show_default=True, type=NumberType(0.5, 1440), help="How long faults strike.")
@click.option("--seed", default=1, show_default=True, help="The same seed draws the same faults and the same records.")
@click.option(
    "--broker",
    type=click.Choice([stack.EMBEDDED, stack.APACHE]),
    help="Without: Apache Kafka if Java and its jars are there, or else the embedded one, which is never restarted.",
)
@click.option("--workers", default=3, show_default=True, type=click.IntRange(1, 16), help="Workers that always run.")
@click.option("--events-per-second", default=500.0, show_default=True, type=NumberType(1, 20_000))
@click.option("--faults", type=click.IntRange(0, 100_000), help="How many. Without: one every 4.5 seconds.")
@click.option(
    "--only", multiple=True, type=click.Choice(sorted(KIND)), metavar="KIND", help="Faults of this kind alone; repeatable."
)
@click.option(
    "--topic-partitions", type=click.IntRange(1, 64), help="Partitions of each event topic.  [default: as declared]"
)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, show_default=True, help="Emptied at the start."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
@click.option("--keep", is_flag=True, help="Leave the stack running afterwards, to look around in.")
def torture(
    *,
    minutes: float,
    seed: int,
    broker: stack.BrokerKind | None,
    workers: int,
    events_per_second: float,
    faults: int | None,
    only: tuple[str, ...],
    topic_partitions: int | None,
    folder: Path,
    as_json: bool,
    keep: bool,
) -> None:
    """Strike a running system with faults, and check that nothing is lost, doubled or wrong.

    Starts a stack of its own and several workers, publishes a troubled school morning, and meanwhile kills, stops and
    freezes workers, the broker and ClickHouse, and breaks their connections at chosen steps of a write. When everything has
    healed: every counter, every single event and every metric is held against an independent account.

    \b
    Exit status: 0 every invariant holds, 1 one is broken (the seed, the schedule and the logs are named), 2 no verdict.
    Example:     classpulse torture --minutes 15 --faults 200 --seed 7
    """
    settings_module.load()  # the workers get them too
    kind = broker or _best_broker()
    if faults is None:
        faults = int(max(0.0, minutes * 60 - WARM_UP_SECONDS - COOL_DOWN_SECONDS) / DEFAULT_SECONDS_A_FAULT)
    plan = Plan(seed, minutes, kind, workers, events_per_second, faults, only, topic_partitions)
    steps = plan.steps()
    # What the clients say of each broken connection is expected here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    stack.down(folder)
    try:
        with _ended_in_order():
            outcome = _run(plan, steps, folder, Console(stderr=True))
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            stack.down(folder)
    if as_json:
        echo_json(outcome.to_json())
    else:
        print_result(Console(), outcome.to_json(), folder)
    if not outcome.invariants_hold:
        echo(
            f"An invariant is broken. Repeat: {plan.command()}\nSchedule: {folder / SCHEDULE_FILE}; what was done: "
            f"{folder / JOURNAL_FILE}; logs: {folder / 'workers'}, {folder / 'logs'}",
            err=True,
        )
        sys.exit(1)


def _best_broker() -> stack.BrokerKind:
    # Imported here: the other broker needs none of it.
    from deploy.local.apache import jars

    try:
        jars.java()
        jars.class_path()
    except stack.StackError:
        return stack.EMBEDDED
    return stack.APACHE


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Turn SIGTERM into an orderly end, so that no process is left behind."""

    def end(*_arguments: object) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _empty(folder: Path) -> None:
    """Remove what an earlier run left; raises :class:`MustStop` for a folder that is not a run's."""
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / SCHEDULE_FILE).exists():
        raise MustStop(f"{folder} holds something else than a torture run", "Name a new or empty folder with --folder")
    shutil.rmtree(folder)


def _run(plan: Plan, steps: list[Step], folder: Path, console: Console) -> Outcome:
    _empty(folder)
    with TortureDisplay(console, int(plan.minutes * 60), len(steps)) as display:
        folder.mkdir(parents=True, mode=0o700)
        (folder / SCHEDULE_FILE).write_text(
            json.dumps({"command": plan.command(), "steps": [step.to_json() for step in steps]}, indent=1) + "\n"
        )
        display.step(f"Starting Kafka ({plan.broker}) and ClickHouse")
        try:
            info = stack.up(folder, broker=plan.broker)
        except stack.StackError as error:
            raise MustStop("The stack does not start", str(error)) from error
        dev.prepare(info, plan.topic_partitions)
        events = int(plan.minutes * 60 * plan.events_per_second)
        records = simulate(SimulationConfig(seed=plan.seed, events=events, date=SCHOOL_DAY, disturbance=TROUBLED))
        feed = Feed(info.kafka_bootstrap, records, plan.events_per_second, idempotent=plan.broker == stack.APACHE)
        with ProxiedRig(info, {**dev.environment(info), **WORKER_SETTINGS}, plan.workers) as rig:
            conductor = Conductor(rig, folder / JOURNAL_FILE)
            display.follow(conductor, feed)
            feed.start()
            try:
                conductor.play(steps, display.strike)
                verdict = _verdict(rig, feed, display)
            finally:
                conductor.stop()
                feed.stop()
            endings = rig.endings
    return Outcome(plan, verdict, conductor.done, conductor.met, conductor.failures, endings)


def _verdict(rig: ProxiedRig, feed: Feed, display: TortureDisplay) -> Verdict:
    """Let everything heal and settle, and judge."""
    rig.heal()
    display.step("Everything is healed; waiting until all is published and checkpointed")
    account = feed.finish(FEED_PATIENCE_SECONDS)
    client = connect(dev.target(rig.info))
    try:
        counters = settle(client, account, SETTLE_PATIENCE_SECONDS, display.checkpointed)
        display.step("Holding every event against the account, and recomputing every metric")
        verdict = judge(client, account, counters, MetricRules())
        [declared] = [topic for topic in topics.declared() if topic.name == topics.DEAD_LETTER_TOPIC]
        letters = asyncio.run(published_letters(rig.info.kafka_bootstrap, declared.name, declared.partitions))
        judge_published_letters(verdict, client, letters)
    except NotSettledError as error:
        verdict = Verdict(produced=account.ledger.produced)
        rig.save_pages(rig.folder / PAGES_FOLDER)
        verdict.problem(f"{error}; what the workers say of themselves: {rig.folder / PAGES_FOLDER}")
    finally:
        client.close()
    return verdict
