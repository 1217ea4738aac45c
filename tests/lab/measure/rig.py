"""Where it is measured: real processes on a stack of their own, removed afterwards.

A rig may hold several databases, so that the same topics can be drained again into an empty one.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

from clickhouse_connect.driver.client import Client

from deploy.local.clickhouse.grants import OWNER
from deploy.local.commands import dev
from deploy.local.commands.demo_worker import DemoWorker
from deploy.local.simulator import Ledger, Produced, publish
from deploy.local.stack import stack
from schemas.errors import MustStop
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Target, connect
from tests.lab.measure import usage
from tests.lab.measure.scrape import Page, page_of

__all__ = ["Progress", "Rig", "Store", "Worker", "made_rig", "wait_until"]

#: Without any progress for so long a measurement is given up.
PATIENCE_SECONDS: Final = 120.0
QUERY_SECONDS: Final = 900.0
POLL_SECONDS: Final = 0.02
_LOGGED: Final = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) (.*)$")

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


class Worker:
    """One worker process of a rig."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._process = DemoWorker(folder, self.environment)
        self._log = folder / "logs" / "worker.log"
        self._log_from_bytes = 0
        self.started_at_seconds = 0.0

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def start(self, cores: Collection[int] | None = None) -> None:
        """Start the process, on these cores alone if any are given."""
        self._log_from_bytes = self._log.stat().st_size if self._log.exists() else 0
        own = os.sched_getaffinity(0)
        try:
            # A child inherits the cores, so that no thread of it is ever elsewhere.
            os.sched_setaffinity(0, cores or own)
            self.started_at_seconds = time.time()
            self._process.start()
        finally:
            os.sched_setaffinity(0, own)

    def stop(self) -> None:
        """Stop in an orderly way; nothing if it does not run."""
        self._process.stop()

    def kill(self) -> None:
        """End it without a chance to clean up."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.stop()  # waits until it is gone

    def check(self) -> None:
        """Raise :class:`MustStop` with the end of its log if it has ended."""
        self._process.check()

    def trouble(self, what: str) -> MustStop:
        """Return an error with the end of its log."""
        return self._process.trouble(what)

    def page(self) -> Page:
        """Return its Prometheus metrics."""
        return page_of(f"http://127.0.0.1:{self._process.port}/metrics")

    def said_at_seconds(self, words: str) -> float | None:
        """Return when, since it was last started, its log first held ``words``; None if not yet."""
        with self._log.open("rb") as file:
            file.seek(self._log_from_bytes)
            lines = file.read().decode("utf-8", "replace").splitlines()
        for line in lines:
            found = _LOGGED.match(line)
            if found is not None and words in found[3]:
                return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").astimezone().timestamp() + int(found[2]) / 1000
        return None


@dataclass(slots=True)
class Rig:
    """A running stack with its topics; ``store`` is the first database."""

    folder: Path
    info: stack.StackInfo
    store: Store
    step: Progress
    workers: list[Worker]
    stores: list[Store]

    def new_store(self, name: str) -> Store:
        """Create another database."""
        self.stores.append(Store(self.info, name))
        return self.stores[-1]

    def drop(self, store: Store) -> None:
        """Remove a database that ``new_store`` made."""
        self.stores.remove(store)
        store.close()
        self.store.admin.command(f"DROP DATABASE {store.name} SYNC")

    def new_worker(self, store: Store | None = None, **settings: str) -> Worker:
        """Return a worker on a database, not yet started; ``settings`` are environment variables."""
        number = len(self.workers)
        environment = {
            **dev.environment(self.info),
            **dev.database_settings((store or self.store).target),
            "CLASSPULSE_WORKER_NAME": f"worker-{number}",
            **settings,
        }
        folder = self.folder / f"worker-{number}"
        folder.mkdir(exist_ok=True)
        self.workers.append(Worker(folder, environment))
        return self.workers[-1]

    def publish(self, records: Iterable[Produced]) -> Ledger:
        """Put records into Kafka as fast as it takes them; return their account."""
        return asyncio.run(publish(self.info.kafka_bootstrap, records))

    def wait_until_consumed(self, store: Store, records: int, workers: Collection[Worker]) -> float:
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
        stack.down(self.folder)


def wait_until(condition: Callable[[], Any], what: str, worker: Worker, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; raises :class:`MustStop` if the worker ends, or time runs out."""
    deadline = time.monotonic() + seconds
    while not condition():
        worker.check()
        if time.monotonic() > deadline:
            raise worker.trouble(f"Waited {seconds:.0f} s for {what}")
        time.sleep(POLL_SECONDS)


@contextmanager
def made_rig(options: argparse.Namespace, step: Progress) -> Iterator[Rig]:
    """Start a stack in a folder of its own; stop it, and remove the folder unless one was named."""
    # A measurement that is told to end must take its processes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="classpulse-measure-") as name:
        folder = (options.folder or Path(name)).resolve()
        step(f"Starting Kafka ({options.broker}) and ClickHouse")
        try:
            info = stack.up(folder, broker=cast(stack.BrokerKind, options.broker), fresh=True)
            dev.prepare(info, options.partitions)
            rig = Rig(folder, info, Store(info, dev.DATABASE), step, [], [])
            try:
                yield rig
            finally:
                rig.close()
        finally:
            stack.down(folder)
