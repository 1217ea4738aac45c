"""The embedded stack as one thing: `up`, `down`, `status`, and its two parts one by one.

Everything lives in one folder (mode 0700):

    credentials.json   users and their passwords, mode 0600
    users.json         the same users with salted hashes, what the ClickHouse process reads
    kafka.json, clickhouse.json   the record of each running process
    logs/              one log file a process
    clickhouse/        the engine's data (the broker keeps everything in memory)
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import secrets
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded import broker
from deploy.embedded.auth import Profile, write_users_file
from deploy.embedded.errors import StackError
from deploy.embedded.processes import (
    ProcessRecord,
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
    "CLICKHOUSE", "KAFKA", "PartStatus", "StackError", "StackInfo", "StackStatus", "down", "info", "kill",
    "start_broker", "start_clickhouse", "status", "stop_part", "up",
]  # fmt: skip

KAFKA = "kafka"
CLICKHOUSE = "clickhouse"
PROFILES: Mapping[str, Profile] = {
    "classpulse_admin": Profile.ADMIN,
    "classpulse_worker": Profile.WRITER,
    "classpulse_reader": Profile.READONLY,
}
_PASSWORD_BYTES = 24
_PORT_ATTEMPTS = 5
_PING_SECONDS = 1.0
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class StackInfo:
    """A running stack. `users` maps user names to passwords; they are never part of the text form."""

    folder: Path
    kafka_bootstrap: str
    clickhouse_url: str
    kafka_pid: int
    clickhouse_pid: int
    users: Mapping[str, str]

    def __repr__(self) -> str:
        return (
            f"StackInfo(folder={str(self.folder)!r}, kafka_bootstrap={self.kafka_bootstrap!r}, "
            f"clickhouse_url={self.clickhouse_url!r}, kafka_pid={self.kafka_pid}, "
            f"clickhouse_pid={self.clickhouse_pid}, users={sorted(self.users)})"
        )


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


@dataclass(frozen=True)
class StackStatus:
    """Both parts of a stack."""

    folder: Path
    kafka: PartStatus
    clickhouse: PartStatus

    @property
    def healthy(self) -> bool:
        """Both processes run and answer."""
        return self.kafka.answering and self.clickhouse.answering


def up(
    folder: Path, *, kafka_port: int = 0, clickhouse_port: int = 0, timeout_seconds: float = _START_SECONDS,
    fresh: bool = False,
) -> StackInfo:  # fmt: skip
    """Start what is not running yet, and wait until both parts answer.

    A port of 0 means the port used before if it is free, else any free one. A part that died is started again:
    ClickHouse with its data, the broker empty (it keeps everything in memory). `fresh` stops both and removes all
    data first.
    Raises StackError, naming the log file and its last lines.
    """
    folder = _made(folder)
    with _locked(folder, timeout_seconds):
        if fresh:
            _stop_both(folder, _STOP_SECONDS)
            shutil.rmtree(folder / "clickhouse", ignore_errors=True)
        kafka = _start_broker(folder, kafka_port, timeout_seconds)
        clickhouse = _start_clickhouse(folder, clickhouse_port, timeout_seconds)
        return _describe(folder, kafka, clickhouse)


def down(folder: Path, *, timeout_seconds: float = _STOP_SECONDS) -> None:
    """Stop both parts: SIGTERM, SIGKILL after the timeout. Does nothing when they are not running."""
    if not folder.exists():
        return
    with _locked(folder.resolve(), timeout_seconds + _START_SECONDS):
        _stop_both(folder.resolve(), timeout_seconds)


def status(folder: Path) -> StackStatus:
    """What runs, on which ports, and whether it answers. Never raises for a stack that is not there."""
    folder = folder.resolve()
    return StackStatus(
        folder,
        _part_status(folder, KAFKA, broker.answers_metadata),
        _part_status(folder, CLICKHOUSE, _answers_ping),
    )


def info(folder: Path) -> StackInfo:
    """The addresses and users of a running stack. Raises StackError when a part is not running."""
    folder = folder.resolve()
    records = {name: read_record(_record_path(folder, name)) for name in (KAFKA, CLICKHOUSE)}
    for name, record in records.items():
        if record is None or not is_running(record):
            raise StackError(f"{name} is not running in {folder}; start the stack with up()")
    kafka, clickhouse = records[KAFKA], records[CLICKHOUSE]
    if kafka is None or clickhouse is None:
        raise StackError(f"the stack in {folder} is not running; start it with up()")
    return _describe(folder, kafka, clickhouse)


def start_broker(folder: Path, port: int = 0, timeout_seconds: float = _START_SECONDS) -> ProcessRecord:
    """Start the broker alone, or find it running. A broker that starts is empty."""
    folder = _made(folder)
    with _locked(folder, timeout_seconds):
        return _start_broker(folder, port, timeout_seconds)


def start_clickhouse(folder: Path, port: int = 0, timeout_seconds: float = _START_SECONDS) -> ProcessRecord:
    """Start ClickHouse alone on its data, or find it running."""
    folder = _made(folder)
    with _locked(folder, timeout_seconds):
        return _start_clickhouse(folder, port, timeout_seconds)


def stop_part(folder: Path, name: str, timeout_seconds: float = _STOP_SECONDS) -> None:
    """Stop one part (`KAFKA` or `CLICKHOUSE`) in an orderly way."""
    with _locked(folder.resolve(), timeout_seconds + _START_SECONDS):
        _stop_one(folder.resolve(), name, timeout_seconds)


def kill(folder: Path, name: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to one part, for fault tests; after SIGKILL, returns when the process is gone.

    Raises StackError when the part is not running.
    """
    record = read_record(_record_path(folder.resolve(), name))
    if record is None or not is_running(record):
        raise StackError(f"{name} is not running in {folder}")
    os.kill(record.pid, number)
    deadline = time.monotonic() + _STOP_SECONDS
    while number == signal.SIGKILL and is_running(record):
        if time.monotonic() > deadline:
            raise StackError(f"{name} (process {record.pid}) survives SIGKILL")
        time.sleep(0.01)


# --- the parts ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """How one part is started, and how it is asked whether it is ready; both take the port."""

    name: str
    command: Callable[[int], list[str]]
    environment: Mapping[str, str]
    answers: Callable[[int], bool]


def _start_broker(folder: Path, port: int, timeout_seconds: float) -> ProcessRecord:
    part = _Part(KAFKA, broker.command, broker.environment(), broker.answers_metadata)
    return _start(folder, part, port, timeout_seconds)


def _start_clickhouse(folder: Path, port: int, timeout_seconds: float) -> ProcessRecord:
    _credentials(folder)
    root = Path(__file__).resolve().parents[2]
    inherited = os.environ.get("PYTHONPATH")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), inherited] if inherited else [str(root)])}

    def command(chosen: int) -> list[str]:
        return [
            sys.executable, "-m", "deploy.embedded.server", "--data", str(folder / "clickhouse"),
            "--port", str(chosen), "--users", str(folder / "users.json"),
        ]  # fmt: skip

    return _start(folder, _Part(CLICKHOUSE, command, environment, _answers_ping), port, timeout_seconds)


def _start(folder: Path, part: _Part, port: int, timeout_seconds: float) -> ProcessRecord:
    path = _record_path(folder, part.name)
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
        record = spawn(part.name, part.command(chosen), chosen, _log_path(folder, part.name), part.environment)
        record.write(path)
        if _became_ready(record, part, max(1.0, deadline - time.monotonic()), any_port=port == 0):
            return record
        chosen = free_port()
    raise StackError(f"no free port for {part.name}\n{log_tail(_log_path(folder, part.name))}")


def _became_ready(record: ProcessRecord, part: _Part, timeout_seconds: float, *, any_port: bool) -> bool:
    """True when the part answers; False when somebody took its port first and another port may do."""
    try:
        wait_until_ready(record, lambda: part.answers(record.port), timeout_seconds)
    except StackError:
        lost_its_port = not is_running(record) and not port_is_free(record.port)
        stop(record, _PING_SECONDS)
        if any_port and lost_its_port:
            return False
        raise
    return is_running(record)


def _stop_one(folder: Path, name: str, timeout_seconds: float) -> None:
    path = _record_path(folder, name)
    record = read_record(path)
    if record is not None:
        stop(record, timeout_seconds)
        # The port stays on record, so that a restarted part is found by its clients where it was.
        dataclasses.replace(record, pid=0, start_ticks=0).write(path)


def _stop_both(folder: Path, timeout_seconds: float) -> None:
    for name in (CLICKHOUSE, KAFKA):
        _stop_one(folder, name, timeout_seconds)


def _part_status(folder: Path, name: str, answers: Callable[[int], bool]) -> PartStatus:
    record = read_record(_record_path(folder, name))
    if record is None or record.pid == 0:
        return PartStatus(name, "stopped", _log_path(folder, name))
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


def _answers_ping(port: int) -> bool:
    # A proxy from the environment must never stand between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/ping", timeout=_PING_SECONDS) as response:
            return bool(response.read(16) == b"Ok.\n")
    except (OSError, urllib.error.URLError, ValueError):
        return False


# --- the folder -----------------------------------------------------------------------------------------------------


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.resolve()


def _record_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _log_path(folder: Path, name: str) -> Path:
    return folder / "logs" / f"{name}.log"


def _describe(folder: Path, kafka: ProcessRecord, clickhouse: ProcessRecord) -> StackInfo:
    return StackInfo(
        folder=folder,
        kafka_bootstrap=f"127.0.0.1:{kafka.port}",
        clickhouse_url=f"http://127.0.0.1:{clickhouse.port}",
        kafka_pid=kafka.pid,
        clickhouse_pid=clickhouse.pid,
        users=_credentials(folder),
    )


def _credentials(folder: Path) -> dict[str, str]:
    """Names and passwords; made once, with random passwords, on the first start."""
    path = folder / "credentials.json"
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            passwords = {str(name): str(password) for name, password in stored.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise StackError(f"{path} cannot be read ({error}); remove it to have new passwords made") from error
        if not (folder / "users.json").exists():
            _write_users(folder, passwords)
        return passwords
    passwords = {name: secrets.token_urlsafe(_PASSWORD_BYTES) for name in PROFILES}
    _write_users(folder, passwords)
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(passwords, file, indent=2)
        file.write("\n")
    partial.replace(path)
    return passwords


def _write_users(folder: Path, passwords: Mapping[str, str]) -> None:
    users = {name: (PROFILES[name], password) for name, password in passwords.items() if name in PROFILES}
    write_users_file(folder / "users.json", users)


@contextmanager
def _locked(folder: Path, timeout_seconds: float) -> Iterator[None]:
    """One starter or stopper at a time for a folder, across processes."""
    descriptor = os.open(folder / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StackError(
                        f"another command has been starting or stopping the stack in {folder} "
                        f"for {timeout_seconds:.0f} s; wait for it to end"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
