"""The processes under torture: a stack, and workers that each reach it through proxies of their own.

A supervisor starts a worker again when it ends by itself, as Kubernetes would, and takes note of it.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.local.stack import stack
from deploy.local.stack.processes import log_tail
from tests.lab.chaos.proxy import Proxy
from tests.lab.rig import WorkerProcess, address_of

EXTRA: Final = "extra"
_SUPERVISE_SECONDS: Final = 0.2
_RESTART_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ending:
    """A worker that ended by itself. ``status`` below 0 is a signal's number."""

    at_seconds: float
    worker: str
    status: int
    tail: str


class ProxiedWorker(WorkerProcess):
    """A worker with two proxies of its own. Faults take ``lock`` while they hold the process.

    ``wanted``: the supervisor starts it again when it ends by itself.
    """

    def __init__(self, name: str, info: stack.StackInfo, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.wanted = False
        self.clickhouse = Proxy(address_of(info.clickhouse_url), "http").start()
        self.kafka = Proxy(address_of(info.kafka_bootstrap), "kafka").start()
        links = {"CLASSPULSE_CLICKHOUSE_URL": self.clickhouse.url, "CLASSPULSE_KAFKA": self.kafka.address}
        super().__init__(folder / f"{name}.log", {**environment, **links, "CLASSPULSE_WORKER_NAME": name})

    def start(self, cores: Collection[int] | None = None) -> None:
        """Start the process unless it runs."""
        with self._guard:
            self.wanted = True
            super().start(cores)

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        with self._guard:
            self.wanted = False
            super().kill()

    def kill_and_start(self) -> None:
        """SIGKILL, and start again."""
        with self._guard:
            self.kill()
            self.start()

    def stop_in_order(self) -> int | None:
        """SIGTERM; returns the exit status, None if the process had to be killed after its budget.

        A process that another fault kills meanwhile, or that has not even begun to run, has stopped in order: 0.
        """
        with self._guard:
            self.wanted = False
            if not self.running:
                return 0  # it had ended by itself before
        try:
            status = self.stop()
        except subprocess.TimeoutExpired:
            return None
        return 0 if status in {-signal.SIGKILL, -signal.SIGTERM} else status

    def close(self) -> None:
        """End everything."""
        self.kill()
        self.clickhouse.stop()
        self.kafka.stop()


class ProxiedRig:
    """A running stack and its workers. Use it as a context manager; at the end every worker and the stack are gone."""

    def __init__(self, info: stack.StackInfo, environment: Mapping[str, str], workers: int) -> None:
        self.info = info
        self.folder = info.folder
        self.logs = info.folder / "workers"
        self.logs.mkdir(exist_ok=True)
        names = [f"w{number}" for number in range(workers)] + [EXTRA]
        self.workers = {name: ProxiedWorker(name, info, environment, self.logs) for name in names}
        self.broker_lock, self.clickhouse_lock = threading.Lock(), threading.Lock()
        self.endings: list[Ending] = []
        self._began = time.monotonic()
        self._closed = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    @property
    def regulars(self) -> list[str]:
        """The names of the workers that always run."""
        return [name for name in self.workers if name != EXTRA]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for name in self.regulars:
            self.workers[name].start()
        self._supervisor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closed.set()
        self._supervisor.join()
        for worker in self.workers.values():
            worker.close()

    def save_pages(self, folder: Path) -> None:
        """Write what the workers say of themselves to files, for somebody to find out why they stand still."""
        folder.mkdir(exist_ok=True)
        for name, worker in self.workers.items():
            for path in ("healthz", "readyz", "metrics"):
                (folder / f"{name}-{path}.txt").write_text(worker.ask(path)[1], encoding="utf-8")

    def heal(self) -> None:
        """Heal every link, let every process go on, and let all regular workers run."""
        for name in (stack.KAFKA, stack.CLICKHOUSE):
            self.resume(name)
        for name, worker in self.workers.items():
            worker.clickhouse.heal()
            worker.kafka.heal()
            worker.go_on()
            if name == EXTRA:
                worker.stop_in_order()
            else:
                worker.start()

    def resume(self, name: str) -> None:
        """Let a part of the stack go on, or start it if it is gone."""
        try:
            stack.kill(self.folder, name, signal.SIGCONT)
        except stack.StackError:
            self.start_part(name)

    def start_part(self, name: str) -> None:
        """Start a part of the stack on its data and its port."""
        port = address_of(self.info.kafka_bootstrap if name == stack.KAFKA else self.info.clickhouse_url)[1]
        if name == stack.KAFKA:
            stack.start_broker(self.folder, port)
        else:
            stack.start_clickhouse(self.folder, port)

    def _supervise(self) -> None:
        while not self._closed.wait(_SUPERVISE_SECONDS):
            for worker in self.workers.values():
                status = worker.exit_status
                if worker.wanted and status is not None:
                    at_seconds = time.monotonic() - self._began
                    self.endings.append(Ending(at_seconds, worker.name, status, log_tail(worker.log)))
                    self._closed.wait(_RESTART_PAUSE_SECONDS)
                    if worker.wanted:
                        worker.start()
