"""Where it is measured: real processes on a stack of their own, removed afterwards.

A rig may hold several databases, so that the same topics can be drained again into an empty one.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from deploy.local.clickhouse.grants import OWNER
from deploy.local.commands import dev
from deploy.local.simulator import Ledger, Produced, publish
from deploy.local.stack import stack
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Target, connect
from tests.lab.rig import Rig, WorkerProcess, start_stack, usage

__all__ = ["MeasuringRig", "Progress", "Store", "made_rig", "wait_for_worker"]

#: Without any progress for so long a measurement is given up.
PATIENCE_SECONDS: Final = 120.0
QUERY_SECONDS: Final = 900.0
POLL_SECONDS: Final = 0.02

#: Told what happens now.
Progress = Callable[[str], None]


class Store:
    """One database of a rig, as a user who may do everything."""

    def __init__(self, info: stack.StackInfo, name: str) -> None:
        self.name = name
        # A database of another name than production's: only the owner of the engine may make and read it.
        self.target: Target = replace(dev.target(info, OWNER), database=name, timeout_seconds=QUERY_SECONDS)
        for _migration in migrations.migrate(self.target):
            pass
        self.reader: Client = connect(self.target)
        self.admin: Client = connect(self.target)

    def consumed(self) -> int:
        """Return how many records are checkpointed, in all partitions together."""
        return self.number("SELECT sum(consumed) FROM checkpoints FINAL")

    def number(self, sql: str) -> int:
        """Return the one whole number that ``sql`` asks for."""
        return int(self.reader.query(sql).result_rows[0][0])

    def sizes(self) -> dict[str, dict[str, int]]:
        """Return of each table with rows: ``rows`` and ``bytes`` on disk."""
        found = self.reader.query(
            "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts"
            " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"
        ).result_rows
        return {str(table): {"rows": int(rows), "bytes": int(size)} for table, rows, size in found}

    def close(self) -> None:
        """Close the connections."""
        self.reader.close()
        self.admin.close()


class MeasuringRig(Rig):
    """A rig with one database or several, so that the same topics can be drained again; ``store`` is the first."""

    def __init__(self, info: stack.StackInfo, step: Progress) -> None:
        super().__init__(info)
        self.step = step
        self.store = Store(info, dev.DATABASE)
        self.stores: list[Store] = []

    def new_store(self, name: str) -> Store:
        """Create another database."""
        self.stores.append(Store(self.info, name))
        return self.stores[-1]

    def drop(self, store: Store) -> None:
        """Remove a database that ``new_store`` made."""
        self.stores.remove(store)
        store.close()
        self.store.admin.command(f"DROP DATABASE {store.name} SYNC")

    def worker_on(self, store: Store, **settings: str) -> WorkerProcess:
        """Return a worker on a database, not yet started; ``settings`` are environment variables."""
        return self.new_worker(**dev.database_settings(store.target), **settings)

    def publish(self, records: Iterable[Produced]) -> Ledger:
        """Put records into Kafka as fast as it takes them; return their account."""
        return asyncio.run(publish(self.info.kafka_bootstrap, records))

    def wait_until_consumed(self, store: Store, records: int, workers: Collection[WorkerProcess]) -> float:
        """Return when so many records were found checkpointed, by the clock; raises :class:`MustStop` if nothing moves."""
        moved_at, last = time.monotonic(), -1
        while (now := store.consumed()) < records:
            for worker in workers:
                worker.check()
            if now != last:
                moved_at, last = time.monotonic(), now
            elif time.monotonic() - moved_at > PATIENCE_SECONDS:
                raise next(iter(workers)).trouble(f"Nothing has moved for {PATIENCE_SECONDS:.0f} s at {now} of {records}")
            time.sleep(POLL_SECONDS)
        return time.time()

    def cpu_seconds(self) -> dict[str, float]:
        """Return CPU time so far of broker, ClickHouse, and each worker that runs."""
        pids = {"broker": self.info.kafka_pid, "clickhouse": self.info.clickhouse_pid}
        found = {name: usage.cpu_seconds(pid) for name, pid in pids.items()}
        for number, worker in enumerate(self.workers):
            if worker.pid and Path(f"/proc/{worker.pid}").exists():
                found[f"worker-{number}"] = usage.cpu_seconds(worker.pid)
        return found

    def close(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            worker.stop()
        for store in (self.store, *self.stores):
            store.close()
        super().close()


def wait_for_worker(
    condition: Callable[[], Any], what: str, worker: WorkerProcess, seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait for a condition; raises :class:`MustStop` if the worker ends, or time runs out."""
    deadline = time.monotonic() + seconds
    while not condition():
        worker.check()
        if time.monotonic() > deadline:
            raise worker.trouble(f"Waited {seconds:.0f} s for {what}")
        time.sleep(POLL_SECONDS)


@contextmanager
def made_rig(options: argparse.Namespace, step: Progress) -> Iterator[MeasuringRig]:
    """Start a stack in a folder of its own; stop it, and remove the folder unless one was named."""
    # A measurement that is told to end must take its processes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="classpulse-measure-") as name:
        folder = (options.folder or Path(name)).resolve()
        step(f"Starting Kafka ({options.broker}) and ClickHouse")
        try:
            rig = MeasuringRig(start_stack(folder, broker=options.broker, partitions=options.partitions, fresh=True), step)
            try:
                yield rig
            finally:
                rig.close()
        finally:
            stack.down(folder)
