"""``classpulse explain`` and ``classpulse evaluation``: the tree, the quality, and queries that return the events."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client

from deploy.local.clickhouse.grants import OWNER
from docs.generate.catalogue import folder
from schemas.errors import MustStop
from schemas.evaluation.config import default_text
from schemas.evaluation.indicators import exists_for, indicator_metrics
from schemas.evaluation.tree import KINDS, Kind
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target
from streams.cli.evaluation import evaluation
from streams.cli.explain import explain as explain_command
from streams.cli.report import report
from streams.evaluation.explain import explain
from streams.evaluation.explain_display import QUERIES_HINT
from streams.evaluation.explain_events import Scope, events_query, keys_query
from streams.evaluation.scoring import step
from streams.evaluation.standing import after_a_cycle
from streams.evaluation.weeks import iso_week
from tests.integration.sinks.evaluation_data import EVALUATION, NOW, WEEK, prepare
from tests.oracle.database import insert_checkpoint, insert_events, open_client
from tests.oracle.oracle import Event

ENTITIES: dict[Kind, str] = {"teacher": "t-s02", "class": "s02-c1", "school": "s02", "group": "g1", "district": "district"}
#: Whose lessons of the week are behind the metrics of each entity.
LESSONS: dict[Kind, list[str]] = {
    "teacher": ["l2", "l3"],
    "class": ["l2", "l3"],
    "school": ["l2", "l3"],
    "group": ["l1", "l2", "l3"],
    "district": ["l1", "l2", "l3", "l4"],
}
RUNNER = CliRunner()


def events() -> list[Event]:
    """A lesson.started and an answer in each lesson, of which only the first is behind attendance."""
    start_us = int(datetime.combine(WEEK, datetime.min.time(), UTC).timestamp() * 1e6)
    return [
        {
            "type": f"classroom.{what}",
            "key": f"l{number}",
            "source": "/d/1",
            "id": f"{what}-{number}",
            "time_us": start_us + number,
            "schoolid": "s02",
        }
        for number in range(1, 6)
        for what in ("lesson.started", "answer.submitted")
    ]


@pytest.fixture(scope="module")
def target(module_database: Target) -> Target:
    """Return a database whose week is scored, with events behind it."""
    found = module_database
    client = open_client(found)
    prepare(client)
    insert_events(client, events())
    step(client, MetricRules(), NOW, EVALUATION)
    client.close()
    return found


@pytest.fixture(scope="module")
def client(target: Target) -> Iterator[Client]:
    """Return a connection to it."""
    found = open_client(target)
    yield found
    found.close()


@pytest.fixture
def environment(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the commands at the database."""
    for name in ("url", "user", "password", "database"):
        monkeypatch.setenv(f"CLASSPULSE_CLICKHOUSE_{name.upper()}", getattr(target, name))


def scope(kind: Kind, entity_id: str | None = None) -> Scope:
    """The week of an entity."""
    return Scope(kind, ENTITIES[kind] if entity_id is None else entity_id, WEEK, NOW, "Asia/Shanghai")


def read_only(client: Client, query: str) -> list[tuple[object, ...]]:
    """Run a query that may not write."""
    return [tuple(row) for row in client.query(query, settings={"readonly": 1}).result_rows]


@pytest.mark.parametrize("kind", KINDS)
def test_the_events_of_an_indicator_are_those_of_its_lessons(client: Client, kind: Kind) -> None:
    """The query returns the events that the metric is made of, of all lessons of the entity and of no other."""
    query = events_query(scope(kind), "attendance_rate")
    rows = read_only(client, f"SELECT key, type FROM ({query})")
    assert rows == [(key, "classroom.lesson.started") for key in LESSONS[kind]]


def test_the_lessons_are_as_many_as_the_roll_up_merged(client: Client) -> None:
    """A group's query finds as many lessons as its metric was merged from."""
    merged = client.query(
        "SELECT keys FROM v1_rollups(level = 'group', school = '', as_of = '2200-01-01 00:00:00',"
        f" day_from = '{WEEK}', day_to = '{WEEK + timedelta(days=6)}')"
        " WHERE metric = 'attendance_rate' AND entity_id = 'g1'"
    ).result_rows
    assert merged == [(len(read_only(client, keys_query(scope("group"), "attendance_rate"))),)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_query_runs(client: Client, kind: Kind) -> None:
    """For every metric an indicator may refer to, the query is answered, without a right to write."""
    queries = {
        events_query(scope(kind), name, found.items[0])
        for name, found in indicator_metrics().items()
        if exists_for(name, kind)
    }
    assert len(queries) > 10
    for query in queries:
        read_only(client, f"SELECT count() FROM ({query})")


def test_ids_are_quoted(client: Client) -> None:
    """An id with quotes, backslashes and Chinese is a value, never a part of the query."""
    for kind in KINDS:
        assert kind == "district" or read_only(client, events_query(scope(kind, "七小'\\ OR 1=1 --"), "correct_rate")) == []


def test_the_queries_need_no_other_right_than_the_workers() -> None:
    """Every table in the queries may be read by the worker's user, as users.xml grants it."""
    texts = [
        events_query(scope(kind), name, found.items[0]) for kind in KINDS for name, found in indicator_metrics().items()
    ]
    named = {name for text in texts for name in re.findall(r"FROM (\w+)", text)}
    users = ET.parse(folder().parent / "deploy" / "clickhouse" / "users.xml").getroot()
    grants = [query.text or "" for query in users.iterfind(".//classpulse_worker/grants/query")]
    granted = {match[1] for text in grants if (match := re.search(r"GRANT SELECT.* ON classpulse\.(\w+)", text))}
    assert named <= granted
    assert named >= {"pane_versions", "events_registry", "events_classroom", "events_prep", "events_research"}


def test_what_was_known_then(client: Client) -> None:
    """As of an instant before the metrics were recorded there are no keys behind one."""
    early = Scope("school", "s02", WEEK, NOW - timedelta(days=1), "Asia/Shanghai")
    assert read_only(client, keys_query(early, "attendance_rate")) == []
    with pytest.raises(MustStop, match="no score of any school yet: `classpulse evaluate`"):
        explain(client, "school", "s02", WEEK, NOW - timedelta(days=1), "Asia/Shanghai")


def test_an_explanation_adds_up(client: Client) -> None:
    """The whole is the mean of its indicators' scores by their weights, and the latest week is the default."""
    found = explain(client, "group", "g1", None, NOW, "Asia/Shanghai")
    assert (found.week, found.config_version, found.parts[0].node) == (WEEK, 1, "")
    indicators = [part for part in found.parts if part.metric]
    assert found.parts[0].value == pytest.approx(sum(part.weight * (part.value or 0) for part in indicators))
    assert found.quality["events"] == found.quality["district_events"] == len(events())


@pytest.mark.usefixtures("environment")
def test_the_command_prints_the_tree() -> None:
    """Both names, score, metric, norm and quality; the queries with --queries, and otherwise a line that says so."""
    arguments = ["school", "s02", "--week", "2026-W47"]
    shown = RUNNER.invoke(explain_command, [*arguments, "--queries"])
    assert shown.exit_code == 0, shown.output
    for text in (
        "学校 school s02 · 2026-W47",
        "精准管 Precise management",
        "0.934",
        "参与率",
        "数据质量",
        "FROM events_classroom FINAL",
    ):
        assert text in shown.output
    assert QUERIES_HINT not in shown.output
    brief = RUNNER.invoke(explain_command, arguments).output
    assert "SELECT" not in brief
    assert QUERIES_HINT in brief
    part = RUNNER.invoke(explain_command, [*arguments, "--node", "research"]).output
    assert "高效研" in part
    assert "精准管" not in part


@pytest.mark.usefixtures("environment")
def test_the_command_prints_json() -> None:
    """--json holds every node with its query."""
    found = json.loads(RUNNER.invoke(explain_command, ["district", "--json"]).output)
    assert (found["week"], len(found["parts"])) == ("2026-W47", 6)
    assert all(bool(part["query"]) == bool(part["metric"]) for part in found["parts"])


@pytest.mark.usefixtures("environment")
def test_a_teachers_score_is_named_personal() -> None:
    """Whoever prints a teacher's score reads that it is personal data."""
    assert "教师个人信息" in RUNNER.invoke(explain_command, ["teacher", "t-s02"]).stderr
    assert "Who may see what" in RUNNER.invoke(explain_command, ["--help"]).output


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["school"], "Say which school"),
        (["school", "s02", "--week", "2026-W54"], "no week 54"),
        (["school", "s02", "--week", "soon"], "no ISO week"),
        (["school", "s02", "--as-of", "soon"], "no instant"),
        (["principal", "s02"], "Invalid value"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str) -> None:
    """The message says what to give instead."""
    assert message in RUNNER.invoke(explain_command, arguments).output


@pytest.mark.usefixtures("environment")
def test_what_is_missing_is_told_with_the_remedy() -> None:
    """A week without a score names those that have one; a node that is not there the nodes that are."""
    other = RUNNER.invoke(explain_command, ["school", "s02", "--week", "2026-W40"])
    assert isinstance(other.exception, MustStop)
    assert "2026-W47" in str(other.exception)
    unknown = RUNNER.invoke(explain_command, ["school", "s07", "--week", "2026-W47"])
    assert "scores of 3 schools (s01, s02, s03) in 2026-W47" in str(unknown.exception)
    node = RUNNER.invoke(explain_command, ["school", "s02", "--node", "nothing"])
    assert "governance/attendance" in str(node.exception)


def test_after_a_cycle_it_is_said_what_counts_and_what_is_open(client: Client) -> None:
    """The week's scores by kind, what is open with when it ends in the district's time, and the next command."""
    insert_checkpoint(client, "classroom", 10)
    ends = datetime(2026, 11, 22, 16, tzinfo=UTC)
    rows = [["classpulse.prep", f"t{number}", 0, NOW, ends] for number in (1, 2)]
    never = datetime(2200, 1, 1, tzinfo=UTC)
    rows += [["classpulse.classroom", "l5", 0, NOW, ends], ["classpulse.classroom", "l1", 0, NOW, never]]
    client.insert("pane_keys", rows, column_names=["topic", "key", "partition", "handled_at", "next_close"])
    lines = after_a_cycle(client, "Asia/Shanghai")
    assert "Still open: 1 lesson, until 2026-11-23 00:00 (Asia/Shanghai)." in lines
    assert "Still open: 2 weeks of preparation, until 2026-11-23 00:00 (Asia/Shanghai)." in lines
    assert "Scored in 2026-W47: 1 district, 2 groups, 3 schools" in lines[-2]
    assert lines[-1] == "Next: classpulse explain school s01 --week 2026-W47"


@pytest.mark.usefixtures("environment")
def test_a_report_without_a_week_is_of_the_latest_or_says_what_there_is(tmp_path: Path) -> None:
    """The latest week with a score is the default; where there is none, those that have one are listed."""
    out = tmp_path / "s02.html"
    assert RUNNER.invoke(report, ["school", "s02", "--out", str(out)]).exit_code == 0
    assert "2026-W47" in out.read_text(encoding="utf-8")
    assert "s01, s02, s03" in str(RUNNER.invoke(report, ["school", "s07"]).exception)


@pytest.mark.usefixtures("environment")
def test_a_configuration_is_checked_activated_and_shown(tmp_path: Path) -> None:
    """A sound file gets a version when it is activated, and is shown again as it was."""
    file = tmp_path / "district.yaml"
    file.write_text(default_text(), encoding="utf-8")
    checked = RUNNER.invoke(evaluation, ["check", str(file)])
    assert "sound" in checked.output
    assert re.search(r"school\s+\d+ indicators", checked.output)
    activate = ["activate", str(file), "--from", "2099-W01", "--by", "Li 李", "--reason", "the board of 3 September"]
    assert "Configuration 2 counts from 2099-W01 on" in RUNNER.invoke(evaluation, [*activate, "--yes"]).output
    assert "counts already" in RUNNER.invoke(evaluation, activate).output
    shown = RUNNER.invoke(evaluation, ["show", "--week", "2099-W02"])
    assert shown.stdout == default_text()
    assert "by Li 李" in shown.stderr
    assert "the board of 3 September" in shown.stderr
    assert RUNNER.invoke(evaluation, ["show", "--version", "1"]).stdout == EVALUATION
    file.write_text("format: 1\n", encoding="utf-8")
    assert isinstance(RUNNER.invoke(evaluation, ["check", str(file)]).exception, MustStop)


@pytest.mark.usefixtures("environment")
def test_an_activation_shows_what_it_changes_asks_and_is_kept(tmp_path: Path) -> None:
    """What differs and how much is scored anew is shown first; without a yes nothing changes; who and why are kept."""
    file = tmp_path / "other.yaml"
    file.write_text(EVALUATION.replace("weight: 1", "weight: 7", 1), encoding="utf-8")
    activate = ["activate", str(file), "--from", "2026-W40", "--by", "Wang"]
    assert "--reason" in RUNNER.invoke(evaluation, activate).output
    for reason in (" ", "two\nlines", "\x1b[2J"):
        assert "in one line" in RUNNER.invoke(evaluation, [*activate, "--reason", reason, "--yes"]).output
    activate += ["--reason", "a decision"]
    rejected = RUNNER.invoke(evaluation, activate, input="n\n")
    assert rejected.exit_code == 1
    assert "weight 1 → 7" in rejected.output
    assert re.search(r"Computed anew: [1-9]\d* scores of 1 weeks, from 2026-W40 on", rejected.output)
    before = RUNNER.invoke(evaluation, ["history"]).output.splitlines()
    assert "by classpulse evaluate" in before[0]
    assert RUNNER.invoke(evaluation, activate, input="y\n").exit_code == 0
    after = RUNNER.invoke(evaluation, ["history", "--json"]).output.splitlines()
    assert len(after) == len(before) + 1
    last = json.loads(after[-1])
    assert (last["activated_by"], last["reason"], last["database_user"]) == ("Wang", "a decision", OWNER)
    assert "@" in last["host_user"]


def test_the_default_can_be_shown_without_a_database() -> None:
    """It is where a district begins."""
    assert RUNNER.invoke(evaluation, ["show", "--default"]).output == default_text()


def test_weeks_are_written_as_people_do() -> None:
    """The ISO year is that of the week, not of the Monday."""
    assert iso_week(date(2026, 12, 28)) == "2026-W53"
    assert iso_week(date(2025, 12, 29)) == "2026-W01"
