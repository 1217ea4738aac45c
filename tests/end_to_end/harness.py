"""Real processes for a test: the embedded stack, workers, and an independent account of what was produced."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

from deploy.embedded import stack
from deploy.simulator import Disturbance, Ledger, Produced, SimulationConfig, publish, simulate
from sinks.verify import verify
from sinks.warehouse import connect
from streams import topics
from streams.commands import dev

TROUBLED = Disturbance(
    disorder_share=0.05, duplicate_share=0.04, late_share=0.01, offline_share=0.05, skew_share=0.05,
    wild_clock_share=0.001, malformed_share=0.01,
)  # fmt: skip
PATIENCE_SECONDS = 90.0
_COUNTERS = "SELECT sum(consumed), sum(stored), sum(duplicates), sum(dead_letters) FROM checkpoints FINAL"


def records(events: int, seed: int) -> Iterable[Produced]:
    """Return a troubled school morning."""
    return simulate(SimulationConfig(seed=seed, events=events, disturbance=TROUBLED))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fail with its name when patience runs out."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s for: {what}"
        time.sleep(0.05)


@dataclass
class WorkerProcess:
    """A worker started by a test."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """Ask it to stop; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Town:
    """An embedded stack with its database and topics, any number of workers, and what was produced into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info = stack.up(folder)
        dev.prepare(self.info)
        self.client: Client = connect(dev.reader(self.info))
        self.ledgers: list[Ledger] = []
        self.workers: list[WorkerProcess] = []

    def produce(self, events: int, seed: int = 1) -> Ledger:
        """Publish a troubled morning and remember its account."""
        ledger = asyncio.run(publish(self.info.kafka_bootstrap, records(events, seed)))
        self.ledgers.append(ledger)
        return ledger

    def create_topics(self) -> None:
        """Create the topics that are missing."""
        asyncio.run(topics.create(self.info.kafka_bootstrap, topics.declared()))

    def start_worker(self, **settings: str) -> WorkerProcess:
        """Start a worker process."""
        environment = {**os.environ, **dev.environment(self.info), "CLASSPULSE_WEB_PORT": "0", **settings}
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "streams", "worker"], env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.workers.append(WorkerProcess(process, log))
        return self.workers[-1]

    def counters(self) -> tuple[int, int, int, int]:
        """Return consumed, stored, duplicates, dead letters of all checkpoints."""
        row = self.client.query(_COUNTERS).result_rows[0]
        return int(row[0]), int(row[1]), int(row[2]), int(row[3])

    def wait_for_checkpoints(self, consumed: int) -> None:
        """Wait until so many records are checkpointed; fails early when every worker has ended."""

        def reached() -> bool:
            alive = any(worker.process.poll() is None for worker in self.workers)
            assert alive, self.workers[-1].log.read_text()[-2000:]
            return self.counters()[0] >= consumed

        wait_until(reached, f"{consumed} records checkpointed, at {self.counters()}")

    def produced(self) -> tuple[int, int, int, int]:
        """Return produced, stored, duplicates, dead letters by the simulator's account."""
        sums = [
            (ledger.produced, ledger.stored, ledger.duplicates, ledger.dead_letters) for ledger in self.ledgers
        ]
        return tuple(sum(column) for column in zip(*sums, strict=True))  # type: ignore[return-value]

    def assert_laws(self) -> None:
        """Both laws: the counters equal the simulator's account, and verify finds no difference."""
        self.wait_for_checkpoints(self.produced()[0])
        found, expected = self.counters(), self.produced()
        assert found == expected, f"(consumed, stored, duplicates, dead letters) {found}, produced {expected}"
        report = verify(self.client, time_zone="Asia/Shanghai")
        assert report.differences_total == 0, report.differences[:5]
        assert report.rows_expected > 0

    def close(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        self.client.close()
        stack.down(self.folder)
