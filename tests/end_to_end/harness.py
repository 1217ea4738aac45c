"""Real processes for a test: the embedded stack, workers, and an independent account of what was produced."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clickhouse_connect.driver.client import Client

from deploy.local.clickhouse.grants import OWNER
from deploy.local.commands import dev
from deploy.local.simulator import Disturbance, Ledger, Produced, SimulationConfig, publish, simulate, source_and_id
from deploy.local.stack import stack
from schemas.events.event_types import FAMILIES
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import connect
from sinks.verify.verify import verify
from streams.kafka import topics

TROUBLED = Disturbance(
    disorder_share=0.05,
    duplicate_share=0.04,
    late_share=0.01,
    offline_share=0.05,
    skew_share=0.05,
    wild_clock_share=0.001,
    malformed_share=0.01,
)
PATIENCE_SECONDS = 90.0
_COUNTERS = "SELECT sum(consumed), sum(stored), sum(duplicates), sum(dead_letters) FROM checkpoints FINAL"


def records(events: int, seed: int) -> Iterable[Produced]:
    """Return a troubled school morning."""
    return simulate(SimulationConfig(seed=seed, events=events, disturbance=TROUBLED))


def wait_until(condition: Callable[[], bool], what: str, pause_seconds: float = 0.1) -> None:
    """Wait for a condition, asking after each pause; fail with its name when patience runs out."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s for: {what}"
        time.sleep(pause_seconds)


@dataclass
class WorkerProcess:
    """A worker started by a test."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def pause(self) -> None:
        """Stop its clock."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again after ``pause``."""
        self.process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    @property
    def url(self) -> str:
        """Where its pages are; waits until it says so."""
        wait_until(lambda: "health on http" in self.log.read_text(), "the worker to serve its pages")
        return self.log.read_text().split("health on ")[1].split()[0].rstrip('"}')

    def status(self, page: Literal["healthz", "readyz"]) -> int:
        """Return the HTTP status of a page."""
        return self._ask(page)[0]

    def page(self, page: Literal["healthz", "readyz"]) -> str:
        """Return the text of a page."""
        return self._ask(page)[1]

    def _ask(self, page: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self.url}/{page}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)

    def memory_bytes(self) -> int:
        """Return the memory it holds now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        """Ask it to stop; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Rig:
    """A stack with its database and topics, any number of workers, and what was produced into it.

    ``migrated`` is the folder of a stopped engine that has every table and view: the rig's engine begins as its copy.
    ``partitions`` replaces the number of partitions of each event topic.
    """

    def __init__(
        self,
        folder: Path,
        *,
        migrated: Path,
        broker: Literal["embedded", "apache"] = "embedded",
        brokers: int = 1,
        partitions: int | None = None,
    ) -> None:
        self.folder = folder
        self._partitions = partitions
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        shutil.copytree(migrated, folder / "clickhouse", symlinks=True, dirs_exist_ok=True)
        self.info = stack.up(folder, broker=broker, brokers=brokers)
        dev.prepare(self.info, partitions)
        self.client: Client = connect(dev.target(self.info))
        for name in ("compile_expressions", "compile_aggregate_expressions"):
            # Machine code pays where a query runs for seconds; here its making is the greater part of a short verify.
            self.client.set_client_setting(name, 0)
        self.admin: Client = connect(dev.target(self.info, OWNER))
        self.ledgers: list[Ledger] = []
        self._lost = 0
        self.expected: set[tuple[str, str]] = set()
        self.workers: list[WorkerProcess] = []

    def produce(self, events: int, seed: int = 1) -> Ledger:
        """Publish a troubled morning and remember its account."""
        return self.publish(list(records(events, seed)))

    def publish(self, produced: Sequence[Produced]) -> Ledger:
        """Publish records and remember their account."""
        ledger = asyncio.run(publish(self.info.kafka_bootstrap, produced))
        self.ledgers.append(ledger)
        self.expected |= {source_and_id(record) for record in produced if record.outcome == "stored"}
        return ledger

    def forget(self, records: int, kept_ids: set[str]) -> None:
        """Take off the account what Kafka lost before anybody read it: so many valid records, all but ``kept_ids``."""
        self._lost += records
        self.expected = {one for one in self.expected if one[1] in kept_ids}

    def create_topics(self) -> None:
        """Create the topics that are missing."""
        declared = topics.declared(self._partitions)
        asyncio.run(topics.create(self.info.kafka_bootstrap, declared, self.info.replication))

    def start_worker(self, **settings: str) -> WorkerProcess:
        """Start a worker process."""
        return self.start_process([sys.executable, "-m", "streams", "worker"], **settings)

    def environment(self) -> dict[str, str]:
        """Return what a process of this rig needs to know."""
        return {**os.environ, **dev.environment(self.info), "CLASSPULSE_WEB_PORT": "0"}

    def start_process(self, command: Sequence[str], **settings: str) -> WorkerProcess:
        """Start a process that works as a worker."""
        environment = self.environment() | settings
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        self.workers.append(WorkerProcess(process, log))
        return self.workers[-1]

    def counters(self) -> tuple[int, int, int, int]:
        """Return consumed, stored, duplicates, dead letters of all checkpoints."""
        row = self.client.query(_COUNTERS).result_rows[0]
        return int(row[0]), int(row[1]), int(row[2]), int(row[3])

    def wait_for_checkpoints(self, consumed: int, pause_seconds: float = 0.1) -> None:
        """Wait until so many records are checkpointed; fails early when every worker has ended."""

        def reached() -> bool:
            alive = any(worker.process.poll() is None for worker in self.workers)
            assert alive, self.workers[-1].log.read_text()[-2000:]
            return self.counters()[0] >= consumed

        wait_until(reached, f"{consumed} records checkpointed, at {self.counters()}", pause_seconds)

    def produced(self) -> tuple[int, int, int, int]:
        """Return produced, stored, duplicates, dead letters by the simulator's account."""
        sums = [(ledger.produced, ledger.stored, ledger.duplicates, ledger.dead_letters) for ledger in self.ledgers]
        produced, stored, duplicates, letters = (sum(column) for column in zip(*sums, strict=True))
        return produced - self._lost, stored - self._lost, duplicates, letters

    def assert_invariants(self) -> None:
        """Both invariants: the counters equal the simulator's account, and verify finds no difference."""
        # Nothing has to happen in mid-stream any more, and a worker catches up sooner when ClickHouse is asked less.
        self.wait_for_checkpoints(self.produced()[0], pause_seconds=0.3)
        found, expected = self.counters(), self.produced()
        assert found == expected, f"(consumed, stored, duplicates, dead letters) {found}, produced {expected}"
        stored = {
            (source, name)
            for family in FAMILIES
            for source, name in self.client.query(f"SELECT source, id FROM {family.table} FINAL").result_rows
        }
        assert stored == self.expected, (len(stored - self.expected), len(self.expected - stored))
        report = verify(self.client, rules=MetricRules())
        assert report.differences_total == 0, report.differences[:5]
        assert report.rows_expected > 0

    def close(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            if worker.running:
                worker.kill()
        self.client.close()
        self.admin.close()
        stack.down(self.folder)
