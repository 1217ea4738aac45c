"""The embedded stack as one thing: `up`, `down`, `status`, and its two parts one by one.

Everything lives in one folder (mode 0700):

    credentials.json   users and their passwords, mode 0600
    users.json         the same users with salted hashes, what the ClickHouse process reads
    kafka.json, clickhouse.json   the record of each running process
    logs/              one log file a process
    clickhouse/        the engine's data
    apache/            a cluster of Apache Kafka with its data, when that was chosen; Tansu keeps everything in memory
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from deploy.local.apache import ApacheCluster
from deploy.local.clickhouse.errors import StackError
from deploy.local.stack import broker as tansu
from deploy.local.stack.parts import (
    START_SECONDS,
    STOP_SECONDS,
    Part,
    PartStatus,
    kill_part,
    lock,
    made,
    part_status,
    record_path,
    start_part,
)
from deploy.local.stack.parts import stop_part as stop_process
from deploy.local.stack.passwords import clickhouse_passwords
from deploy.local.stack.processes import ProcessRecord, is_running, read_record

__all__ = [
    "APACHE",
    "CLICKHOUSE",
    "EMBEDDED",
    "KAFKA",
    "BrokerKind",
    "PartStatus",
    "StackError",
    "StackInfo",
    "StackStatus",
    "down",
    "info",
    "kill",
    "start_broker",
    "start_clickhouse",
    "status",
    "stop_part",
    "up",
]

KAFKA: Final = "kafka"
CLICKHOUSE: Final = "clickhouse"
EMBEDDED: Final = "embedded"
APACHE: Final = "apache"
BrokerKind = Literal["embedded", "apache"]
_PING_SECONDS: Final = 1.0


@dataclass(frozen=True)
class StackInfo:
    """A running stack. `users` maps user names to passwords; they are never part of the text form.

    `broker` is embedded or apache. `kafka_pid` is the first broker's; `replication` how many copies a topic should have.
    """

    folder: Path
    kafka_bootstrap: str
    clickhouse_url: str
    kafka_pid: int
    clickhouse_pid: int
    users: Mapping[str, str]
    broker: BrokerKind = EMBEDDED
    replication: int = 1

    def __repr__(self) -> str:
        return (
            f"StackInfo(folder={str(self.folder)!r}, broker={self.broker!r}, kafka_bootstrap={self.kafka_bootstrap!r}, "
            f"clickhouse_url={self.clickhouse_url!r}, kafka_pid={self.kafka_pid}, "
            f"clickhouse_pid={self.clickhouse_pid}, users={sorted(self.users)})"
        )


@dataclass(frozen=True)
class StackStatus:
    """Every process of a stack. `brokers` has one entry, or one for each broker of an Apache cluster."""

    folder: Path
    broker: BrokerKind
    brokers: tuple[PartStatus, ...]
    clickhouse: PartStatus

    @property
    def kafka(self) -> PartStatus:
        """The first broker."""
        return self.brokers[0]

    @property
    def healthy(self) -> bool:
        """All processes run and answer."""
        return self.clickhouse.answering and all(part.answering for part in self.brokers)


def up(
    folder: Path,
    *,
    kafka_port: int = 0,
    clickhouse_port: int = 0,
    timeout_seconds: float = START_SECONDS,
    fresh: bool = False,
    broker: BrokerKind | None = None,
    brokers: int | None = None,
) -> StackInfo:
    """Start what is not running yet, and wait until all parts answer.

    `broker` is embedded (Tansu, in memory) or apache (Apache Kafka, needs Java and Maven), with as many `brokers`;
    None means what the folder holds, or one embedded one. A port of 0 means the port used before if it is free, else
    any free one. A part that died is started again: ClickHouse and Apache Kafka with their data, Tansu empty.
    `fresh` stops everything and removes all data first.
    Raises StackError, naming the log file and its last lines, or what to install.
    """
    folder = made(folder)
    with lock(folder, timeout_seconds):
        if fresh:
            _stop_all(folder, STOP_SECONDS)
            shutil.rmtree(folder / "clickhouse", ignore_errors=True)
            shutil.rmtree(folder / "apache", ignore_errors=True)
        cluster = _chosen(folder, broker, brokers)
        if cluster is not None:
            cluster.up(port=kafka_port, timeout_seconds=timeout_seconds)
        else:
            _start_tansu(folder, kafka_port, timeout_seconds)
        _start_clickhouse(folder, clickhouse_port, timeout_seconds)
        return info(folder)


def down(folder: Path, *, timeout_seconds: float = STOP_SECONDS) -> None:
    """Stop all parts: SIGTERM, SIGKILL after the timeout. Does nothing when they are not running."""
    if not folder.exists():
        return
    with lock(folder.resolve(), timeout_seconds + START_SECONDS):
        _stop_all(folder.resolve(), timeout_seconds)


def status(folder: Path) -> StackStatus:
    """What runs, on which ports, and whether it answers. Never raises for a stack that is not there."""
    folder = folder.resolve()
    clickhouse = part_status(folder, CLICKHOUSE, _answers_ping)
    cluster = _cluster(folder)
    if cluster is not None:
        return StackStatus(folder, APACHE, cluster.status.brokers, clickhouse)
    return StackStatus(folder, EMBEDDED, (part_status(folder, KAFKA, tansu.answers_metadata),), clickhouse)


def info(folder: Path) -> StackInfo:
    """The addresses and users of a running stack.

    Raises StackError when a part is not running; of an Apache cluster one broker is enough.
    """
    folder = folder.resolve()
    cluster = _cluster(folder)
    clickhouse = _running(folder, CLICKHOUSE)
    if cluster is not None:
        records = cluster.records()
        if not records:
            raise StackError(f"{KAFKA} is not running in {folder}; start the stack with up()")
        kafka, bootstrap, replication = records[0], cluster.bootstrap, cluster.replication
    else:
        kafka, replication = _running(folder, KAFKA), 1
        bootstrap = f"127.0.0.1:{kafka.port}"
    return StackInfo(
        folder=folder,
        kafka_bootstrap=bootstrap,
        clickhouse_url=f"http://127.0.0.1:{clickhouse.port}",
        kafka_pid=kafka.pid,
        clickhouse_pid=clickhouse.pid,
        users=clickhouse_passwords(folder),
        broker=EMBEDDED if cluster is None else APACHE,
        replication=replication,
    )


def start_broker(folder: Path, port: int = 0, timeout_seconds: float = START_SECONDS) -> ProcessRecord:
    """Start the broker alone, or find it running; all brokers of an Apache cluster. Tansu starts empty."""
    folder = made(folder)
    with lock(folder, timeout_seconds):
        cluster = _cluster(folder)
        if cluster is None:
            return _start_tansu(folder, port, timeout_seconds)
        cluster.up(port=port, timeout_seconds=timeout_seconds)
        return cluster.records()[0]


def start_clickhouse(folder: Path, port: int = 0, timeout_seconds: float = START_SECONDS) -> ProcessRecord:
    """Start ClickHouse alone on its data, or find it running."""
    folder = made(folder)
    with lock(folder, timeout_seconds):
        return _start_clickhouse(folder, port, timeout_seconds)


def stop_part(folder: Path, name: str, timeout_seconds: float = STOP_SECONDS) -> None:
    """Stop one part (`KAFKA`: all its brokers, or `CLICKHOUSE`) in an orderly way."""
    with lock(folder.resolve(), timeout_seconds + START_SECONDS):
        _stop_one(folder.resolve(), name, timeout_seconds)


def kill(folder: Path, name: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to one part, for fault tests; after SIGKILL, returns when the process is gone.

    `KAFKA` means every broker of an Apache cluster; ApacheCluster kills them one by one.
    Raises StackError when the part is not running.
    """
    folder = folder.resolve()
    cluster = _cluster(folder) if name == KAFKA else None
    if cluster is None:
        kill_part(folder, name, number)
        return
    running = [position for position, part in enumerate(cluster.status.brokers, start=1) if part.state == "running"]
    if not running:
        raise StackError(f"{name} is not running in {folder}")
    for position in running:
        cluster.kill(position, number)


# --- the parts ------------------------------------------------------------------------------------------------------


def _cluster(folder: Path) -> ApacheCluster | None:
    return ApacheCluster.found(folder / "apache")


def _chosen(folder: Path, broker: BrokerKind | None, brokers: int | None) -> ApacheCluster | None:
    """The Apache cluster to start, None for Tansu. Raises StackError when the folder holds something else."""
    found = _cluster(folder)
    kind = broker or (EMBEDDED if found is None else APACHE)
    if kind == EMBEDDED:
        if found is not None:
            raise StackError(f"{folder} holds an Apache Kafka; begin afresh with --fresh, or name another folder")
        if brokers not in {None, 1}:
            raise StackError("the embedded broker is always one; only Apache Kafka (--broker apache) comes in several")
        return None
    if found is None and _is_running(folder, KAFKA):
        raise StackError(f"{folder} runs the embedded broker; stop it first with down()")
    if found is None or brokers is None:
        return found or ApacheCluster(folder / "apache", brokers or 1)
    return ApacheCluster(found.folder, brokers, secure=found.secure)


def _start_tansu(folder: Path, port: int, timeout_seconds: float) -> ProcessRecord:
    part = Part(KAFKA, tansu.command, tansu.environment(), tansu.answers_metadata)
    return start_part(folder, part, port, timeout_seconds)


def _start_clickhouse(folder: Path, port: int, timeout_seconds: float) -> ProcessRecord:
    clickhouse_passwords(folder)
    root = Path(__file__).resolve().parents[3]
    inherited = os.environ.get("PYTHONPATH")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), inherited] if inherited else [str(root)])}

    def command(chosen: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "deploy.local.clickhouse.server",
            "--data",
            str(folder / "clickhouse"),
            "--port",
            str(chosen),
            "--users",
            str(folder / "users.json"),
        ]

    return start_part(folder, Part(CLICKHOUSE, command, environment, _answers_ping), port, timeout_seconds)


def _is_running(folder: Path, name: str) -> bool:
    record = read_record(record_path(folder, name))
    return record is not None and is_running(record)


def _running(folder: Path, name: str) -> ProcessRecord:
    record = read_record(record_path(folder, name))
    if record is None or not is_running(record):
        raise StackError(f"{name} is not running in {folder}; start the stack with up()")
    return record


def _stop_one(folder: Path, name: str, timeout_seconds: float) -> None:
    cluster = _cluster(folder) if name == KAFKA else None
    if cluster is not None:
        cluster.down(timeout_seconds)
    else:
        stop_process(folder, name, timeout_seconds)


def _stop_all(folder: Path, timeout_seconds: float) -> None:
    for name in (CLICKHOUSE, KAFKA):
        _stop_one(folder, name, timeout_seconds)


def _answers_ping(port: int) -> bool:
    # A proxy from the environment must never stand between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/ping", timeout=_PING_SECONDS) as response:
            return bool(response.read(16) == b"Ok.\n")
    except (OSError, urllib.error.URLError, ValueError):
        return False
