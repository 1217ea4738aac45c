"""One round of classpulse: a fresh database, one real worker process, until everything is stored.

Measured from outside. It begins with the last moment at which ``/readyz`` did not yet say ready, and ends with the time
that ClickHouse itself wrote into the last checkpoint. Events, metrics and rejections are stored before the checkpoint that
covers them (docs/delivery.md), so by then everything is.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from deploy.local.simulator import Ledger
from schemas.metrics.rules import MetricRules
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Target, connect
from sinks.verify.verify import verify
from tests.lab.bench.reading import ProductReading, Reading
from tests.lab.rig import WorkerProcess, usage

__all__ = ["Product"]

_READY_POLL_SECONDS: Final = 0.02
#: A look takes ClickHouse some milliseconds; more looks would take the worker's cores.
_PROGRESS_POLL_SECONDS: Final = 0.25
_START_SECONDS: Final = 90.0
#: Without any progress for so long the round is given up.
_PATIENCE_SECONDS: Final = 60.0
_PROGRESS: Final = (
    "SELECT sum(consumed), sum(stored), sum(duplicates), sum(dead_letters), toFloat64(max(written_at))"
    " FROM checkpoints FINAL"
)


@dataclass(frozen=True, slots=True)
class _Drained:
    """What was seen when the last checkpoint was there; times in seconds since the epoch, CPU in seconds."""

    ready_at: float
    stored_at: float
    cpu_seconds: float
    clickhouse_cpu_seconds: float
    peak_memory_bytes: int
    counts: tuple[int, int, int, int]


class Product:
    """Measures classpulse on one stack, whose topic is filled already.

    ``environment``: a worker's settings. ``admin`` may make databases. ``clickhouse_pid`` is
    the process whose CPU time is the database's. ``expected``: the account of what is in the topic.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        admin: Target,
        clickhouse_pid: int,
        log: Path,
        expected: Ledger,
    ) -> None:
        self._environment = environment
        self._admin = admin
        self._clickhouse_pid = clickhouse_pid
        self._log = log
        self._expected = expected

    def measure(self, number: int, *, verified: bool, on_progress: Callable[[int], None]) -> ProductReading:
        """Run round ``number`` in a database of its own, which is dropped afterwards.

        Raises :class:`MustStop`, with the end of the worker's log, if it ends or nothing moves any more.
        """
        database = f"classpulse_bench_{number}"
        self._drop(database)
        for _migration in migrations.migrate(replace(self._admin, database=database)):
            pass
        client = connect(replace(self._admin, database=database))
        try:
            began_at = time.time()
            worker = self._start(database)
            try:
                drained = self._drain(worker, client, on_progress)
            finally:
                worker.stop()
            rows = client.query("SELECT count() FROM metric_rows FINAL").result_rows[0][0]
            found = verify(client, rules=MetricRules()).differences_total if verified else None
        finally:
            client.close()
            self._drop(database)
        return self._reading(drained, began_at, int(rows), found)

    def _reading(self, drained: _Drained, began_at: float, rows: int, differences: int | None) -> ProductReading:
        expected = self._expected
        accounts = (expected.produced, expected.stored, expected.duplicates, expected.dead_letters)
        seconds = max(drained.stored_at - drained.ready_at, 1e-3)
        return ProductReading(
            Reading(expected.produced, seconds, drained.cpu_seconds),
            drained.ready_at - began_at,
            drained.clickhouse_cpu_seconds,
            drained.peak_memory_bytes,
            *drained.counts,
            metric_rows=rows,
            accounts_balance=drained.counts == accounts and drained.counts[0] == sum(drained.counts[1:]),
            differences=differences,
        )

    def _start(self, database: str) -> WorkerProcess:
        settings = {
            **self._environment,
            "CLASSPULSE_CLICKHOUSE_USER": self._admin.user,
            "CLASSPULSE_CLICKHOUSE_PASSWORD": self._admin.password,
            "CLASSPULSE_CLICKHOUSE_DATABASE": database,
            "CLASSPULSE_GROUP": database,
        }
        worker = WorkerProcess(self._log, settings)
        worker.start()
        return worker

    def _drain(self, worker: WorkerProcess, client: Client, on_progress: Callable[[int], None]) -> _Drained:
        ready_at, cpu_began, clickhouse_began = self._until_ready(worker)
        moved_at, last = time.monotonic(), 0
        while True:
            *counts, stored_at = client.query(_PROGRESS).result_rows[0]
            consumed = int(counts[0])
            if consumed >= self._expected.produced:
                break
            if consumed != last:
                moved_at, last = time.monotonic(), consumed
                on_progress(consumed)
            worker.check()
            if time.monotonic() - moved_at > _PATIENCE_SECONDS:
                raise worker.trouble(f"Nothing has moved for {_PATIENCE_SECONDS:.0f} s at {consumed} records")
            time.sleep(_PROGRESS_POLL_SECONDS)
        on_progress(consumed)
        return _Drained(
            ready_at,
            float(stored_at),
            _cpu_seconds(worker.pid) - cpu_began,
            _cpu_seconds(self._clickhouse_pid) - clickhouse_began,
            worker.memory().peak_bytes,
            (consumed, int(counts[1]), int(counts[2]), int(counts[3])),
        )

    def _until_ready(self, worker: WorkerProcess) -> tuple[float, float, float]:
        """Return the time and the CPU seconds of both processes just before the worker was ready."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            before = time.time(), _cpu_seconds(worker.pid), _cpu_seconds(self._clickhouse_pid)
            if worker.ask("readyz")[0] == 200:
                return before
            worker.check()
            if time.monotonic() > deadline:
                raise worker.trouble(f"The worker was not ready after {_START_SECONDS:.0f} s")
            time.sleep(_READY_POLL_SECONDS)

    def _drop(self, database: str) -> None:
        client = connect(self._admin, database="default")
        try:
            client.command(f"DROP DATABASE IF EXISTS {database} SYNC")
        finally:
            client.close()


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process; 0 if it has ended, which :meth:`WorkerProcess.check` tells better."""
    try:
        return usage.cpu_seconds(pid)
    except OSError:
        return 0.0
