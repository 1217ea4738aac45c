"""What a cluster's folder holds, and the configuration each broker is started with.

The folder (mode 0700):

    cluster.json            cluster id, whether it is secure, and the ports of every broker
    credentials.json        users and passwords of a secure cluster, mode 0600
    broker-1.properties     written anew at each start
    kafka-1.json            the record of the running process
    broker-1/               its log: records, offsets, metadata
    logs/kafka-1.log        what it says
"""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.errors import StackError
from deploy.local.stack.processes import free_port, port_is_free

__all__ = ["USERS", "BrokerPorts", "Layout", "found_layout", "new_layout", "server_properties"]

CLUSTER_FILE: Final = "cluster.json"
#: The users of a secure cluster; streams/kafka/acls.yaml says what each may do once the rights are granted.
USERS: Final = ("classpulse_admin", "classpulse_worker", "classpulse_device", "classpulse_replay")
MECHANISM: Final = "SCRAM-SHA-512"
# Nobody may do anything that was not granted. ANONYMOUS is whoever comes over the internal listener, which is loopback:
# the other brokers, and this stack itself.
_SECURE: Final = (
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=false",
    "super.users=User:ANONYMOUS;User:classpulse_admin",
    f"sasl.enabled.mechanisms={MECHANISM}",
    "listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
)
_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class BrokerPorts:
    """Where one broker listens: `client` for programs, `internal` for the other brokers, `controller` for the quorum."""

    client: int
    internal: int
    controller: int

    def all_free(self) -> bool:
        """Nobody listens on any of them now."""
        return all(port_is_free(port) for port in (self.client, self.internal, self.controller))


@dataclass(frozen=True, slots=True)
class Layout:
    """One cluster. Brokers are numbered from 1; `brokers[n - 1]` are the ports of broker n."""

    cluster_id: str
    secure: bool
    brokers: tuple[BrokerPorts, ...]

    @property
    def bootstrap(self) -> str:
        """The addresses for clients, comma-separated."""
        return ",".join(f"{_HOST}:{ports.client}" for ports in self.brokers)

    def write(self, folder: Path) -> None:
        """Store it so that no reader sees half of it."""
        path = folder / CLUSTER_FILE
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)

    def with_free_ports(self, first_client_port: int = 0) -> Layout:
        """The same cluster, where brokers whose ports are taken move to others. Only while none of them runs."""
        moved = [ports if ports.all_free() else _free_ports() for ports in self.brokers]
        if first_client_port:
            moved[0] = replace(moved[0], client=first_client_port)
        return replace(self, brokers=tuple(moved))


def _free_ports() -> BrokerPorts:
    return BrokerPorts(free_port(), free_port(), free_port())


def new_layout(brokers: int, *, secure: bool) -> Layout:
    """A cluster that does not exist yet, on free ports."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # A leading dash would be read as an option by Kafka's own tool.
    return Layout("k" + cluster_id[1:], secure, tuple(_free_ports() for _ in range(brokers)))


def found_layout(folder: Path) -> Layout | None:
    """The cluster of a folder; None when there is none. Raises StackError when its file cannot be read."""
    path = folder / CLUSTER_FILE
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        ports = tuple(
            BrokerPorts(int(entry["client"]), int(entry["internal"]), int(entry["controller"]))
            for entry in stored["brokers"]
        )
        return Layout(str(stored["cluster_id"]), bool(stored["secure"]), ports)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(f"{path} cannot be read ({error}); remove its folder to begin with an empty cluster") from error


def server_properties(layout: Layout, number: int, data: Path) -> str:
    """The configuration of one broker, which is also a controller.

    Every limit is that of a small machine. With three brokers or more every partition has three copies, and a write
    needs two of them, so that any one broker may be lost.
    """
    ports = layout.brokers[number - 1]
    listeners = f"CLIENT://{_HOST}:{ports.client},INTERNAL://{_HOST}:{ports.internal}"
    quorum = ",".join(f"{index}@{_HOST}:{each.controller}" for index, each in enumerate(layout.brokers, start=1))
    replicas = 3 if len(layout.brokers) >= 3 else 1
    in_sync = 2 if replicas == 3 else 1
    client_protocol = "SASL_PLAINTEXT" if layout.secure else "PLAINTEXT"
    lines = [
        f"node.id={number}",
        "process.roles=broker,controller",
        f"controller.quorum.voters={quorum}",
        "controller.listener.names=CONTROLLER",
        f"listeners={listeners},CONTROLLER://{_HOST}:{ports.controller}",
        f"advertised.listeners={listeners}",
        f"listener.security.protocol.map=CLIENT:{client_protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name=INTERNAL",
        f"log.dirs={data}",
        # A misspelt name must fail, not make a topic.
        "auto.create.topics.enable=false",
        "delete.topic.enable=true",
        f"default.replication.factor={replicas}",
        f"min.insync.replicas={in_sync}",
        f"offsets.topic.replication.factor={replicas}",
        "offsets.topic.num.partitions=1",
        f"transaction.state.log.replication.factor={replicas}",
        f"transaction.state.log.min.isr={in_sync}",
        "transaction.state.log.num.partitions=1",
        f"share.coordinator.state.topic.replication.factor={replicas}",
        f"share.coordinator.state.topic.min.isr={in_sync}",
        "share.coordinator.state.topic.num.partitions=1",
        # A lone first worker need not wait for company, and tests may ask for short sessions.
        "group.initial.rebalance.delay.ms=0",
        "group.min.session.timeout.ms=1000",
        # The others take a dead broker's partitions over after this, not after nine seconds.
        "broker.session.timeout.ms=3000",
        "broker.heartbeat.interval.ms=500",
        "num.network.threads=2",
        "num.io.threads=4",
        "background.threads=2",
        "num.recovery.threads.per.data.dir=1",
        "log.cleaner.threads=1",
        "log.cleaner.dedupe.buffer.size=2097152",
        "controlled.shutdown.enable=true",
        *(_SECURE if layout.secure else ()),
    ]
    return "\n".join(lines) + "\n"
