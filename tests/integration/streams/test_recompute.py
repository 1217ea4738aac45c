"""History rebuilt under a new formula: nothing old comes back, nothing a worker writes meanwhile is lost."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client

from schemas.events.event_types import CLASSROOM, FAMILIES, Family
from schemas.metrics.catalogue import CATALOGUE_VERSION, METRICS
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target, Warehouse
from sinks.stores.metrics import MetricStore
from sinks.verify.verify import verify
from streams.cli.program import cli
from streams.core.families import FOLDS
from streams.recompute.recompute import Counts, RecomputeReport, Stores, Wanted, recompute
from tests.oracle.database import insert_checkpoint, insert_events, open_client
from tests.oracle.oracle import Event

BASE_US = 1_794_787_200_000_000  # Monday, 2026-11-16, 08:00 in Shanghai
SECOND_US = 1_000_000
DAY = date(2026, 11, 16)
RULES = MetricRules()
TABLES = (
    "events_classroom",
    "events_prep",
    "events_research",
    "event_days",
    "metric_rows",
    "checkpoints",
    "checkpoint_days",
)
EVERYTHING = Wanted(frozenset(), DAY, DAY + timedelta(days=6))


def event(name: str, second: float, number: int, key: str, **data: object) -> Event:
    """Make an event ``second`` seconds after the base time."""
    time_us = BASE_US + round(second * SECOND_US)
    return {"type": name, "key": key, "source": "/d/1", "id": f"{key}-{number}", "time_us": time_us, **data}


def lesson(key: str, begins: float = 0) -> list[Event]:
    """Two students, a question, two answers."""
    plan = {
        "roster": ["ann", "bo"],
        "scheduled_start_us": BASE_US + round(begins * SECOND_US),
        "scheduled_end_us": BASE_US + round((begins + 2400) * SECOND_US),
    }
    return [
        event("classroom.lesson.started", begins, 0, key, **plan),
        event("classroom.attendance.joined", begins + 3, 1, key, student_id="ann"),
        event("classroom.attendance.joined", begins + 9, 2, key, student_id="bo"),
        event("classroom.question.asked", begins + 300, 3, key, prompt_id="q1"),
        event("classroom.answer.submitted", begins + 310, 4, key, student_id="ann", prompt_id="q1"),
        event("classroom.answer.submitted", begins + 330, 5, key, student_id="bo", prompt_id="q1"),
        event("classroom.lesson.ended", begins + 2300, 6, key),
    ]


def week(key: str) -> list[Event]:
    """A teacher's preparation on two days of which one is ten days earlier."""
    days = [event("prep.heartbeat.recorded", 61 * n, n, key) for n in range(5)]
    return days + [event("prep.heartbeat.recorded", 61 * n - 864_000, 10 + n, key) for n in range(3)]


def activity(key: str) -> list[Event]:
    """A research activity to which one of two invited teachers came."""
    plan = {"invited": ["t1", "t2"], "scheduled_start_us": BASE_US, "scheduled_end_us": BASE_US + 100 * SECOND_US}
    return [
        event("research.activity.published", -5000, 0, key, schoolid="s07", **plan),
        event("research.participant.joined", 10, 1, key, teacher_id="t1"),
        event("research.participant.left", 60, 2, key, teacher_id="t1"),
    ]


EVENTS = {
    "classroom": lesson("课-1") + lesson("lesson-2", begins=7200),
    "prep": week("t1"),
    "research": activity("activity-1"),
}


@pytest.fixture(scope="module")
def database(module_database: Target) -> Target:
    """Return one database for all tests here; ``client`` empties it."""
    return module_database


@pytest.fixture
def client(database: Target) -> Iterator[Client]:
    """Return a connection to a database with the events and their checkpoints, and no metric."""
    client = open_client(database)
    for table in TABLES:
        client.command(f"TRUNCATE TABLE {table}")
    for family, events in EVENTS.items():
        insert_events(client, events)
        insert_checkpoint(client, family, len(events))
    yield client
    client.close()


def write_as_worker(warehouse: Warehouse, family: Family, keys: Sequence[str], position: int) -> None:
    """Write the rows of ``keys`` and the checkpoint, as a worker that has applied everything below ``position``."""
    stores = Stores.of(warehouse)
    schema = FOLDS[family.name].cached_schema(family)
    stored = stores.events.events_of(family, FOLDS[family.name].cached_columns, keys, {0: position})
    cached = stored.select(schema.names()).cast(schema)
    rows = (
        FOLDS[family.name]
        .rows(cached, cached, RULES)
        .with_columns(topic=pl.lit(family.topic), partition=pl.lit(0, pl.UInt16), revision=pl.lit(position, pl.UInt64))
    )
    stores.metrics.upsert(rows)
    checkpoint = stores.checkpoints.load()[family.topic, 0]
    stores.checkpoints.save([replace(checkpoint, next_offset=position, consumed=position, stored=position)])


def spoil(client: Client, sql: str) -> None:
    """Insert rows made from the stored ones, one revision higher but below any later recomputation."""
    client.command(
        "INSERT INTO metric_rows (metric, window, key, item, slot, window_start, window_end, value, numerator, denominator,"
        f" sample_size, parts, catalogue_version, topic, partition, revision) {sql}"
    )


def differences(client: Client, rules: MetricRules = RULES) -> list[str]:
    """Return what verify finds, as ``kind metric``."""
    return [f"{one.kind} {one.key.get('metric')}" for one in verify(client, rules=rules).differences]


def test_a_history_without_metrics_is_built(client: Client, warehouse: Warehouse) -> None:
    """Lessons, teachers and activities of the days get all their rows, also range by range; again changes nothing."""
    report = recompute(warehouse, EVERYTHING, RULES, events_per_range=3)
    assert (report.keys, report.events) == (4, sum(map(len, EVENTS.values())))
    assert report.total("missing") > 0
    assert differences(client) == []
    again = recompute(warehouse, EVERYTHING, RULES)
    assert (again.total("same"), again.total("missing"), again.total("changed")) == (report.total("missing"), 0, 0)


def test_old_values_and_rows_that_no_formula_explains_go(client: Client, warehouse: Warehouse) -> None:
    """Rows of an older catalogue are written anew, those without an explanation are deleted, and verify agrees."""
    recompute(warehouse, EVERYTHING, RULES)
    columns = "metric, window, key, item, slot, window_start, window_end"
    spoil(
        client,
        f"SELECT {columns}, value / 2, numerator, denominator, sample_size, parts, 1, topic, partition, revision"
        " FROM metric_rows FINAL WHERE metric IN ('attendance_rate', 'active_prep_minutes')",
    )
    spoil(
        client,
        "SELECT metric, window, key, 'ghost', slot, window_start, window_end, value, numerator, denominator, sample_size,"
        " parts, 1, topic, partition, revision FROM metric_rows FINAL WHERE metric = 'participation_rate'",
    )
    assert set(differences(client)) >= {"different attendance_rate", "different active_prep_minutes"}
    planned = recompute(warehouse, EVERYTHING, RULES, dry_run=True)
    assert (planned.total("unexplained"), planned.deleted, planned.left) == (1, 0, 1)
    assert planned.by_metric["attendance_rate"].changed == 2
    assert "different attendance_rate" in differences(client)
    ((before,),) = client.query("SELECT toString(now64(3))").result_rows
    report = recompute(warehouse, EVERYTHING, RULES)
    assert (report.by_metric, report.deleted, report.left) == (planned.by_metric, 1, 0)
    # Nothing of this key was written, and yet the evaluator must look at it again.
    noted = "SELECT changed_at > %(deleted_after)s FROM figure_keys FINAL WHERE key = 'activity-1'"
    assert client.query(noted, parameters={"deleted_after": before}).result_rows == [(True,)]
    assert differences(client) == []


def test_only_the_named_metrics_are_touched(client: Client, warehouse: Warehouse) -> None:
    """Other metrics of the same lessons stay as they are, wrong or not."""
    recompute(warehouse, EVERYTHING, RULES)
    client.command("TRUNCATE TABLE metric_rows")
    report = recompute(warehouse, replace(EVERYTHING, metrics=frozenset({"attendance_rate"})), RULES)
    assert list(report.by_metric) == ["attendance_rate"]
    stored = client.query("SELECT DISTINCT toString(metric) FROM metric_rows").result_rows
    assert stored == [("attendance_rate",)]


def test_only_the_days_are_touched(client: Client, warehouse: Warehouse) -> None:
    """A lesson begins at 08:00 in Shanghai, still the day before in UTC: the district's day counts."""
    before = replace(EVERYTHING, first_day=DAY - timedelta(days=1), last_day=DAY - timedelta(days=1))
    assert recompute(warehouse, before, RULES).keys == 0
    assert recompute(warehouse, replace(EVERYTHING, last_day=DAY), RULES).keys == 4


def test_new_engagement_weights_need_no_new_catalogue(client: Client, warehouse: Warehouse) -> None:
    """A changed rule changes values alone; after recomputing, verify agrees under the new rule."""
    recompute(warehouse, EVERYTHING, RULES)
    heavier = MetricRules(engagement_weights=(1.0, 0.0, 0.0, 0.5))
    report = recompute(warehouse, EVERYTHING, heavier)
    assert [name for name, counts in report.by_metric.items() if counts.changed] == ["engagement_index"]
    assert differences(client, heavier) == []


@pytest.mark.parametrize("family", FAMILIES[:3], ids=lambda family: family.name)
def test_a_worker_that_writes_meanwhile_wins(client: Client, warehouse: Warehouse, family: Family) -> None:
    """Between reading and writing a worker applies another event: its rows stay, also those it alone could know."""
    later = {
        "classroom": event("classroom.hand.raised", 400, 7, "课-1", student_id="ann"),
        "prep": event("prep.heartbeat.recorded", 400, 20, "t1"),
        "research": event("research.participant.joined", 20, 7, "activity-1", teacher_id="t2"),
    }[family.name]
    position = len(EVENTS[family.name])

    class Interrupted(MetricStore):
        def upsert(self, rows: pl.DataFrame) -> None:
            if rows["topic"][0] == family.topic:
                insert_events(client, [later], first_position=position)
                write_as_worker(warehouse, family, [later["key"]], position + 1)
            super().upsert(rows)

    stores = replace(Stores.of(warehouse), metrics=Interrupted(warehouse))
    recompute(warehouse, EVERYTHING, RULES, stores=stores)
    assert differences(client) == []
    revision = "SELECT max(revision) FROM metric_rows FINAL WHERE key = %(key)s"
    assert client.query(revision, parameters={"key": later["key"]}).result_rows == [(position + 1,)]


def test_events_above_the_checkpoint_do_not_count_yet(client: Client, warehouse: Warehouse) -> None:
    """What a worker stored and has not checkpointed is left to the worker: it will write with a higher revision."""
    insert_events(client, [event("classroom.hand.raised", 500, 8, "课-1", student_id="bo")], first_position=14)
    insert_events(client, lesson("elsewhere"), partition=1)
    recompute(warehouse, EVERYTHING, RULES)
    assert client.query("SELECT count() FROM metric_rows WHERE key = 'elsewhere'").result_rows == [(0,)]
    write_as_worker(warehouse, CLASSROOM, ["课-1"], 15)
    insert_checkpoint(client, "classroom", 7, partition=1)
    recompute(warehouse, EVERYTHING, RULES)
    assert differences(client) == []


def test_rows_beyond_the_checkpoint_are_left_to_the_worker(client: Client, warehouse: Warehouse) -> None:
    """A row of a higher revision is not touched; of an older catalogue it is reported, since the worker is old."""
    recompute(warehouse, EVERYTHING, RULES)
    spoil(
        client,
        "SELECT metric, window, key, item, slot, window_start, window_end, 7, 7, 1, sample_size, parts, 1, topic,"
        " partition, 1000 FROM metric_rows FINAL WHERE metric = 'attendance_rate' AND key = 'lesson-2'",
    )
    report = recompute(warehouse, EVERYTHING, RULES)
    counts = report.by_metric["attendance_rate"]
    assert (counts.ahead, counts.ahead_of_older_catalogue, counts.changed, report.left) == (1, 1, 0, 1)


def test_lessons_that_lost_events_are_left_alone(client: Client, warehouse: Warehouse) -> None:
    """What can no longer be computed from all its events stays as it was stored, explained or not."""
    recompute(warehouse, EVERYTHING, RULES)
    client.command("INSERT INTO event_days SELECT 'classpulse.classroom', 'lesson-2', '2020-01-01', '2020-01-01 00:00:00'")
    client.command("ALTER TABLE metric_rows DELETE WHERE key = 'lesson-2' AND metric = 'attendance_rate'")
    report = recompute(warehouse, EVERYTHING, RULES)
    assert (report.total("missing"), report.total("changed"), report.total("unexplained")) == (0, 0, 0)


def test_the_report_says_what_is_left() -> None:
    """Unexplained rows that were not deleted and rows of an old worker are left, others are not."""
    by_metric = {"a": Counts(unexplained=3, ahead=5), "b": Counts(unexplained=1, ahead=2, ahead_of_older_catalogue=2)}
    assert RecomputeReport(dry_run=False, deleted=3, by_metric=by_metric).left == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --metric"),
        (["--all", "--metric", "attendance_rate"], "either --metric"),
        (["--metric", "atendance_rate"], "did you mean attendance_rate?"),
        (["--all", "--to", "2026-11-01"], "is after --to"),
    ],
)
def test_a_mistake_is_answered_with_how_it_is_written(arguments: list[str], said: str) -> None:
    """Unknown metrics, days the wrong way round, and neither or both of the ways to name metrics are rejected."""
    answer = CliRunner().invoke(cli, ["recompute", "--from", "2026-11-16", "--to", "2026-11-16", *arguments])
    assert (answer.exit_code, said in " ".join(answer.output.split())) == (2, True), answer.output


def test_the_command_reports_and_exits_with_what_is_left(
    client: Client, database: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command rebuilds with the settings of the workers and prints counts; 0 when nothing is left."""
    monkeypatch.setenv("CLASSPULSE_CLICKHOUSE_URL", database.url)
    monkeypatch.setenv("CLASSPULSE_CLICKHOUSE_DATABASE", database.database)
    monkeypatch.setenv("CLASSPULSE_CLICKHOUSE_USER", database.user)
    monkeypatch.setenv("CLASSPULSE_CLICKHOUSE_PASSWORD", database.password)
    arguments = ["recompute", "--all", "--from", "2026-11-16", "--to", "2026-11-22"]
    answer = CliRunner().invoke(cli, arguments)
    assert answer.exit_code == 0, answer.output
    assert "4 keys" in answer.output
    assert {metric.family for metric in METRICS} == {"classroom", "prep", "research"}
    catalogue = client.query("SELECT DISTINCT catalogue_version FROM metric_rows").result_rows
    assert catalogue == [(CATALOGUE_VERSION,)]
    assert differences(client) == []
