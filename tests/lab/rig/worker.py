"""One worker process: started, signalled, asked for its pages, and read from its log."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from deploy.local.stack.processes import free_port, log_tail
from schemas.errors import MustStop
from tests.lab.rig import usage
from tests.lab.rig.scrape import Page, parsed
from tests.lab.rig.waiting import wait_until

__all__ = ["WORKER", "WorkerProcess", "address_of"]

WORKER: Final = (sys.executable, "-m", "streams", "worker")
#: An orderly stop has a budget of 20 s.
STOP_SECONDS: Final = 40.0
_KILL_SECONDS: Final = 10.0
_PAGE_SECONDS: Final = 10.0
_LARGEST_PAGE_BYTES: Final = 4 * 2**20
_LARGEST_LOG_BYTES: Final = 32 * 2**20
_LOGGED: Final = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) (.*)$")


def address_of(url: str) -> tuple[str, int]:
    """Return host and port of a URL or of ``host:port``."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    return str(parts.hostname), int(parts.port or 0)


class WorkerProcess:
    """A process that works as a worker, and its successors after each ``start``; all write to one log.

    ``environment`` replaces variables of this process's own. Methods may be called from several threads.
    """

    def __init__(self, log: Path, environment: Mapping[str, str], command: Sequence[str] = WORKER) -> None:
        self.log = log
        self.environment = dict(environment)
        self.started_at_seconds = 0.0
        self._command = command
        self._port = 0
        self._log_from_bytes = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.RLock()

    @property
    def pid(self) -> int:
        """Process id; 0 before the first start."""
        with self._guard:
            return self._process.pid if self._process is not None else 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.pid != 0 and self.exit_status is None

    @property
    def exit_status(self) -> int | None:
        """The status of a process that has ended, below 0 for a signal; None while it runs, or before the first start."""
        with self._guard:
            return self._process.poll() if self._process is not None else None

    def start(self, cores: Collection[int] | None = None) -> None:
        """Start the process unless it runs, on these cores alone if any are given."""
        with self._guard:
            if self.running:
                return
            if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG_BYTES:
                self.log.replace(self.log.with_name(self.log.name + ".1"))
            self._port = free_port()
            own = os.sched_getaffinity(0)
            with self.log.open("ab") as output:
                self._log_from_bytes = output.tell()
                try:
                    # A child inherits the cores, so that no thread of it is ever elsewhere.
                    os.sched_setaffinity(0, cores or own)
                    self.started_at_seconds = time.time()
                    self._process = subprocess.Popen(
                        self._command,
                        env={**os.environ, **self.environment, "CLASSPULSE_WEB_PORT": str(self._port)},
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                finally:
                    os.sched_setaffinity(0, own)

    def send(self, number: int) -> None:
        """Send a signal to the process if it runs."""
        with self._guard:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)

    def pause(self) -> None:
        """Stop its clock."""
        self.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again after ``pause``."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a chance to clean up; returns when it is gone."""
        with self._guard:
            self.send(signal.SIGKILL)
            self.wait(_KILL_SECONDS)

    def wait(self, within_seconds: float) -> int:
        """Return the exit status once the process has ended, 0 if none was started.

        Raises ``subprocess.TimeoutExpired``.
        """
        return self._process.wait(within_seconds) if self._process is not None else 0

    def stop(self) -> int:
        """Stop it in an orderly way; return the exit status.

        Raises ``subprocess.TimeoutExpired`` after the budget of a stop, and kills the process then.
        """
        self.send(signal.SIGTERM)
        try:
            return self.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def check(self) -> None:
        """Raise :class:`MustStop` with the end of its log if it has ended."""
        if self.exit_status is not None:
            raise self.trouble(f"The worker ended with status {self.exit_status}.")

    def trouble(self, what: str) -> MustStop:
        """Return an error that shows the end of its log."""
        return MustStop(f"{what}\n{log_tail(self.log)}\n", f"The whole log is in {self.log}")

    def ask(self, path: str) -> tuple[int, str]:
        """Return status and text of one of its pages; status 0 and the reason if nobody answers."""
        # A proxy from the environment must never stand between this machine and itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self._port}/{path}", timeout=_PAGE_SECONDS) as answer:
                return answer.status, str(answer.read(_LARGEST_PAGE_BYTES).decode())
        except urllib.error.HTTPError as error:
            return error.code, error.read(_LARGEST_PAGE_BYTES).decode()
        except (OSError, ValueError) as error:
            return 0, f"no answer: {error!r}"

    def status(self, path: str) -> int:
        """Return the status of a page, once the process serves its pages."""
        return self._served(path)[0]

    def page(self, path: str) -> str:
        """Return the text of a page, once the process serves its pages."""
        return self._served(path)[1]

    def telemetry(self) -> Page:
        """Return its Prometheus metrics, once the process serves them; raises :class:`MustStop` if it serves none."""
        status, text = self._served("metrics")
        if status != 200:
            raise self.trouble(f"The worker shows no metrics: {text}")
        return parsed(text.splitlines())

    def _served(self, path: str) -> tuple[int, str]:
        wait_until(lambda: self.ask(path)[0], "the worker to serve its pages")
        return self.ask(path)

    def memory(self) -> usage.Memory:
        """Return the memory it has now; raises ``OSError`` if it has ended."""
        return usage.memory(self.pid)

    def said_at_seconds(self, words: str) -> float | None:
        """Return when, since it was last started, its log first held ``words``; None if not yet."""
        with self.log.open("rb") as file:
            file.seek(self._log_from_bytes)
            lines = file.read().decode("utf-8", "replace").splitlines()
        for line in lines:
            found = _LOGGED.match(line)
            if found is not None and words in found[3]:
                return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").astimezone().timestamp() + int(found[2]) / 1000
        return None
