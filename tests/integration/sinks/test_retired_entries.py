"""A tombstone on the registry's topic deletes: every reader of the registry follows, from then on and not before."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas.events.event_types import REGISTRY, schema_uri, type_uri
from sinks.clickhouse.client import Target, Warehouse, connect
from sinks.evaluation.portraits import PortraitStore
from sinks.evaluation.scores import ScoreStore
from streams.core.evaluation.places import places
from streams.evaluation.report.registered import Registry
from streams.pipeline.partition import Log
from tests.integration.streams.test_pipeline import BASE_MS, Batch, Record, counters, crash_at, flush, new_path
from tests.oracle.path import Path

ZONE = "Asia/Shanghai"
DAY_MS = 86_400_000
FAR_FUTURE = datetime(2200, 1, 1, tzinfo=UTC)


def registered(offset: int, kind: str, key: str, day: int = 0, **data: object) -> Record:
    """Return a registration, so many days before the last."""
    name, moment = f"registry.{kind}.registered", datetime.fromtimestamp((BASE_MS + (day - 30) * DAY_MS) / 1000, UTC)
    content = {
        "specversion": "1.0",
        "id": f"{key}-{kind}-{day}",
        "source": "/registry",
        "type": type_uri(name),
        "time": moment.isoformat(),
        "subject": key,
        "dataschema": schema_uri(name),
        "partitionkey": key,
        "data": data,
    }
    return Record(offset, json.dumps(content).encode(), key.encode())


def tombstone(offset: int, key: str, day: int) -> Record:
    """Return a record without a value, so many days after the first registration."""
    return Record(offset, None, key.encode(), timestamp=BASE_MS + (day - 30) * DAY_MS)


TEACHER: dict[str, Any] = {"school_id": "s1", "course": "数学", "career_stage": "expert"}
REGISTERED = [
    registered(0, "school", "s1", name="一小", group_id="g1", stage="primary"),
    registered(1, "class", "c1", school_id="s1", grade=5, name="五1"),
    registered(2, "roster", "c1", students=["stu-1"]),
    registered(3, "teacher", "t1", **TEACHER),
]
DELETED = [tombstone(4 + number, key, 14) for number, key in enumerate(["s1", "c1", "t1"])]


def submit(path: Path, records: list[Record]) -> None:
    """Take records of the registry to where they wait for a write."""
    found = path.submit(Batch(records, REGISTRY.topic))
    assert found is not None
    assert found.records is not None


def reading(warehouse: Warehouse) -> Path:
    """Return the path of a worker that reads the registry."""
    path = new_path(warehouse)
    path.assign({(REGISTRY.topic, 0): Log(0, 100)})
    return path


@pytest.fixture
def client(database: Target) -> Iterator[Client]:
    """Return a connection to the database of the test."""
    client = connect(database)
    yield client
    client.close()


def said(client: Client) -> tuple[list[str], dict[str, str], list[str], str]:
    """Return the entities of the view, the registry's school of the teacher, a group's schools, a report's name."""
    entities = [row[0] for row in client.query("SELECT entity_id FROM v1_entities ORDER BY entity_id").result_rows]
    registry = Registry.read(client, FAR_FUTURE)
    school = ScoreStore(client).schools("teacher", date(2026, 11, 9))
    return entities, school, registry.schools_of("g1"), registry.find("school", "s1").name


def test_every_reader_follows(warehouse: Warehouse, client: Client) -> None:
    """Views, scores, reports and portraits know an entry, then no more, then again; records and events add up."""
    path = reading(warehouse)
    submit(path, REGISTERED)
    flush(path)
    known = (["c1", "s1", "t1"], {"t1": "s1"}, ["s1"], "一小")
    assert said(client) == known
    submit(path, DELETED)
    flush(path)
    assert counters(warehouse) == (7, 7, 0, 0)
    assert said(client) == ([], {}, [], "")
    monday = date(2026, 11, 16) - timedelta(days=30 - 14)
    monday -= timedelta(days=monday.weekday())
    back = [registered(7, "teacher", "t1", day=28, **TEACHER)]
    submit(path, back)
    flush(path)
    assert said(client)[:2] == (["t1"], {"t1": "s1"})
    found = places(PortraitStore(client).registrations(ZONE)).filter(entity_id="t1")
    assert found["peer_group"].to_list() == ["expert/数学", "", "expert/数学"]
    assert found["from_week"].to_list()[1:] == [monday, monday + timedelta(days=14)]
    students = places(PortraitStore(client).registrations(ZONE)).filter(kind="student")
    assert students["school_id"].to_list() == ["s1", ""]


def test_a_deletion_that_is_read_again_is_the_same_event(
    warehouse: Warehouse, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker dies between the events and the checkpoint: the next one stores the same deletion in its place."""
    dying = reading(warehouse)
    submit(dying, [*REGISTERED, *DELETED])
    crash_at(monkeypatch, dying, "events.insert", "after")
    with pytest.raises(KeyboardInterrupt):
        dying.flush()
    successor = reading(warehouse)
    submit(successor, [*REGISTERED, *DELETED])
    flush(successor)
    assert counters(warehouse) == (7, 7, 0, 0)
    rows = client.query("SELECT source, id FROM events_registry FINAL WHERE type = 'registry.entry.retired' ORDER BY id")
    assert rows.result_rows == [("/kafka/classpulse.registry/0/0", str(offset)) for offset in (4, 5, 6)]
