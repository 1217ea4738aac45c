"""docs/cookbook.md and docs/examples/evaluation_service.py, run on a small district as the users they name."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from deploy.local.commands.demo_answers import QUESTIONS
from sinks.clickhouse.client import Target, connect
from sinks.verify.evaluator import verify_evaluator
from sinks.verify.findings import VerifyReport
from tests.end_to_end.harness import AccountedRig
from tests.end_to_end.school_week import LATE_LESSON, fill
from tests.end_to_end.typed import blocks, typed
from tests.oracle.database import fresh_database, running_clickhouse
from tests.oracle.published import PANELS, filled_in

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cookbook.md").read_text(encoding="utf-8")
#: Every query: the user it names, and its text.
QUERIES = [
    (user or "classpulse_reader", text)
    for user, text in re.findall(r"^```sql(?: as (\w+))?\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
]
#: The end of Grafana's time range, on the district's second day.
END = "toDateTime('2026-03-09 15:00:00')"
#: The most that a column can say, by how its name ends.
MOST = {"%": 100, "min": 7 * 24 * 60, "minutes": 7 * 24 * 60, "breadth": 1, "p25": 10_080, "median": 10_080, "p75": 10_080}
MONDAY = "2026-03-02"


@dataclass(frozen=True)
class District:
    """A filled database: its users' targets, and the instants of two cycles."""

    targets: dict[str, Target]
    first_cycle: datetime
    second_cycle: datetime

    def client(self, user: str) -> Client:
        """Connect as ``user``."""
        return connect(self.targets[user])


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    """A real database with two school days, two cycles of the evaluator, and every user."""
    folder = tmp_path_factory.mktemp("cookbook")
    with running_clickhouse(folder) as server:
        target = fresh_database(server, "classpulse")
        passwords = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))
        targets = {user: Target(target.url, user, password, "classpulse") for user, password in passwords.items()}
        yield District(targets, *fill(target))


def sql_instant(instant: datetime) -> str:
    """Return the instant as the page writes one."""
    return instant.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


@pytest.mark.timeout(600)
def test_every_query_of_the_cookbook_answers(rig: AccountedRig, tmp_path: Path) -> None:
    """The page's own lines make its district; each query, as printed and as the user the page names, has rows there."""
    assert len(QUERIES) >= 20
    rig.start_worker()
    (tmp_path / ".classpulse").mkdir()
    (tmp_path / ".classpulse/dev").symlink_to(rig.folder)
    make, ask = blocks("docs/cookbook.md")
    typed(make, tmp_path, rig.environment())
    assert "s01-c1" in typed(ask, tmp_path)
    passwords = rig.info.users
    clients = {user: connect(Target(rig.info.clickhouse_url, user, passwords[user], "classpulse")) for user, _ in QUERIES}
    empty = [text for user, text in QUERIES if not clients[user].query(text).result_rows]
    assert empty == []
    for client in clients.values():
        client.close()


def test_a_revised_metric_is_told_and_the_old_one_can_be_read(district: District) -> None:
    """The hands that came late change the lesson's metrics; as of the first cycle they read as they did then."""
    client = district.client("classpulse_reader")
    lesson, first, second = LATE_LESSON.decode(), sql_instant(district.first_cycle), sql_instant(district.second_cycle)
    known = (
        "SELECT value FROM v1_lesson_figures_as_of(school = '', lesson = {lesson:String},"
        " as_of = {at:DateTime64(3, 'UTC')}) WHERE metric = 'hand_raises_per_student_minute'"
    )
    [(before,)] = set(client.query(known, parameters={"lesson": lesson, "at": first}).result_rows)
    [(after,)] = set(client.query(known, parameters={"lesson": lesson, "at": second}).result_rows)
    assert before == 0
    assert after > 0
    told = client.query(
        "SELECT DISTINCT key, old_value, new_value, withdrawn FROM v1_revised_since(since = {at:DateTime64(3, 'UTC')})"
        " WHERE window = 'lesson' AND metric = 'hand_raises_per_student_minute'",
        parameters={"at": first},
    ).result_rows
    assert told == [(lesson, before, after, False)]
    nothing = "SELECT count() FROM v1_revised_since(since = {at:DateTime64(3, 'UTC')})"
    assert client.query(nothing, parameters={"at": second}).result_rows == [(0,)]
    recent = (
        "SELECT DISTINCT lesson_id FROM v1_class_latest(school = 's01', class = 's01-c1') WHERE metric = 'attendance_rate'"
    )
    latest = client.query(recent).result_rows
    assert latest == [("lesson-s01-c1-20260309-3",)]
    client.close()


def test_the_example_reads_a_report_again_and_tells_what_changed(district: District, tmp_path: Path) -> None:
    """Read as of the first cycle twice, the report is the same; since then the late hands are told."""
    reader = district.targets["classpulse_reader"]
    environment = os.environ | {
        "CLASSPULSE_CLICKHOUSE_URL": reader.url,
        "CLASSPULSE_CLICKHOUSE_USER": reader.user,
        "CLASSPULSE_CLICKHOUSE_PASSWORD": reader.password,
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, str(ROOT / "docs/examples/evaluation_service.py"), "s01", MONDAY, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    at_first = ("--as-of", sql_instant(district.first_cycle))
    first = run(*at_first)
    report = json.loads(first)
    assert min(len(report[part]) for part in ("scores", "figures", "portraits")) > 0
    assert run(*at_first) == first
    assert json.loads(run())["as_of"] == sql_instant(district.second_cycle)
    (tmp_path / "report.json").write_text(first, encoding="utf-8")
    changed = json.loads(run("--since", str(tmp_path / "report.json")))
    assert {row["lesson_id"] for row in changed} == {LATE_LESSON.decode()}


def test_published_numbers_are_possible(district: District) -> None:
    """Grafana's panels and the demo's questions answer with shares, percentages and minutes that can be."""
    client = district.client("classpulse_reader")
    answers = [client.query(filled_in(query, "toDateTime('2026-03-06 00:00:00')", END)) for query in PANELS.values()]
    answers += [client.query(question.sql) for question in QUESTIONS]
    for answer in answers:
        assert answer.result_rows
        for name, values in zip(answer.column_names, zip(*answer.result_rows, strict=True), strict=True):
            most = next((most for ending, most in MOST.items() if name.endswith(ending)), None)
            known = [value for value in values if value is not None and most is not None]
            assert all(0 <= value <= most for value in known), (name, values)
    client.close()


def test_a_panel_merges_lessons_and_averages_no_values(district: District) -> None:
    """Interactions of all lessons under way are divided by the minutes of all their students."""
    client = district.client("classpulse_reader")
    [panel] = [query for title, query in PANELS.items() if "per student and minute" in title]
    shown: Any = client.query(filled_in(panel, "toDateTime('2026-03-06 00:00:00')", END)).result_rows
    rows: Any = client.query(
        "SELECT window_end, sum(numerator) / sum(denominator) FROM v1_lesson_figures WHERE window = '10m/1m'"
        " AND metric = 'interactions_per_student_minute' AND denominator > 0 GROUP BY window_end"
    ).result_rows
    assert {at: value for at, value in shown if value is not None} == pytest.approx(dict(rows))
    client.close()


def test_verification_finds_what_the_evaluator_did_not_make(district: District) -> None:
    """Versions and portraits agree with the metrics; a version and a portrait that were tampered with are named."""
    client = district.client("classpulse_admin")

    def differences() -> list[str]:
        report = VerifyReport(limit=100)
        verify_evaluator(client, report)
        return [f"{one.kind} {one.key.get('metric') or one.key.get('dimension')}" for one in report.differences]

    assert differences() == []
    wrong = "FROM {0} WHERE school_id = 's01' AND {1} = '{2}' AND live ORDER BY recorded_at DESC LIMIT 1"
    client.command(
        "INSERT INTO pane_versions SELECT * REPLACE (numerator + 1 AS numerator, 7 AS row_id, [row_id] AS replaces,"
        " recorded_at + INTERVAL 1 SECOND AS recorded_at) " + wrong.format("pane_versions", "metric", "early_stop_seconds")
    )
    client.command(
        "INSERT INTO portraits SELECT * REPLACE (level + 0.1 AS level, recorded_at + INTERVAL 1 SECOND AS recorded_at) "
        + wrong.format("portraits", "kind", "class")
    )
    found = differences()
    assert "different early_stop_seconds" in found
    assert len({name for name in found if "early_stop" not in name}) > 0
