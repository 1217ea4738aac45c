"""The processes under torture: a stack, and workers that each reach it through proxies of their own.

A supervisor starts a worker again when it ends by itself, as Kubernetes would, and takes note of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from deploy.local.stack import stack
from deploy.local.stack.processes import free_port, log_tail
from tests.lab.chaos.proxy import Address, Proxy

EXTRA: Final = "extra"
#: An orderly stop has a budget of 20 s.
STOP_SECONDS: Final = 40.0
_SUPERVISE_SECONDS: Final = 0.2
_RESTART_PAUSE_SECONDS: Final = 1.0
_KILL_SECONDS: Final = 10.0
_PAGE_SECONDS: Final = 5.0
_LARGEST_PAGE_BYTES: Final = 2**20
_LARGEST_LOG_BYTES: Final = 32 * 2**20


def address_of(url: str) -> Address:
    """Return host and port of a URL or of ``host:port``."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    return str(parts.hostname), int(parts.port or 0)


@dataclass(frozen=True, slots=True)
class Ending:
    """A worker that ended by itself. ``status`` below 0 is a signal's number."""

    at_seconds: float
    worker: str
    status: int
    tail: str


class WorkerSlot:
    """A place for one worker process, with its two proxies. Faults take ``lock`` while they hold the process."""

    def __init__(self, name: str, info: stack.StackInfo, environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.wanted = False
        self.clickhouse = Proxy(address_of(info.clickhouse_url), "http").start()
        self.kafka = Proxy(address_of(info.kafka_bootstrap), "kafka").start()
        self.log = folder / f"{name}.log"
        self._environment = {
            **os.environ,
            **environment,
            "CLASSPULSE_CLICKHOUSE_URL": self.clickhouse.url,
            "CLASSPULSE_KAFKA": self.kafka.address,
            "CLASSPULSE_WORKER_NAME": name,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._web_port = 0
        # Faults, the supervisor, and a proxy that kills at a step come from different threads.
        self._guard = threading.RLock()

    @property
    def status(self) -> int | None:
        """The exit status of a process that has ended; None while it runs, or before the first start."""
        with self._guard:
            return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start the process unless it runs."""
        with self._guard:
            self.wanted = True
            if self._process is not None and self._process.poll() is None:
                return
            if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG_BYTES:
                self.log.replace(self.log.with_name(self.log.name + ".1"))
            self._web_port = free_port()
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "streams", "worker"],
                    env={**self._environment, "CLASSPULSE_WEB_PORT": str(self._web_port)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def signal(self, number: int) -> None:
        """Send a signal to the process if it runs."""
        with self._guard:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)

    def page(self, path: str) -> str:
        """Return one of the worker's web pages, or why there is none."""
        # A proxy from the environment must never stand between this machine and itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self._web_port}{path}", timeout=_PAGE_SECONDS) as answer:
                return str(answer.read(_LARGEST_PAGE_BYTES).decode())
        except urllib.error.HTTPError as error:
            return error.read(_LARGEST_PAGE_BYTES).decode()
        except (OSError, ValueError) as error:
            return f"no answer: {error!r}"

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        with self._guard:
            self.wanted = False
            self.signal(signal.SIGKILL)
            if self._process is not None:
                self._process.wait(_KILL_SECONDS)

    def kill_and_start(self) -> None:
        """SIGKILL, and start again."""
        with self._guard:
            self.kill()
            self.start()

    def stop(self) -> int | None:
        """SIGTERM; returns the exit status, None if the process had to be killed after its budget.

        A process that another fault kills meanwhile, or that has not even begun to run, has stopped in order: 0.
        """
        with self._guard:
            self.wanted = False
            process = self._process
            if process is None or process.poll() is not None:
                return 0  # it had ended by itself before
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        return 0 if status in {-signal.SIGKILL, -signal.SIGTERM} else status

    def close(self) -> None:
        """End everything."""
        self.kill()
        self.clickhouse.stop()
        self.kafka.stop()


class Rig:
    """A running stack and its workers. Use it as a context manager; at the end every worker and the stack are gone."""

    def __init__(self, info: stack.StackInfo, environment: Mapping[str, str], workers: int) -> None:
        self.info = info
        self.folder = info.folder
        self.logs = info.folder / "workers"
        self.logs.mkdir(exist_ok=True)
        names = [f"w{number}" for number in range(workers)] + [EXTRA]
        self.workers = {name: WorkerSlot(name, info, environment, self.logs) for name in names}
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
                (folder / f"{name}-{path}.txt").write_text(worker.page(f"/{path}"), encoding="utf-8")

    def heal(self) -> None:
        """Heal every link, let every process go on, and let all regular workers run."""
        for name in (stack.KAFKA, stack.CLICKHOUSE):
            self.resume(name)
        for name, worker in self.workers.items():
            worker.clickhouse.heal()
            worker.kafka.heal()
            worker.signal(signal.SIGCONT)
            if name == EXTRA:
                worker.stop()
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
                status = worker.status
                if worker.wanted and status is not None:
                    at_seconds = time.monotonic() - self._began
                    self.endings.append(Ending(at_seconds, worker.name, status, log_tail(worker.log)))
                    self._closed.wait(_RESTART_PAUSE_SECONDS)
                    if worker.wanted:
                        worker.start()
