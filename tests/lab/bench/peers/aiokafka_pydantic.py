"""A plain loop: aiokafka, one pydantic model an event, counts in a dict, batches into ClickHouse, then the commit."""

import asyncio
import os
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from aiokafka import AIOKafkaConsumer
from pydantic import ValidationError

from schemas.events.envelope import Envelope
from schemas.events.event_types import MODELS, PREFIX, SUFFIX
from tests.lab.bench.peers.events import WINDOW_SECONDS, parsed, time_of
from tests.lab.bench.program import Stopwatch, Task

_BATCH_ROWS = 20_000
_POLL_MS = 500
_SESSION_MS = 6_000
_COLUMNS = ("key", "time", "source", "id", "type", "subject", "data")
_TABLE = (
    "CREATE TABLE IF NOT EXISTS bench_peer.events (key String, time DateTime64(3, 'UTC'), source String, id String,"
    " type LowCardinality(String), subject String, data String) ENGINE = MergeTree ORDER BY (key, time)"
)


def _client() -> Any:
    parts = urlsplit(os.environ["BENCH_CLICKHOUSE_URL"])
    client = clickhouse_connect.get_client(
        host=parts.hostname,
        port=parts.port or 8123,
        username=os.environ["BENCH_CLICKHOUSE_USER"],
        password=os.environ["BENCH_CLICKHOUSE_PASSWORD"],
    )
    client.command("CREATE DATABASE IF NOT EXISTS bench_peer")
    client.command(_TABLE)
    client.command("TRUNCATE TABLE bench_peer.events")
    return client


class _Loop:
    def __init__(self, task: Task) -> None:
        self._client = _client()
        self._rows: list[tuple[Any, ...]] = []
        self._counts: Counter[tuple[str, int]] = Counter()
        self._stopwatch = Stopwatch(task)
        self._waiting = 0

    def take(self, record: Any) -> None:
        """Validate one record, count it, keep its row; what is not valid is dropped."""
        self._waiting += 1
        event = parsed(record.value)
        try:
            envelope = Envelope.model_validate(event)
            name = envelope.type.removeprefix(PREFIX).removesuffix(SUFFIX)
            data = MODELS[name].model_validate(event["data"])  # type: ignore[index] # an envelope has data
        except (ValidationError, KeyError, TypeError):
            return
        key, when = (record.key or b"").decode("utf-8", "replace"), time_of(event)
        self._counts[key, int(when.timestamp()) // WINDOW_SECONDS] += 1
        self._rows.append((key, when, envelope.source, envelope.id, name, envelope.subject, data.model_dump_json()))

    @property
    def is_full(self) -> bool:
        """Whether it is time to write."""
        return self._waiting >= _BATCH_ROWS

    def write(self) -> None:
        """Insert what waits."""
        if self._rows:
            self._client.insert("bench_peer.events", self._rows, column_names=list(_COLUMNS))
        self._rows = []

    def written(self) -> None:
        """Count what is stored and committed."""
        waiting, self._waiting = self._waiting, 0
        self._stopwatch.count(waiting)

    def start(self) -> None:
        """Begin to measure: with the first record, since what counts comes in batches."""
        self._stopwatch.start()


async def _read(task: Task) -> None:
    consumer = AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.bootstrap,
        group_id=task.group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=task.fetch_max_bytes,
        # The embedded broker finishes a group join only after these have passed.
        session_timeout_ms=_SESSION_MS,
        rebalance_timeout_ms=_SESSION_MS,
        heartbeat_interval_ms=_SESSION_MS // 3,
    )
    loop = _Loop(task)
    await consumer.start()
    seen = 0
    while True:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH_ROWS)).values():
            if not seen:
                loop.start()
            for record in records:
                loop.take(record)
            seen += len(records)
        if loop.is_full or seen >= task.events:
            loop.write()
            await consumer.commit()
            loop.written()


if __name__ == "__main__":
    asyncio.run(_read(Task.from_command_line()))
