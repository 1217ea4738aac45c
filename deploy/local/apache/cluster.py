"""A cluster of Apache Kafka brokers on this machine, each also a controller (KRaft)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.apache.jars import class_path, java
from deploy.local.apache.layout import MECHANISM, USERS, Layout, found_layout, new_layout, server_properties
from deploy.local.clickhouse.errors import StackError
from deploy.local.stack.broker import nodes
from deploy.local.stack.parts import (
    START_SECONDS,
    STOP_SECONDS,
    PartStatus,
    kill_part,
    lock,
    log_path,
    made,
    part_status,
    record_path,
    stop_part,
)
from deploy.local.stack.passwords import stored_passwords
from deploy.local.stack.processes import ProcessRecord, is_running, port_is_free, read_record, spawn, wait_until_ready

__all__ = ["ApacheCluster", "ClusterStatus"]

LARGEST_CLUSTER: Final = 5
_FORMAT_SECONDS: Final = 120.0
_ATTEMPTS: Final = 3
_POLL_SECONDS: Final = 0.05
# For a quick start and little memory, not for throughput.
_JVM_OPTIONS: Final = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
)
_LOG_OPTIONS: Final = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    # While a broker is away the others say so several times a second.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=error",
)
# Options of Kafka's own start scripts or of any JVM, which the account may have set for something else.
_FOREIGN_VARIABLES: Final = ("KAFKA_", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH")


@dataclass(frozen=True)
class ClusterStatus:
    """Every broker of a cluster, in the order of their numbers; none before the first start."""

    brokers: tuple[PartStatus, ...]

    @property
    def healthy(self) -> bool:
        """All of them run and answer."""
        return bool(self.brokers) and all(broker.answering for broker in self.brokers)


class ApacheCluster:
    """One to five brokers in a folder; the folder remembers ports and data. Brokers are numbered from 1.

    From three brokers on, every partition has three copies and any one broker may be lost. A `secure` cluster lets in
    only its users (SASL_PLAINTEXT, SCRAM-SHA-512), and only classpulse_admin may do anything before rights are granted:
    `classpulse topics create --acls`, as that user.
    """

    def __init__(self, folder: Path, brokers: int = 1, *, secure: bool = False) -> None:
        if not 1 <= brokers <= LARGEST_CLUSTER:
            raise StackError(f"a cluster has 1 to {LARGEST_CLUSTER} brokers, not {brokers}")
        self.folder = folder.resolve()
        self.size = brokers
        self.secure = secure

    @classmethod
    def found(cls, folder: Path) -> ApacheCluster | None:
        """The cluster that a folder holds, running or not; None when it holds none."""
        layout = found_layout(folder)
        return None if layout is None else cls(folder, len(layout.brokers), secure=layout.secure)

    @property
    def bootstrap(self) -> str:
        """The addresses for clients, comma-separated. Raises StackError before the first start."""
        return self._layout().bootstrap

    @property
    def users(self) -> dict[str, str]:
        """The users of a secure cluster and their passwords; made with the first start."""
        return stored_passwords(self.folder / "credentials.json", USERS) if self.secure else {}

    @property
    def replication(self) -> int:
        """How many copies a topic's partitions should have here."""
        return 3 if self.size >= 3 else 1

    @property
    def status(self) -> ClusterStatus:
        """What each broker does."""
        layout = found_layout(self.folder)
        if layout is None:
            return ClusterStatus(())
        return ClusterStatus(tuple(self._broker_status(layout, number) for number in self._numbers()))

    def up(self, *, port: int = 0, timeout_seconds: float = START_SECONDS) -> str:
        """Start every broker that does not run, wait until each is in the cluster, and return the bootstrap addresses.

        Ports are those of the last start where they are free. `port`: the first broker's, 0 for any.
        Raises StackError: Java or Maven missing (what to install), a port taken, a broker that ends (its log's end).
        """
        made(self.folder)
        deadline = time.monotonic() + timeout_seconds
        with lock(self.folder, timeout_seconds):
            for attempt in range(1, _ATTEMPTS + 1):
                layout = self._prepared(port)
                try:
                    self._start_all(layout, deadline)
                except StackError:
                    # Somebody may have taken a port between our looking and the broker's listening.
                    if port or attempt == _ATTEMPTS or self._any_running() or self._ports_are_free(layout):
                        raise
                    continue
                break
        return layout.bootstrap

    def down(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Stop every broker in an orderly way; does nothing where none runs."""
        if not self.folder.exists():
            return
        with lock(self.folder, timeout_seconds + START_SECONDS):
            # The last controllers cannot reach a quorum any more, and would wait for one: all are asked at once.
            for number in self._numbers():
                record = self._record(number)
                if record is not None and is_running(record):
                    os.kill(record.pid, signal.SIGTERM)
            for number in self._numbers():
                stop_part(self.folder, _name(number), timeout_seconds)

    def remove(self) -> None:
        """Stop every broker and remove the cluster with its data."""
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, number: int, timeout_seconds: float = START_SECONDS) -> None:
        """Start one broker on its data and its ports, and wait until it is in the cluster; or find it running.

        A cluster of three needs two of them for that: start the second before waiting for the first, with `up`.
        """
        deadline = time.monotonic() + timeout_seconds
        with lock(self.folder, timeout_seconds):
            layout = self._layout()
            self._await(layout, number, self._spawned(layout, number), deadline)

    def stop(self, number: int, timeout_seconds: float = STOP_SECONDS) -> None:
        """Stop one broker in an orderly way: it hands its partitions over first."""
        self._known(number)
        with lock(self.folder, timeout_seconds + START_SECONDS):
            stop_part(self.folder, _name(number), timeout_seconds)

    def kill(self, number: int, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal to one broker; after SIGKILL, returns when it is gone. Raises StackError unless it runs."""
        self._known(number)
        kill_part(self.folder, _name(number), signal_number)

    def records(self) -> list[ProcessRecord]:
        """The processes that run now."""
        found = [self._record(number) for number in self._numbers()]
        return [record for record in found if record is not None and is_running(record)]

    # --- inside --------------------------------------------------------------------------------------------------------

    def _numbers(self) -> range:
        return range(1, self.size + 1)

    def _known(self, number: int) -> None:
        if number not in self._numbers():
            raise StackError(f"there is no broker {number}; this cluster has 1 to {self.size}")

    def _layout(self) -> Layout:
        layout = found_layout(self.folder)
        if layout is None:
            raise StackError(f"there is no cluster in {self.folder} yet; start it with up()")
        return layout

    def _record(self, number: int) -> ProcessRecord | None:
        return read_record(record_path(self.folder, _name(number)))

    def _any_running(self) -> bool:
        return bool(self.records())

    def _ports_are_free(self, layout: Layout) -> bool:
        return all(ports.all_free() for ports in layout.brokers)

    def _prepared(self, port: int) -> Layout:
        """The cluster's layout, stored; new, or found with its ports moved where they are taken."""
        layout = found_layout(self.folder) or new_layout(self.size, secure=self.secure)
        if (len(layout.brokers), layout.secure) != (self.size, self.secure):
            raise StackError(
                f"{self.folder} holds a {'secure ' if layout.secure else ''}cluster of {len(layout.brokers)} brokers, "
                f"not {self.size}{' secure ones' if self.secure else ''}; name another folder, or begin afresh"
            )
        first = layout.brokers[0].client
        if self._any_running():
            if port not in {0, first}:
                raise StackError(f"kafka already runs on port {first}, not {port}; stop it first with down()")
        else:
            if port and not port_is_free(port):
                raise StackError(f"port {port} for kafka is taken by another process; choose another port, or 0 for any")
            layout = layout.with_free_ports(port)
        layout.write(self.folder)
        return layout

    def _start_all(self, layout: Layout, deadline: float) -> None:
        records = [self._spawned(layout, number) for number in self._numbers()]
        for number, record in zip(self._numbers(), records, strict=True):
            self._await(layout, number, record, deadline)
        everyone = frozenset(self._numbers())
        # Until each knows all, a topic with three copies is rejected.
        while any(nodes(ports.internal) != everyone for ports in layout.brokers):
            if time.monotonic() >= deadline:
                raise StackError(f"the brokers in {self.folder} do not find each other; see {self.folder / 'logs'}")
            time.sleep(_POLL_SECONDS)

    def _spawned(self, layout: Layout, number: int) -> ProcessRecord:
        self._known(number)
        known = self._record(number)
        if known is not None and is_running(known):
            return known
        name, ports = _name(number), layout.brokers[number - 1]
        if not ports.all_free():
            raise StackError(f"a port of {name} ({ports}) is taken by another process; end that process")
        binary, jars = java(), class_path()
        data = self.folder / f"broker-{number}"
        properties = self.folder / f"broker-{number}.properties"
        properties.write_text(server_properties(layout, number, data), encoding="utf-8")
        if not (data / "meta.properties").exists():
            _format(binary, jars, layout, properties, self.users)
        command = [binary, *_JVM_OPTIONS, *_LOG_OPTIONS, "-cp", jars, "kafka.Kafka", str(properties)]
        record = spawn(name, command, ports.client, log_path(self.folder, name), _environment())
        record.write(record_path(self.folder, name))
        return record

    def _await(self, layout: Layout, number: int, record: ProcessRecord, deadline: float) -> None:
        answers = self._answers(layout, number)
        wait_until_ready(record, answers, max(1.0, deadline - time.monotonic()))

    def _answers(self, layout: Layout, number: int) -> Callable[[], bool]:
        return lambda: number in nodes(layout.brokers[number - 1].internal)

    def _broker_status(self, layout: Layout, number: int) -> PartStatus:
        answers = self._answers(layout, number)
        return part_status(self.folder, _name(number), lambda _port: answers())


def _name(number: int) -> str:
    return f"kafka-{number}"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_VARIABLES)}


def _format(binary: str, jars: str, layout: Layout, properties: Path, users: Mapping[str, str]) -> None:
    """Write the cluster's identity and users into an empty data folder, as Kafka wants it before the first start."""
    # In a file, since every user of the machine can read a command line.
    arguments = properties.with_suffix(".format")
    lines = ["--cluster-id", layout.cluster_id, "--config", str(properties)]
    for user, password in users.items():
        lines += ["--add-scram", f"{MECHANISM}=[name={user},password={password}]"]
    with os.fdopen(os.open(arguments, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    command = [
        binary,
        *_JVM_OPTIONS,
        *_LOG_OPTIONS,
        "-cp",
        jars,
        "kafka.tools.StorageTool",
        "format",
        f"@{arguments}",
    ]
    try:
        answer = subprocess.run(  # noqa: S603 (the command is made here)
            command, capture_output=True, text=True, timeout=_FORMAT_SECONDS, check=False, env=_environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"Kafka's storage could not be prepared: {error}") from error
    finally:
        arguments.unlink(missing_ok=True)
    if answer.returncode:
        raise StackError(f"Kafka's storage could not be prepared:\n{(answer.stdout + answer.stderr).strip()}")
