"""What expires breaks neither verification nor the metrics that stay, whether the server has deleted it yet or not."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from schemas.errors import MustStop
from schemas.events.event_types import CLASSROOM, PREP, Family
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target, Warehouse
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from sinks.stores.retention import NEVER_AGED, RETENTION_SQL, Retention, complete, kept_for
from sinks.verify.findings import VerifyReport
from sinks.verify.verify import verify
from streams.core.families import FOLDS
from tests.oracle.database import (
    insert_checkpoint,
    insert_events,
    insert_rows,
    open_client,
)
from tests.oracle.oracle import Event, expected_rows

ZONE = "Asia/Shanghai"
SECOND_US = 1_000_000
NOW = datetime.now(UTC).replace(microsecond=0)
#: Past what is kept by default: events 1,095 days, dead letters 730.
OLD = NOW - timedelta(days=1200)
#: A checkpoint of this day is above everything old, and all after it is still there.
BETWEEN = NOW - timedelta(days=700)
RECENT = NOW - timedelta(days=20)
FAMILIES = ("classroom", "prep", "research")
EVENT_TABLES = ("events_classroom", "events_prep", "events_research")
TABLES = (*EVENT_TABLES, "metric_rows", "checkpoints", "dead_letters", "event_days", "checkpoint_days")


def event(name: str, when: datetime, second: float, number: int, key: str, **data: object) -> Event:
    """Make an event ``second`` seconds after ``when``."""
    time_us = round(when.timestamp() + second) * SECOND_US
    return {"type": name, "key": key, "source": "/d/1", "id": f"{key}-{number}", "time_us": time_us, **data}


def lesson(key: str, when: datetime) -> list[Event]:
    """A lesson of two students, one question and one answer."""
    start_us = round(when.timestamp()) * SECOND_US
    plan = {"roster": ["ann", "bo"], "scheduled_start_us": start_us, "scheduled_end_us": start_us + 600 * SECOND_US}
    return [
        event("classroom.lesson.started", when, 5, 0, key, **plan),
        event("classroom.attendance.joined", when, 6, 1, key, student_id="ann"),
        event("classroom.attendance.joined", when, 7, 2, key, student_id="bo"),
        event("classroom.question.asked", when, 60, 3, key, prompt_id="q"),
        event("classroom.answer.submitted", when, 70, 4, key, student_id="ann", prompt_id="q"),
        event("classroom.lesson.ended", when, 590, 5, key),
    ]


def preparation(key: str, when: datetime, first_number: int) -> list[Event]:
    """A teacher's five heartbeats."""
    return [event("prep.heartbeat.recorded", when, 61 * n, first_number + n, key) for n in range(5)]


def activity(key: str, published: datetime, when: datetime) -> list[Event]:
    """An activity of 100 s to which one of two invited teachers came."""
    start_us = round(when.timestamp()) * SECOND_US
    plan = {"invited": ["t1", "t2"], "scheduled_start_us": start_us, "scheduled_end_us": start_us + 100 * SECOND_US}
    return [
        event("research.activity.published", published, 0, 0, key, schoolid="s07", **plan),
        event("research.participant.joined", when, 10, 1, key, teacher_id="t1"),
    ]


#: By family: what was stored long ago, and what was stored of late. One teacher has both, and an activity that was
#: published years ahead as well.
LONG_AGO = {
    "classroom": lesson("lesson-old", OLD),
    "prep": preparation("teacher", OLD, 0),
    "research": activity("activity-old", OLD, OLD) + activity("activity-ahead", OLD, RECENT)[:1],
}
OF_LATE = {
    "classroom": lesson("lesson-new", RECENT),
    "prep": preparation("teacher", RECENT, 10),
    "research": activity("activity-new", RECENT, RECENT) + activity("activity-ahead", OLD, RECENT)[1:],
}


@pytest.fixture(scope="module")
def target(module_database: Target) -> Target:
    """A database with the product's tables."""
    return module_database


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    """A deployment of more than three years, in which everything agrees; nothing expired is deleted yet."""
    client = open_client(target)
    for table in TABLES:
        client.command(f"TRUNCATE TABLE {table}")
    for table in (*EVENT_TABLES, "dead_letters"):
        client.command(f"SYSTEM STOP TTL MERGES {table}")
    for family in FAMILIES:
        long_ago, of_late = LONG_AGO[family], OF_LATE[family]
        middle, end = len(long_ago) + 1, len(long_ago) + len(of_late) + 2
        insert_events(client, long_ago, stored_at=OLD)
        insert_events(client, of_late, first_position=middle, stored_at=RECENT)
        insert_dead_letter(client, family, middle - 1, OLD)
        insert_dead_letter(client, family, end - 1, RECENT)
        old_rows = expected_rows(long_ago, ZONE)
        insert_rows(client, family, old_rows.items(), revision=middle, written_at=OLD)
        # What was computed of late knew every event.
        new_keys = expected_rows(of_late, ZONE).keys()
        rows = {key: row for key, row in expected_rows([*long_ago, *of_late], ZONE).items() if key not in old_rows}
        touched = {key: row for key, row in expected_rows([*long_ago, *of_late], ZONE).items() if key in new_keys}
        insert_rows(client, family, (rows | touched).items(), revision=end, written_at=RECENT)
        for position, written_at in ((middle, OLD), (middle, BETWEEN), (end, RECENT), (end, NOW)):
            letters = 1 + (position == end)
            counters = {"stored": position - letters, "dead_letters": letters}
            insert_checkpoint(client, family, position, written_at=written_at, **counters)
    yield client
    client.close()


def insert_dead_letter(client: Client, family: str, position: int, refused_at: datetime) -> None:
    """Record a rejected record."""
    row = [f"classpulse.{family}", 0, position, "not JSON", "", 3, refused_at, refused_at]
    names = ["topic", "partition", "position", "reason", "field", "value_bytes", "recorded_at", "refused_at"]
    client.insert("dead_letters", [row], column_names=names)


def expire(client: Client) -> None:
    """Make the server delete what is past its time."""
    for table in (*EVENT_TABLES, "dead_letters"):
        client.command(f"SYSTEM START TTL MERGES {table}")
        client.command(f"OPTIMIZE TABLE {table} FINAL")


def count(client: Client, table: str) -> int:
    """Return how many rows a table has."""
    return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])


def check(client: Client, since: date | None = None) -> VerifyReport:
    """Verify in the district's zone."""
    return verify(client, rules=MetricRules(ZONE), since=since)


def found(report: VerifyReport) -> set[str]:
    """Kinds of the differences, with the invariant and the key."""
    return {
        f"{difference.kind} {difference.key.get('invariant') or difference.key['key']}" for difference in report.differences
    }


@pytest.mark.parametrize("deleted", [False, True], ids=["still there", "deleted"])
def test_what_has_expired_is_no_difference(client: Client, deleted: bool) -> None:
    """Metrics of expired events and counters of expired records break nothing, deleted or not."""
    before = [count(client, table) for table in (*EVENT_TABLES, "dead_letters")]
    if deleted:
        expire(client)
        after = [count(client, table) for table in (*EVENT_TABLES, "dead_letters")]
        assert [old - new for old, new in zip(before, after, strict=True)] == [5, 5, 1, 3]
    report = check(client)
    assert report.differences == []
    rows = {key.key for family in FAMILIES for key in expected_rows(OF_LATE[family], ZONE)}
    assert rows == {"lesson-new", "teacher", "activity-new", "activity-ahead"}
    assert (
        report.rows_expected
        == report.rows_stored
        == sum(key.key != "activity-ahead" for family in FAMILIES for key in expected_rows(OF_LATE[family], ZONE))
    )
    assert all(invariant.holds and invariant.expected > 0 for invariant in report.invariants)
    assert report.since["classroom"] == str(datetime.now(UTC).date() + timedelta(days=2 - 1095))


def rewritten(table: str, columns: str, where: str) -> str:
    """The statement that writes some rows of a table once more, with other values."""
    return f"INSERT INTO {table} SELECT * REPLACE ({columns}) FROM (SELECT * FROM {table} FINAL WHERE {where})"


ATTENDANCE = "key = 'lesson-new' AND metric = 'attendance_rate'"
STORED = "invariant stored = unique events in the table"
PLANTED = {
    "figure": (
        rewritten("metric_rows", "7 AS sample_size, revision + 1 AS revision, now64(3) AS written_at", ATTENDANCE),
        {"different lesson-new"},
    ),
    "metric lost": ("DELETE FROM metric_rows WHERE key = 'activity-new'", {"missing activity-new"}),
    "recent metric of a key that has lost events": (
        "DELETE FROM metric_rows WHERE key = 'teacher' AND window = 'iso_week' AND window_start > now() - INTERVAL 40 DAY",
        {"missing teacher"},
    ),
    "metric of nothing": (
        rewritten("metric_rows", "'nobody' AS key, now64(3) AS written_at", ATTENDANCE),
        {"unexpected nobody"},
    ),
    "event lost": (
        "DELETE FROM events_classroom WHERE id = 'lesson-new-4'",
        {STORED, "different lesson-new", "unexpected lesson-new"},
    ),
    "dead letter lost": (
        "DELETE FROM dead_letters WHERE topic = 'classpulse.prep' AND refused_at > now() - INTERVAL 30 DAY",
        {"invariant dead letters = rows in dead_letters"},
    ),
    "stored off by one": (
        rewritten("checkpoints", "stored + 1 AS stored, consumed + 1 AS consumed", "topic = 'classpulse.prep'"),
        {STORED},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_an_error_within_the_span_is_found(client: Client, name: str) -> None:
    """Beside expired records, each planted error is found as what it is, and nothing else."""
    statement, expected = PLANTED[name]
    expire(client)
    client.command(statement)
    assert found(check(client)) == expected


def test_a_repeated_insert_is_noted_once(client: Client) -> None:
    """An insert whose answer was lost and that is made again leaves the notes of the days as they are."""
    query = "SELECT * FROM event_days FINAL ORDER BY ALL", "SELECT * FROM checkpoint_days FINAL ORDER BY ALL"
    before = [client.query(sql).result_rows for sql in query]
    insert_events(client, OF_LATE["classroom"], first_position=len(LONG_AGO["classroom"]) + 1, stored_at=RECENT)
    client.command("INSERT INTO checkpoints SELECT * FROM checkpoints FINAL")
    assert [client.query(sql).result_rows for sql in query] == before
    assert len(before[0]) == 8
    assert len(before[1]) == 12


@pytest.mark.parametrize("deleted", [False, True], ids=["still there", "deleted"])
def test_a_late_event_leaves_right_metrics_alone(client: Client, target: Target, deleted: bool) -> None:
    """An event of a lesson whose others have expired changes no metric of it; a teacher's new windows are written."""
    if deleted:
        expire(client)
    before = client.query(OLD_METRICS).result_rows
    assert {row[0] for row in before} == {"lesson-old", "teacher"}
    answered = event("classroom.hand.raised", OLD, 80, 99, "lesson-old", student_id="bo")
    long_ago = event("prep.heartbeat.recorded", OLD, 400, 98, "teacher")
    of_late = event("prep.heartbeat.recorded", RECENT, 400, 99, "teacher")
    write_late(client, target, CLASSROOM, [answered])
    write_late(client, target, PREP, [long_ago, of_late])
    assert client.query(OLD_METRICS).result_rows == before
    assert check(client).differences == []
    written = client.query(
        "SELECT count() FROM metric_rows FINAL WHERE key = 'teacher' AND written_at > now() - INTERVAL 1 DAY"
    ).result_rows
    # Of two metrics: seven windows of seven days, and one week.
    assert written[0][0] == 2 * 8


OLD_METRICS = """
    SELECT key, * FROM metric_rows FINAL
    WHERE key IN ('lesson-old', 'teacher') AND window_start < now() - INTERVAL 1000 DAY ORDER BY ALL
"""


def write_late(client: Client, target: Target, family: Family, late: list[Event]) -> None:
    """Store events of one key and write its metrics, from the events that are left, as a worker does."""
    end = len(LONG_AGO[family.name]) + len(OF_LATE[family.name]) + 2
    after = end + len(late)
    insert_events(client, late, first_position=end)
    warehouse, figures = Warehouse(target), FOLDS[family.name]
    stored = EventStore(warehouse).events_of(family, figures.cached_columns, [late[0]["key"]], {0: after})
    cached = stored.cast(figures.cached_schema(family))
    rows = figures.rows(cached, cached.filter(pl.col("id").is_in([one["id"] for one in late])), MetricRules(ZONE))
    assert rows.height > len(late)
    origin = {"topic": pl.lit(family.topic), "partition": pl.lit(0, pl.UInt16), "revision": pl.lit(after, pl.UInt64)}
    MetricStore(warehouse).upsert(rows.with_columns(**origin))
    warehouse.close()
    insert_checkpoint(client, family.name, after, stored=after - 2, dead_letters=2)


def test_a_student_can_be_erased(client: Client) -> None:
    """The statements of docs/retention.md leave no trace of a pseudonym, and counters and metrics right."""
    page = (Path(__file__).parents[3] / "docs/retention.md").read_text(encoding="utf-8")
    section = page.split("## To erase a student", 1)[1]
    block = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)[0]
    statements = [text.strip() for text in re.sub(r"^--.*$", "", block, flags=re.MULTILINE).split(";") if text.strip()]
    assert len(statements) == 11
    for statement in statements:
        mutated = " SETTINGS mutations_sync = 1" if statement.startswith("ALTER") else ""
        client.command(statement.replace("p...", "ann").replace("<random>", "7d21") + mutated)
    left = (
        "SELECT (SELECT count() FROM events_classroom WHERE student_id = '{0}' OR has(roster, '{0}')),"
        " (SELECT count() FROM metric_rows WHERE item = '{0}')"
    )
    before, after = (client.query(left.format(name)).result_rows[0] for name in ("ann", "erased-7d21"))
    assert before == (0, 0)
    assert min(after) > 0
    assert check(client).agrees


def test_the_span_follows_the_tables(client: Client) -> None:
    """Another TTL of a table is another span, none is none, and one that cannot be read stops with the remedy."""
    own = "toDateTime(stored_at) + INTERVAL 1095 DAY"
    try:
        client.command("ALTER TABLE events_prep MODIFY TTL toDateTime(stored_at) + INTERVAL 10 DAY")
        report = check(client)
        assert report.since["prep"] > report.since["classroom"]  # type: ignore[operator]
        assert report.agrees
        client.command("ALTER TABLE events_prep REMOVE TTL")
        retention = Retention.read(client.query(RETENTION_SQL).result_rows)
        assert retention.last_aged_day("events_prep") == NEVER_AGED
        client.command("ALTER TABLE events_prep MODIFY TTL toDateTime(stored_at) + 864000")
        with pytest.raises(MustStop, match="events_prep"):
            check(client)
    finally:
        client.command(f"ALTER TABLE events_prep MODIFY TTL {own}")


def test_since_narrows_the_span(client: Client) -> None:
    """What was stored before the day is left out, as if it had expired."""
    client.command("ALTER TABLE metric_rows DELETE WHERE key = 'lesson-new' SETTINGS mutations_sync = 1")
    assert not check(client).agrees
    assert check(client, since=(RECENT + timedelta(days=2)).date()).agrees


def test_the_tables_keep_what_the_documents_say(client: Client) -> None:
    """Events three years, registry and metrics ten, dead letters two; checkpoints for ever."""
    retention = Retention.read(client.query(RETENTION_SQL).result_rows)
    assert {table: kept.days for table, kept in retention.kept.items()} == {
        "events_classroom": 1095,
        "events_prep": 1095,
        "events_research": 1095,
        "events_registry": 3650,
        "metric_rows": 3650,
        "dead_letters": 730,
        "event_days": 3650,
        "duplicates": 730,
        "pane_versions": 3650,
        "figure_keys": 3650,
        "pane_keys": 3650,
        "evaluator_cycles": 3650,
        "portraits": 3650,
        "portrait_peers": 3650,
        "portrait_places": 3650,
        "portrait_runs": 3650,
        "scores": 3650,
        "data_quality": 3650,
        "score_runs": 3650,
    }


@pytest.mark.parametrize(
    ("definition", "days"),
    [
        ("ORDER BY key COMMENT 'TTL of toIntervalDay(5)'", None),
        ("ORDER BY key TTL toDateTime(stored_at) + toIntervalDay(30) SETTINGS index_granularity = 8192", 30),
        ("(`a` String TTL t + toIntervalYear(1)) TTL t + toIntervalMonth(36), t + toIntervalWeek(9) WHERE x = 'y'", 63),
        ("TTL toDateTime(stored_at) + toIntervalMonth(2)", 56),
    ],
)
def test_the_shortest_ttl_counts(definition: str, days: int | None) -> None:
    """Of several TTLs the shortest is how long a row stays whole; a word in a comment is none."""
    assert kept_for(definition) == (None if days is None else timedelta(days=days))


def test_a_day_is_aged_before_anything_of_it_expires() -> None:
    """The last aged day leaves a verification a day's time, and stays in the calendar for any TTL."""
    today = date(2026, 11, 16)
    kept = {"a": timedelta(days=10), "b": timedelta(hours=36), "c": timedelta(days=99_999)}
    retention = Retention(today, kept)
    assert retention.last_aged_day("a") == date(2026, 11, 7)
    assert retention.last_aged_day("a", "b", "c") == date(2026, 11, 16)
    assert retention.last_aged_day("c", "d") == NEVER_AGED
    assert retention.since(date(2026, 11, 10)).last_aged_day("a") == date(2026, 11, 9)


def test_only_complete_rows_are_kept() -> None:
    """Rows of windows up to the given instant go, those of other keys and later windows stay in order."""
    rows = pl.DataFrame({"key": ["a", "b", "a", "c"], "window_start_us": [5, 5, 6, 5], "value": [1, 2, 3, 4]})
    aged = pl.DataFrame({"key": ["a", "c"], "until_us": [5, 2**63 - 1]})
    assert complete(rows, aged)["value"].to_list() == [2, 3]
    assert complete(rows, aged.clear()).equals(rows)
