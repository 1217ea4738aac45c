"""Real processes for a test: the embedded stack, workers, and an independent account of what was produced."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from clickhouse_connect.driver.client import Client

from deploy.local.clickhouse.grants import OWNER
from deploy.local.commands import dev
from deploy.local.simulator import Disturbance, Ledger, Produced, SimulationConfig, publish, simulate, source_and_id
from schemas.events.event_types import FAMILIES
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import connect
from sinks.verify.verify import verify
from streams.kafka import topics
from tests.lab.rig import Rig, WorkerProcess, start_stack, wait_until
from tests.lab.rig.worker import WORKER

TROUBLED = Disturbance(
    disorder_share=0.05,
    duplicate_share=0.04,
    late_share=0.01,
    offline_share=0.05,
    skew_share=0.05,
    wild_clock_share=0.001,
    malformed_share=0.01,
)
_COUNTERS = "SELECT sum(consumed), sum(stored), sum(duplicates), sum(dead_letters) FROM checkpoints FINAL"


def records(events: int, seed: int) -> Iterable[Produced]:
    """Return a troubled school morning."""
    return simulate(SimulationConfig(seed=seed, events=events, disturbance=TROUBLED))


class AccountedRig(Rig):
    """A rig that remembers what was produced into it, and what must have become of that."""

    def __init__(
        self,
        folder: Path,
        *,
        migrated: Path,
        broker: Literal["embedded", "apache"] = "embedded",
        brokers: int = 1,
        partitions: int | None = None,
    ) -> None:
        super().__init__(start_stack(folder, broker=broker, brokers=brokers, partitions=partitions, migrated=migrated))
        self._partitions = partitions
        self.client: Client = connect(dev.target(self.info))
        for name in ("compile_expressions", "compile_aggregate_expressions"):
            # Machine code pays where a query runs for seconds; here its making is the greater part of a short verify.
            self.client.set_client_setting(name, 0)
        self.admin: Client = connect(dev.target(self.info, OWNER))
        self.ledgers: list[Ledger] = []
        self._lost = 0
        self.expected: set[tuple[str, str]] = set()

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
        return self.start_process(WORKER, **settings)

    def environment(self) -> dict[str, str]:
        """Return what a process of this rig needs to know."""
        return {**os.environ, **dev.environment(self.info)}

    def start_process(self, command: Sequence[str], **settings: str) -> WorkerProcess:
        """Start a process that works as a worker."""
        worker = self.new_worker(command, **settings)
        worker.start()
        return worker

    def counters(self) -> tuple[int, int, int, int]:
        """Return consumed, stored, duplicates, dead letters of all checkpoints."""
        row = self.client.query(_COUNTERS).result_rows[0]
        return int(row[0]), int(row[1]), int(row[2]), int(row[3])

    def wait_for_checkpoints(self, consumed: int, pause_seconds: float = 0.1) -> None:
        """Wait until so many records are checkpointed; fails early when every worker has ended."""

        def reached() -> bool:
            assert any(worker.running for worker in self.workers), self.workers[-1].log.read_text()[-2000:]
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
        self.client.close()
        self.admin.close()
        super().close()
