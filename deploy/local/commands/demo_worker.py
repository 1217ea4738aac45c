"""The demo's worker process, and how far it is."""

import os
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.stack import processes
from schemas.errors import MustStop
from sinks.clickhouse.client import Target, connect

_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.5
#: Without any progress for so long the demo gives up and shows the worker's log.
_PATIENCE_SECONDS = 60.0
_PROGRESS = "SELECT sum(consumed), sum(stored), sum(duplicates), sum(dead_letters) FROM checkpoints FINAL"


@dataclass(frozen=True, slots=True)
class Progress:
    """The counters of all partitions, added up; that each one adds up by itself is for verify to say."""

    consumed: int = 0
    stored: int = 0
    duplicates: int = 0
    dead_letters: int = 0


class DemoWorker:
    """One ``classpulse worker``: a detached process whose record is in the demo's folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._environment = environment
        self._record_file = folder / "worker.json"
        self._record = processes.read_record(self._record_file)
        self._log = folder / "logs" / "worker.log"

    @property
    def port(self) -> int:
        """Port of its web pages."""
        return self._record.port if self._record is not None else 0

    @property
    def pid(self) -> int:
        """Process id; 0 before it was started."""
        return self._record.pid if self._record is not None else 0

    def start(self) -> None:
        """Start the process; it goes on when this one ends."""
        port = processes.free_port()
        self._record = processes.spawn(
            "worker",
            [sys.executable, "-m", "streams", "worker"],
            port,
            self._log,
            {**os.environ, **self._environment, "CLASSPULSE_WEB_PORT": str(port)},
        )
        self._record.write(self._record_file)

    def check(self) -> None:
        """Raise :class:`MustStop` with the end of the log if the process has ended."""
        if self._record is not None and not processes.is_running(self._record):
            raise self.trouble("The worker ended.")

    def trouble(self, what: str) -> MustStop:
        """Return an error that shows the end of the worker's log."""
        return MustStop(f"{what}\n{processes.log_tail(self._log)}\n", f"The whole log is in {self._log}")

    def drain_seconds(self) -> float:
        """Return the seconds from the first fetch to the last checkpoint, by the worker's own metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as page:
            text = page.read().decode()
        values = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
        seconds = values["classpulse_checkpoint_timestamp_seconds"] - values["classpulse_started_timestamp_seconds"]
        return max(seconds, 1e-3)

    def stop(self) -> None:
        """Stop the process in an orderly way, or kill it."""
        if self._record is not None:
            processes.stop(self._record, _STOP_SECONDS)


class Watcher:
    """Follows the checkpoints in a thread of its own while the devices produce."""

    def __init__(self, worker: DemoWorker, target: Target, show: Callable[[int], None]) -> None:
        self._worker = worker
        self._target = target
        self._show = show
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watcher", daemon=True)
        self.progress = Progress()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def wait_until(self, consumed: int) -> Progress:
        """Return when so many records are checkpointed; raises :class:`MustStop` if nothing moves any more."""
        moved_at, last = time.monotonic(), self.progress
        while self.progress.consumed < consumed:
            self._worker.check()
            if self.progress != last:
                moved_at, last = time.monotonic(), self.progress
            if time.monotonic() - moved_at > _PATIENCE_SECONDS:
                raise self._worker.trouble(f"Nothing has moved for {_PATIENCE_SECONDS:.0f} s at {self.progress}")
            self._ended.wait(_POLL_SECONDS)
        return self.progress

    def _follow(self) -> None:
        client = connect(self._target)
        while not self._ended.wait(_POLL_SECONDS):
            try:
                self.progress = _read(client)
            except ClickHouseError:
                continue  # wait_until gives up if it stays so
            self._show(self.progress.consumed)
        client.close()


def _read(client: Client) -> Progress:
    return Progress(*(int(count) for count in client.query(_PROGRESS).result_rows[0]))
