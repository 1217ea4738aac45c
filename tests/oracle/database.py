"""A ClickHouse database with the product's tables, filled with the oracle's events and rows."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from deploy.local.clickhouse.grants import OWNER
from deploy.local.stack import stack
from schemas.metrics.catalogue import CATALOGUE_VERSION
from sinks.clickhouse.client import Target, connect
from sinks.clickhouse.migrations import migrate
from tests.oracle.oracle import Event, Metrics, RowKey

__all__ = [
    "fresh_database",
    "insert_checkpoint",
    "insert_events",
    "insert_rows",
    "open_client",
    "running_clickhouse",
    "time_of",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENT_COLUMNS = ("key", "time", "source", "id", "type", "subject", "schoolid", "classid", "partition", "position")
DATA_COLUMNS = {
    "classroom": (
        "correct",
        "course",
        "duration_ms",
        "fias_code",
        "grade",
        "kind",
        "latency_ms",
        "mode",
        "plan_id",
        "platform",
        "progress",
        "prompt_id",
        "roster",
        "scheduled_end",
        "scheduled_start",
        "score",
        "speaker",
        "strategy",
        "student_id",
        "teacher_id",
    ),
    "prep": (
        "audience",
        "characters_changed",
        "course",
        "editor_id",
        "grade",
        "had_input",
        "lesson_id",
        "lesson_start",
        "origin",
        "owner_id",
        "platform",
        "resource_id",
        "score",
        "substantive",
    ),
    "research": (
        "feedback_id",
        "host_id",
        "improvement_id",
        "invited",
        "kind",
        "lesson_end",
        "lesson_id",
        "mode",
        "report_id",
        "rubric_scores",
        "scheduled_end",
        "scheduled_start",
        "teacher_id",
    ),
    "registry": ("career_stage", "course", "grade", "group_id", "name", "school_id", "stage", "students"),
}
TIME_FIELDS = {"lesson_end", "lesson_start", "scheduled_end", "scheduled_start"}
LIST_FIELDS = {"invited", "roster", "rubric_scores", "students"}
#: Numbers and truth values, NULL where an event has none; every other field is text.
NULLABLE_FIELDS = {
    "characters_changed",
    "correct",
    "duration_ms",
    "fias_code",
    "grade",
    "had_input",
    "latency_ms",
    "progress",
    "score",
    "substantive",
}
ROW_COLUMNS = (
    "metric",
    "window",
    "key",
    "item",
    "slot",
    "window_start",
    "window_end",
    "value",
    "numerator",
    "denominator",
    "sample_size",
    "parts",
    "catalogue_version",
    "topic",
    "partition",
    "revision",
)


def time_of(time_us: int | None) -> datetime | None:
    """Return the instant of ``time_us`` microseconds since the epoch."""
    return None if time_us is None else EPOCH + timedelta(microseconds=time_us)


@contextmanager
def running_clickhouse(folder: Path) -> Iterator[Target]:
    """Run a real engine behind HTTP, without tables, and stop it afterwards."""
    record = stack.start_clickhouse(folder)
    try:
        password = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))[OWNER]
        yield Target(f"http://127.0.0.1:{record.port}", OWNER, password, "default")
    finally:
        stack.down(folder)


def fresh_database(server: Target, name: str) -> Target:
    """Create a database of that name with every table and view; what an earlier one of that name had is gone."""
    target = Target(server.url, server.user, server.password, name)
    client = connect(server)
    client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
    client.close()
    for _ in migrate(target):
        pass
    return target


def open_client(target: Target) -> Client:
    """Connect to a database."""
    client = connect(target)
    for name in ("compile_expressions", "compile_aggregate_expressions"):
        # Machine code pays where a query runs for seconds; here its making is a great part of a short query.
        client.set_client_setting(name, 0)
    return client


def insert_events(
    client: Client,
    events: Sequence[Event],
    partition: int = 0,
    first_position: int = 0,
    stored_at: datetime | None = None,
) -> None:
    """Store the events at consecutive positions, each in its family's table; ``stored_at`` is now if not given.

    The subject is the key where an event names none.
    """
    stored_columns, stored = (["stored_at"], [stored_at]) if stored_at else ([], [])
    by_family: dict[str, list[list[Any]]] = {}
    for position, event in enumerate(events, start=first_position):
        family = event["type"].split(".")[0]
        by_family.setdefault(family, []).append(
            [
                event["key"],
                time_of(event["time_us"]),
                event["source"],
                event["id"],
                event["type"],
                event.get("subject", event["key"]),
                event.get("schoolid", ""),
                event.get("classid", ""),
                partition,
                position,
                *(_field(event, name) for name in DATA_COLUMNS[family]),
                *stored,
            ]
        )
    for family, rows in by_family.items():
        client.insert(f"events_{family}", rows, column_names=[*EVENT_COLUMNS, *DATA_COLUMNS[family], *stored_columns])


def _field(event: Event, name: str) -> Any:
    if name in TIME_FIELDS:
        return time_of(event.get(f"{name}_us"))
    if name in LIST_FIELDS:
        return event.get(name, [])
    return event.get(name, None if name in NULLABLE_FIELDS else "")


def insert_checkpoint(client: Client, family: str, position: int, partition: int = 0, **counters: int | datetime) -> None:
    """Store a checkpoint; counters not given are as if every record below ``position`` had been stored."""
    values: Mapping[str, Any] = {
        "topic": f"classpulse.{family}",
        "partition": partition,
        "position": position,
        "epoch": 0,
        "next_offset": position,
        "max_time": EPOCH,
        "watermark": EPOCH,
        "consumed": position,
        "stored": position,
        "duplicates": 0,
        "dead_letters": 0,
        "worker": "test",
    } | counters
    client.insert("checkpoints", [list(values.values())], column_names=list(values))


def insert_rows(
    client: Client,
    family: str,
    rows: Iterable[tuple[RowKey, Metrics]],
    revision: int = 0,
    partition: int = 0,
    written_at: datetime | None = None,
) -> None:
    """Store metrics as a worker would; ``written_at`` is now if not given."""
    written_columns, written = (["written_at"], [written_at]) if written_at else ([], [])
    data = [
        [
            key.metric,
            key.window,
            key.key,
            key.item,
            time_of(key.slot_us),
            time_of(row.window_start_us),
            time_of(row.window_end_us),
            row.value,
            row.numerator,
            row.denominator,
            row.sample_size,
            row.parts,
            CATALOGUE_VERSION,
            f"classpulse.{family}",
            partition,
            revision,
            *written,
        ]
        for key, row in rows
    ]
    if data:
        client.insert("metric_rows", data, column_names=[*ROW_COLUMNS, *written_columns])
