"""Detached local processes: started once, recorded in a file, recognised later, stopped for certain.

A record names a process by its id and its start time, so that a process id the system has given to something else is
never taken for ours, and never signalled.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.clickhouse.errors import StackError

__all__ = [
    "ProcessRecord",
    "exclusive",
    "free_port",
    "is_running",
    "log_tail",
    "port_is_free",
    "read_record",
    "spawn",
    "stop",
    "wait_until_ready",
]

_POLL_SECONDS = 0.02
_KILL_SECONDS = 10.0
_TAIL_LINES = 15
_TAIL_BYTES = 16_384
_LARGEST_LOG_BYTES = 16 * 2**20

# Children of this very process: they must be reaped here, or they stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One started process. `start_ticks` is the kernel's start time (0 where it cannot be read); `log` its log file."""

    name: str
    pid: int
    start_ticks: int
    port: int
    started_at_seconds: float
    log: Path

    def write(self, path: Path) -> None:
        """Store the record so that no reader sees half of it."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(asdict(self) | {"log": str(self.log)}) + "\n", encoding="utf-8")
        partial.replace(path)


def read_record(path: Path) -> ProcessRecord | None:
    """The record in a file; None when there is none or it cannot be understood."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return ProcessRecord(
            name=str(fields["name"]),
            pid=int(fields["pid"]),
            start_ticks=int(fields["start_ticks"]),
            port=int(fields["port"]),
            started_at_seconds=float(fields["started_at_seconds"]),
            log=Path(fields["log"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _state_and_start(pid: int) -> tuple[str, int] | None:
    """The kernel's state letter and start time of a process; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def is_running(record: ProcessRecord) -> bool:
    """True while exactly the recorded process lives (not a successor with the same id, not a zombie)."""
    found = _state_and_start(record.pid)
    child = _children.get(record.pid)
    if child is not None and (found is None or found[0] == "Z"):
        child.wait()
        del _children[record.pid]
        return False
    if found is None:
        return not Path("/proc/self/stat").exists() and _answers_signal(record.pid)
    state, start_ticks = found
    return state not in {"Z", "X"} and start_ticks == record.start_ticks


def _answers_signal(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def spawn(name: str, command: Sequence[str], port: int, log: Path, environment: Mapping[str, str]) -> ProcessRecord:
    """Start a detached process in its own session, its output appended to `log` (mode 0600, set aside above 16 MiB)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LARGEST_LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(  # noqa: S603 (the command is made by the stack, never by a user)
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise StackError(f"cannot start {name} ({command[0]}): {error}") from error
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    found = _state_and_start(child.pid)
    return ProcessRecord(name, child.pid, found[1] if found else 0, port, time.time(), log)


def stop(record: ProcessRecord, timeout_seconds: float) -> None:
    """SIGTERM, and SIGKILL after the timeout; returns when the process is gone. Raises StackError if it stays."""
    for number, seconds in ((signal.SIGTERM, timeout_seconds), (signal.SIGKILL, _KILL_SECONDS)):
        if not is_running(record):
            return
        try:
            os.kill(record.pid, number)
        except ProcessLookupError:
            return
        if _until(lambda: not is_running(record), seconds):
            return
    raise StackError(f"{record.name} (process {record.pid}) did not end after SIGKILL; its log is {record.log}")


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def wait_until_ready(record: ProcessRecord, answers: Callable[[], bool], timeout_seconds: float) -> None:
    """Wait until the process answers. Raises StackError, with the end of its log, when it dies or stays silent."""
    deadline = time.monotonic() + timeout_seconds
    while not answers():
        if not is_running(record):
            raise StackError(f"{record.name} ended while starting.\n{log_tail(record.log)}")
        if time.monotonic() >= deadline:
            raise StackError(
                f"{record.name} (process {record.pid}, port {record.port}) does not answer after "
                f"{timeout_seconds:.0f} s.\n{log_tail(record.log)}"
            )
        time.sleep(_POLL_SECONDS)


def log_tail(log: Path) -> str:
    """The log file's path and its last lines, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    except OSError as error:
        return f"Its log {log} cannot be read: {error}"
    return "\n".join([f"Last lines of its log {log}:", *(f"  {line}" for line in lines)])


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """True when a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def exclusive(path: Path, timeout_seconds: float, too_long: str) -> Iterator[None]:
    """Hold the lock file at ``path``, across processes. Raises StackError with ``too_long`` after the timeout, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StackError(too_long) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
