"""A rig in which things break: impatient workers behind proxies, and single events beside the simulated ones."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.local.simulator import Produced
from schemas.events.event_types import schema_uri, type_uri
from tests.end_to_end.harness import AccountedRig
from tests.lab.chaos import Proxy
from tests.lab.rig import WorkerProcess, address_of

CLASSROOM = "classpulse.classroom"
#: Small writes and short timeouts: more happens between two of them, and faults pass sooner.
IMPATIENT = {
    "CLASSPULSE_FLUSH_MAX_ROWS": "2000",
    "CLASSPULSE_FLUSH_INTERVAL_MS": "100",
    "CLASSPULSE_SESSION_TIMEOUT_SECONDS": "4",
    "CLASSPULSE_CLICKHOUSE_TIMEOUT_SECONDS": "3",
}


class FaultRig(AccountedRig):
    """A rig whose workers are impatient and may stand behind proxies."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._addresses: dict[str, str] = {}

    def start_worker(self, **settings: str) -> WorkerProcess:
        """Start an impatient worker behind the proxies."""
        return super().start_worker(**{**IMPATIENT, **self._addresses, **settings})

    @contextmanager
    def before_clickhouse(self) -> Iterator[Proxy]:
        """Stand between the workers to come and ClickHouse."""
        with Proxy(address_of(self.info.clickhouse_url), "http") as proxy:
            self._addresses["CLASSPULSE_CLICKHOUSE_URL"] = proxy.url
            yield proxy

    @contextmanager
    def before_kafka(self) -> Iterator[Proxy]:
        """Stand between the workers to come and Kafka."""
        with Proxy(address_of(self.info.kafka_bootstrap), "kafka") as proxy:
            self._addresses["CLASSPULSE_KAFKA"] = proxy.address
            yield proxy


def event(
    number: int,
    *,
    key: str = "lesson-1",
    at: datetime | None = None,
    name: str = "classroom.hand.raised",
    outcome: Any = "stored",
    reason: str | None = None,
    **changes: Any,
) -> Produced:
    """Return a structured event; ``changes`` replace attributes, and must agree with ``outcome``."""
    now = datetime.now(UTC)
    content = {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "/schools/s07/devices/t1",
        "type": type_uri(name),
        "time": (at or now - timedelta(minutes=5) + timedelta(milliseconds=number)).isoformat(),
        "subject": key,
        "dataschema": schema_uri(name),
        "partitionkey": key,
        "data": {"student_id": "stu-1"},
        **changes,
    }
    return record(json.dumps(content).encode(), key=key, outcome=outcome, reason=reason)


def record(
    value: bytes | None, *, key: str = "lesson-1", outcome: Any = "dead_letter", reason: str | None = None
) -> Produced:
    """Return a record of the classroom as it is."""
    return Produced(CLASSROOM, key.encode(), value, [], int(time.time() * 1000), outcome, reason)
