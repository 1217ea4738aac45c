"""What a report reads: metrics, scores, portraits and names as of an instant, the same again later."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client

from schemas.evaluation.portraits import PORTRAIT_VERSION
from schemas.metrics.catalogue import CATALOGUE_VERSION
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target
from streams.cli.program import cli
from streams.evaluation import portraits, scoring
from streams.evaluation.report.data import ReportKind
from streams.evaluation.report.gather import gather, settled
from streams.evaluation.report.page import page
from tests.oracle.database import open_client

MONDAY = date(2026, 11, 16)
FIRST = datetime(2026, 11, 23, 1, tzinfo=UTC)
LATER = datetime(2026, 11, 23, 5, tzinfo=UTC)
ZONE = "Asia/Shanghai"
STRATEGIES = {"question_led": 0.3, "situational": 0.2, "interactive": 0.25, "evaluative": 0.15, "digital": 0.05}
#: Numerator, denominator and parts of each metric of one lesson.
LESSON = {
    "attendance_rate": (38.0, 40.0, []),
    "response_rate": (24.0, 40.0, []),
    "participation_breadth": (30.0, 40.0, []),
    "teacher_talk_share": (60.0, 100.0, []),
    "student_talk_share": (30.0, 100.0, []),
    "silence_share": (10.0, 100.0, []),
    "long_wait_share": (3.0, 5.0, []),
    "question_ratio": (4.0, 10.0, []),
    "teacher_response_ratio": (5.0, 10.0, []),
    "pupil_initiation_ratio": (2.0, 10.0, []),
    "teacher_occupancy": (45.0, 100.0, []),
    "behaviour_conversion": (20.0, 100.0, []),
    "correct_rate": (31.0, 40.0, []),
    "tool_share": (600.0, 2400.0, []),
    "strategy_balance": (1.4, 1.609, [720.0, 480.0, 600.0, 360.0, 120.0]),
    "call_through_rate": (5.0, 9.0, []),
    "interactions_per_student_minute": (300.0, 1600.0, []),
    "hand_raises_per_student_minute": (90.0, 1600.0, []),
    "delayed_start_seconds": (30.0, 1.0, []),
    "early_stop_seconds": (10.0, 1.0, []),
}
COLUMNS = [
    "family",
    "school_id",
    "class_id",
    "teacher_id",
    "course",
    "grade",
    "day",
    "window",
    "key",
    "metric",
    "item",
    "window_start",
    "window_end",
    "value",
    "numerator",
    "denominator",
    "sample_size",
    "parts",
    "catalogue_version",
    "revision",
    "live",
    "recorded_at",
    "row_id",
    "replaces",
]


def lesson(day: int, recorded_at: datetime, attended: float = 38.0, number: int = 0) -> list[list[object]]:
    """Return the closed metrics of the lesson of a day, of class c1 at school s07 by teacher t1."""
    start = datetime(2026, 11, 16 + day, 1, tzinfo=UTC)
    place = ["classroom", "s07", "s07-c1", "t1", "数学", 5, MONDAY + timedelta(days=day), "lesson", f"lesson-{day}"]
    figures = [(name, "", *figure) for name, figure in LESSON.items()]
    figures += [("strategy_share", name, 2400 * share, 2400.0, []) for name, share in STRATEGIES.items()]
    rows = []
    for nth, (metric, item, numerator, denominator, parts) in enumerate(figures):
        above = attended if metric == "attendance_rate" else numerator
        rows.append(
            [
                *place,
                metric,
                item,
                start,
                start + timedelta(minutes=40),
                above / denominator,
                above,
                denominator,
                40,
                parts,
                CATALOGUE_VERSION,
                100,
                True,
                recorded_at,
                10_000 * (day + 1) + 100 * number + nth,
                [10_000 * (day + 1) + nth] if number else [],
            ]
        )
    return rows


def registered(client: Client) -> None:
    """Register a group, its school, a class and a teacher."""
    columns = [
        "key",
        "time",
        "source",
        "id",
        "type",
        "position",
        "stored_at",
        "name",
        "group_id",
        "school_id",
        "stage",
        "course",
        "grade",
        "career_stage",
    ]
    at = datetime(2026, 9, 1, tzinfo=UTC)
    rows: list[list[Any]] = [
        ["g03", "group", "第三教育集团", "", "", "", "", None, ""],
        ["s07", "school", "第七小学", "g03", "", "primary", "", None, ""],
        ["s07-c1", "class", "五年级1班", "", "s07", "", "", 5, ""],
        ["t1", "teacher", "", "", "s07", "", "数学", None, "expert"],
    ]
    events = [[key, at, "/r", key, f"registry.{kind}.registered", 0, at, *rest] for key, kind, *rest in rows]
    client.insert("events_registry", events, column_names=columns)


@pytest.fixture(scope="module")
def database(module_database: Target) -> Target:
    """Return a database with a school's week: metrics, portraits, scores, and one cycle of the evaluator."""
    target = module_database
    client = open_client(target)
    registered(client)
    for day in range(5):
        client.insert("pane_versions", lesson(day, FIRST - timedelta(minutes=5)), column_names=COLUMNS)
    _cycle(client, FIRST)
    client.close()
    return target


def _cycle(client: Client, at: datetime) -> None:
    portraits.step(client, MetricRules(), at)
    scoring.step(client, MetricRules(), at)
    client.insert("evaluator_cycles", [[at, at, 1]], column_names=["cycle_at", "finished_at", "rows_written"])


@pytest.fixture
def client(database: Target) -> Iterator[Client]:
    """Return a connection."""
    client = open_client(database)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("kind", "entity_id", "name", "members"),
    [
        ("school", "s07", "第七小学", ["五年级1班"]),
        ("teacher", "t1", "", []),
        ("group", "g03", "第三教育集团", ["第七小学"]),
    ],
)
def test_a_report_has_everything_that_is_known(
    client: Client, kind: ReportKind, entity_id: str, name: str, members: list[str]
) -> None:
    """Names, score tree, metrics merged over the week's lessons, shares, portraits and the scores of members arrive."""
    data = gather(client, kind, entity_id, MONDAY, FIRST, ZONE)
    assert data.subject.name == name
    attendance = data.metric_value("attendance_rate")
    assert attendance is not None
    assert (attendance.value, attendance.sample_size, attendance.keys, attendance.district) == (0.95, 200, 5, None)
    assert data.root is not None
    assert data.root.value is None or 0 < data.root.value < 1
    assert any(node.is_indicator and node.norm for node in data.nodes)
    assert [round(share.value, 2) for share in data.strategies] == [0.3, 0.2, 0.25, 0.15, 0.05, 0.05]
    assert [share.english for share in data.talk] == ["teacher", "students", "silence"]
    assert next(len(portrait.levels) for portrait in data.portraits) == 5
    assert [member.name for member in data.members] == members
    versions = (data.config_version, data.catalogue_versions, data.portrait_versions)
    assert versions == (1, (CATALOGUE_VERSION,), (PORTRAIT_VERSION,))
    assert data.trend[-1].week == MONDAY
    assert "综合评分" in page(data)


def test_nobody_is_nothing(client: Client) -> None:
    """An unknown id, whatever it holds, and a week without lessons give a report without data."""
    assert gather(client, "school", "s' OR 1=1 --\\", MONDAY, FIRST, ZONE).is_empty
    assert not gather(client, "class", "s07-c1", MONDAY - timedelta(weeks=3), FIRST, ZONE).metric_values


def test_the_command_makes_the_same_page_again(database: Target, client: Client, tmp_path: Path) -> None:
    """After a revision, the report as of the first instant is the same bytes; the one of now has the new metric."""
    options = [
        "--url",
        database.url,
        "--user",
        database.user,
        "--password-env",
        "REPORT_PASSWORD",
        "--database",
        database.database,
    ]
    environment = {"REPORT_PASSWORD": database.password}

    def made(name: str, as_of: datetime) -> str:
        out = tmp_path / name
        arguments = ["report", "school", "s07", "--week", "2026-W47", "--as-of", as_of.isoformat(), "--out", str(out)]
        answer = CliRunner().invoke(cli, [*arguments, *options], env=environment)
        assert answer.exit_code == 0, answer.output
        assert out.stat().st_mode & 0o777 == 0o600
        return out.read_text(encoding="utf-8")

    before = made("before.html", FIRST + timedelta(minutes=7))
    client.insert("pane_versions", lesson(2, LATER - timedelta(minutes=5), attended=8.0, number=1), column_names=COLUMNS)
    assert settled(client, LATER - timedelta(minutes=1)) == FIRST
    _cycle(client, LATER)
    assert settled(client, LATER + timedelta(minutes=3)) == LATER
    assert made("again.html", FIRST) == before
    after = made("after.html", LATER)
    assert ("95.0 %" in before, "80.0 %" in after) == (True, True)


def test_an_instant_in_the_future_is_rejected() -> None:
    """What is not known yet cannot be read again."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    arguments = ["report", "school", "s07", "--week", "2026-W47", "--as-of", tomorrow.isoformat()]
    answer = CliRunner().invoke(cli, arguments)
    assert (answer.exit_code, "in the future" in answer.output) == (2, True)
