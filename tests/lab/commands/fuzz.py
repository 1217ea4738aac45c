"""``classpulse fuzz``: a worker under hostile input, and the proof that every record was accounted for."""

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from clickhouse_connect.driver.client import Client
from rich.table import Table

from deploy.local.commands import dev
from deploy.local.commands.demo_display import Display
from deploy.local.commands.demo_worker import DemoWorker, Watcher
from deploy.local.stack import stack
from schemas.codec.decode import ClockLimits
from schemas.errors import MustStop
from schemas.events.event_types import FAMILIES
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import connect
from sinks.verify.verify import verify
from streams import settings as settings_module
from streams.output.terminal import Console, echo_json
from streams.settings import Settings
from tests.lab.chaos.hostile import Limits, hostile_stream
from tests.lab.chaos.hostile_faults import TIMESTAMPS
from tests.lab.chaos.hostile_feed import Account, Place, feed

DEFAULT_FOLDER: Final = Path(".classpulse/fuzz")
#: A worker with the settings as they come stays below this, whatever it is sent.
DEFAULT_MEMORY_MIB: Final = 1_536
_MOST_LISTED: Final = 20
_PLACES: Final = "SELECT position FROM {table} WHERE partition = {{partition:UInt16}}"


@dataclass(slots=True)
class Findings:
    """What came of a run; ``failures`` is empty if all is well, each entry is a sentence."""

    account: Account
    seconds: float
    peak_mib: int
    verify_differences: int
    failures: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "records": self.account.records,
            "stored": self.account.count("stored"),
            "rejected": self.account.count("rejected"),
            "turned_away_by_broker": sum(self.account.turned_away.values()),
            "seconds": round(self.seconds, 1),
            "worker_peak_mib": self.peak_mib,
            "verify_differences": self.verify_differences,
            "failures": self.failures[:_MOST_LISTED],
        }


@click.command()
@click.option("--records", default=1_000_000, show_default=True, type=click.IntRange(1_000, 100_000_000))
@click.option("--seed", default=1, show_default=True, help="The same seed sends the same records.")
@click.option(
    "--memory-mib",
    default=DEFAULT_MEMORY_MIB,
    show_default=True,
    type=click.IntRange(1),
    help="More than this fails the run.",
)
@click.option(
    "--broker",
    type=click.Choice([stack.EMBEDDED, stack.APACHE]),
    default=stack.EMBEDDED,
    show_default=True,
    help="apache: Apache Kafka itself, which turns away some of it; needs Java 17 and Maven.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the tables.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, show_default=True, help="Emptied at the start."
)
def fuzz(*, records: int, seed: int, memory_mib: int, broker: stack.BrokerKind, as_json: bool, folder: Path) -> None:
    """Send hostile records, mixed with valid ones, through a worker of its own, and account for each.

    Two in five are hostile: malformed CloudEvents in both content modes, numbers beyond any type, nesting without end,
    wrong encodings, duplicate keys, confusable and right-to-left text, strange keys, headers and times, flipped, cut and
    spliced events, batches that decompress to gigabytes, batches that are none. What must become of each is known before.

    \b
    Exit status: 0 only if the worker lived through it in bounded memory, every record is where it belongs (stored, or a
                 dead letter at its place), and verify finds no difference.
    Example:     classpulse fuzz --records 20000 --seed 7
    """
    settings_module.load()  # the worker gets them too
    console = Console(stderr=True)
    DemoWorker(folder, {}).stop()
    stack.down(folder)
    _empty(folder)
    worker = None
    try:
        with Display(console) as display:
            display.step("Starting Kafka and ClickHouse (on loopback)")
            info = stack.up(folder, broker=broker)
            dev.prepare(info)
            # The worker holds a partition when most of it is rejected; here that is the point.
            worker = DemoWorker(folder, {**dev.environment(info), "CLASSPULSE_BREAKER_SHARE": "0"})
            findings = _run(info, worker, display, records, seed)
        if findings.peak_mib > memory_mib:
            findings.failures.append(f"the worker used {findings.peak_mib} MiB, more than {memory_mib}")
    finally:
        if worker is not None:
            worker.stop()
        stack.down(folder)
    if as_json:
        echo_json(findings.to_json())
    else:
        _show(findings)
    if findings.failures:
        raise SystemExit(1)


def _empty(folder: Path) -> None:
    if not folder.exists():
        return
    if any(folder.iterdir()) and not (folder / "credentials.json").exists():
        raise MustStop(f"{folder} holds something else than a fuzz run", "Name a new or empty folder with --folder")
    shutil.rmtree(folder)


def _limits() -> Limits:
    """Return the limits of a worker with the settings as they come."""
    fields = Settings.model_fields
    earliest_us = int(fields["earliest_time"].default.timestamp() * 1e6)
    clock = ClockLimits(earliest_us, fields["max_ahead_seconds"].default * 1_000_000)
    return Limits(clock, lambda: time.time_ns() // 1_000, fields["max_value_bytes"].default)


def _run(info: stack.StackInfo, worker: DemoWorker, display: Display, records: int, seed: int) -> Findings:
    client = connect(dev.target(info))
    worker.start()
    started, pid = time.monotonic(), worker.pid
    accounted = display.bar("Worker accounts for", records)
    with Watcher(worker, dev.target(info), accounted.update) as watcher:
        sent = display.bar("Hostile devices send", records)
        without = TIMESTAMPS if info.broker == stack.APACHE else ()
        stream = hostile_stream(records, seed, _limits(), without)
        account = asyncio.run(feed(info.kafka_bootstrap, stream, sent.update))
        watcher.wait_until(account.records)
    seconds = time.monotonic() - started
    worker.check()
    peak_mib = _peak_mib(pid)
    display.step("Looking for every record at its place, and recomputing every metric")
    failures = [f"the contract: {text}" for text in account.disagreements]
    failures += _misplaced(client, account)
    failures += _uncounted(client, account)
    report = verify(client, rules=MetricRules())
    if not report.agrees:
        failures.append(f"verify finds {report.differences_total} differences: {report.differences[:3]}")
    client.close()
    return Findings(account, seconds, peak_mib, report.differences_total, failures)


def _peak_mib(pid: int) -> int:
    """Return the largest resident memory that a process has had; raises ``OSError`` if it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise OSError(f"/proc/{pid}/status says nothing of memory")


def _misplaced(client: Client, account: Account) -> list[str]:
    """Return what is stored and should not be, or rejected and should not be, or lost."""
    tables = {family.topic: family.table for family in FAMILIES}
    failures = []
    for place, verdicts in sorted(account.verdicts.items()):
        topic, partition = place
        stored = _positions(client, _PLACES.format(table=tables[topic]), place)
        rejected = _positions(client, _PLACES.format(table="dead_letters") + " AND topic = {topic:String}", place)
        for offset, verdict in enumerate(verdicts):
            found = (offset in stored, offset in rejected)
            if found != (verdict == "stored", verdict == "rejected"):
                kind = account.kinds[place][offset]
                failures.append(f"{topic}/{partition}@{offset} ({kind}) must be {verdict}; stored, rejected: {found}")
        if extra := (stored | rejected) - set(range(len(verdicts))):
            failures.append(f"{topic}/{partition} has {len(extra)} records that nobody sent, such as {min(extra)}")
    return failures


def _positions(client: Client, query: str, place: Place) -> set[int]:
    answer = client.query(query, parameters={"topic": place[0], "partition": place[1]})
    return set(answer.result_columns[0]) if answer.result_columns else set()


def _uncounted(client: Client, account: Account) -> list[str]:
    """Return the partitions whose counters are not those of the account."""
    answer = client.query(
        "SELECT topic, partition, consumed, stored, duplicates, dead_letters, epoch FROM checkpoints FINAL"
    )
    counted = {(row[0], row[1]): tuple(row[2:]) for row in answer.result_rows}
    failures = []
    for place, verdicts in sorted(account.verdicts.items()):
        expected = (len(verdicts), verdicts.count("stored"), 0, verdicts.count("rejected"), 0)
        if counted.get(place) != expected:
            failures.append(
                f"{place[0]}/{place[1]}: (consumed, stored, duplicates, dead letters, epoch) "
                f"{counted.get(place)}, expected {expected}"
            )
    return failures


def _show(findings: Findings) -> None:
    console = Console()
    table = Table(title="What was sent", title_justify="left")
    table.add_column("kind")
    table.add_column("to be stored", justify="right")
    table.add_column("to be rejected", justify="right")
    counts = findings.account.by_kind()
    for kind in sorted({kind for kind, _ in counts}):
        table.add_row(kind, f"{counts[kind, 'stored']:,}", f"{counts[kind, 'rejected']:,}")
    console.print(table)
    if findings.account.turned_away:
        console.print("The broker itself turned away batches: " + ", ".join(sorted(findings.account.turned_away)))
    console.print(
        f"{findings.account.records:,} records in {findings.seconds:.0f} s; the worker used at most "
        f"{findings.peak_mib} MiB; verify finds {findings.verify_differences} differences.",
        highlight=False,
    )
    for failure in findings.failures[:_MOST_LISTED]:
        console.print(f"FAILED  {failure}", style="red", markup=False, highlight=False)
    if not findings.failures:
        console.print("Every record is where it belongs.", style="green")
    elif len(findings.failures) > _MOST_LISTED:
        console.print(f"{len(findings.failures) - _MOST_LISTED:,} more.")
