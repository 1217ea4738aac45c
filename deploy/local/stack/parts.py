"""The processes of a stack's folder: started, found again, stopped, killed, looked at.

A part called NAME has its record in ``NAME.json`` and its log in ``logs/NAME.log`` below the folder.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.errors import StackError
from deploy.local.stack.processes import (
    ProcessRecord,
    exclusive,
    free_port,
    is_running,
    log_tail,
    port_is_free,
    read_record,
    spawn,
    stop,
    wait_until_ready,
)

__all__ = [
    "START_SECONDS",
    "STOP_SECONDS",
    "Part",
    "PartStatus",
    "kill_part",
    "lock",
    "log_path",
    "made",
    "part_status",
    "record_path",
    "start_part",
    "stop_part",
]

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
_PORT_ATTEMPTS: Final = 5
_GIVE_UP_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Part:
    """How one part is started, and how it is asked whether it is ready; both take the port."""

    name: str
    command: Callable[[int], list[str]]
    environment: Mapping[str, str]
    answers: Callable[[int], bool]


@dataclass(frozen=True)
class PartStatus:
    """One process: `state` is running, dead (it ended by itself) or stopped; the rest is None or 0 unless it runs."""

    name: str
    state: str
    log: Path
    answering: bool = False
    pid: int | None = None
    port: int | None = None
    uptime_seconds: float = 0.0


def made(folder: Path) -> Path:
    """The folder, there and absolute; mode 0700 when it is new."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.resolve()


def record_path(folder: Path, name: str) -> Path:
    """Where the record of a part lies."""
    return folder / f"{name}.json"


def log_path(folder: Path, name: str) -> Path:
    """Where the log of a part lies."""
    return folder / "logs" / f"{name}.log"


def start_part(folder: Path, part: Part, port: int, timeout_seconds: float) -> ProcessRecord:
    """Start a part and wait until it answers, or find it running.

    A port of 0 means the port used before if it is free, else any free one. Raises StackError.
    """
    path = record_path(folder, part.name)
    known = read_record(path)
    if known is not None and is_running(known):
        if port not in {0, known.port}:
            raise StackError(f"{part.name} already runs on port {known.port}, not {port}; stop it first with down()")
        wait_until_ready(known, lambda: part.answers(known.port), timeout_seconds)
        return known
    if port and not port_is_free(port):
        raise StackError(f"port {port} for {part.name} is taken by another process; choose another port, or 0 for any")
    deadline = time.monotonic() + timeout_seconds
    chosen = port or (known.port if known is not None and port_is_free(known.port) else free_port())
    for _ in range(_PORT_ATTEMPTS):
        record = spawn(part.name, part.command(chosen), chosen, log_path(folder, part.name), part.environment)
        record.write(path)
        if _became_ready(record, part, max(1.0, deadline - time.monotonic()), any_port=port == 0):
            return record
        chosen = free_port()
    raise StackError(f"no free port for {part.name}\n{log_tail(log_path(folder, part.name))}")


def _became_ready(record: ProcessRecord, part: Part, timeout_seconds: float, *, any_port: bool) -> bool:
    """True when the part answers; False when somebody took its port first and another port may do."""
    try:
        wait_until_ready(record, lambda: part.answers(record.port), timeout_seconds)
    except StackError:
        lost_its_port = not is_running(record) and not port_is_free(record.port)
        stop(record, _GIVE_UP_SECONDS)
        if any_port and lost_its_port:
            return False
        raise
    return is_running(record)


def stop_part(folder: Path, name: str, timeout_seconds: float) -> None:
    """Stop a part in an orderly way; does nothing when it does not run."""
    path = record_path(folder, name)
    record = read_record(path)
    if record is not None:
        stop(record, timeout_seconds)
        # The port stays on record, so that a restarted part is found by its clients where it was.
        dataclasses.replace(record, pid=0, start_ticks=0).write(path)


def kill_part(folder: Path, name: str, number: int = signal.SIGKILL) -> None:
    """Send a signal; after SIGKILL, returns when the process is gone. Raises StackError when it is not running."""
    record = read_record(record_path(folder, name))
    if record is None or not is_running(record):
        raise StackError(f"{name} is not running in {folder}")
    os.kill(record.pid, number)
    deadline = time.monotonic() + STOP_SECONDS
    while number == signal.SIGKILL and is_running(record):
        if time.monotonic() > deadline:
            raise StackError(f"{name} (process {record.pid}) survives SIGKILL")
        time.sleep(0.01)


def part_status(folder: Path, name: str, answers: Callable[[int], bool]) -> PartStatus:
    """What a part does now."""
    record = read_record(record_path(folder, name))
    if record is None or record.pid == 0:
        return PartStatus(name, "stopped", log_path(folder, name))
    if not is_running(record):
        return PartStatus(name, "dead", record.log, pid=record.pid, port=record.port)
    return PartStatus(
        name,
        "running",
        record.log,
        answering=answers(record.port),
        pid=record.pid,
        port=record.port,
        uptime_seconds=max(0.0, time.time() - record.started_at_seconds),
    )


def lock(folder: Path, timeout_seconds: float) -> AbstractContextManager[None]:
    """One starter or stopper at a time for a folder, across processes. Raises StackError after the timeout."""
    return exclusive(
        folder / "stack.lock",
        timeout_seconds,
        f"another command has been starting or stopping the stack in {folder} "
        f"for {timeout_seconds:.0f} s; wait for it to end",
    )
