"""The command ``classpulse verify``, as a process: its exit codes and what it prints."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.client import Target
from tests.oracle.database import (
    insert_checkpoint,
    insert_events,
    insert_rows,
    open_client,
)
from tests.oracle.oracle import expected_rows

EVENT = {
    "type": "classroom.hand.raised",
    "key": "lesson-[b]1",
    "source": "/d",
    "id": "1",
    "student_id": "ann",
    "time_us": 1_794_787_200_000_000,
}


@pytest.fixture(scope="module")
def target(module_database: Target) -> Target:
    """A database in which one hand was raised, and everything agrees."""
    target = module_database
    client = open_client(target)
    insert_events(client, [EVENT])
    insert_rows(client, "classroom", expected_rows([EVENT], "Asia/Shanghai").items(), revision=1)
    insert_checkpoint(client, "classroom", 1)
    client.close()
    return target


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    """A connection to plant errors with."""
    client = open_client(target)
    yield client
    client.close()


def run(target: Target, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``classpulse verify`` against the database."""
    environment = os.environ | {
        "CLASSPULSE_CLICKHOUSE_URL": target.url,
        "CLASSPULSE_CLICKHOUSE_USER": target.user,
        "CLASSPULSE_CLICKHOUSE_PASSWORD": target.password,
        "CLASSPULSE_CLICKHOUSE_DATABASE": target.database,
        "COLUMNS": "160",
    }
    code = "from streams.cli.program import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "verify", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_agreement_exits_with_0(target: Target) -> None:
    """Where everything agrees the summary says so, and the exit code is 0."""
    done = run(target)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Span: everything ever stored." in done.stdout
    assert "67 rows expected, 67 stored; 4 of 4 accounting invariants hold; 0 differences." in done.stdout


def test_what_was_stored_before_a_day_can_be_left_out(target: Target) -> None:
    """With a day in the future nothing is left to look at, and the span says since when."""
    done, listed = run(target, "--since", "2100-01-01"), run(target, "--since", "2100-01-01", "--json")
    assert (done.returncode, listed.returncode) == (0, 0)
    assert "Span: stored since 2100-01-01 (classroom, dead_letters); everything ever stored (prep" in done.stdout
    assert "0 rows expected, 0 stored; 4 of 4 accounting invariants hold" in done.stdout
    assert json.loads(listed.stdout)["since"]["classroom"] == "2100-01-01"


def test_a_difference_exits_with_1_and_is_shown(target: Target, client: Client) -> None:
    """A difference is listed with its key and both sides, as text and as JSON, and the exit code is 1."""
    where = "metric = 'participation_breadth' AND window = 'lesson'"
    row = f"FROM (SELECT * FROM metric_rows FINAL WHERE {where})"
    client.command(f"INSERT INTO metric_rows SELECT * REPLACE (7 AS sample_size, 2 AS revision) {row}")
    try:
        shown, listed = run(target), run(target, "--json")
    finally:
        client.command(f"INSERT INTO metric_rows SELECT * REPLACE (1 AS sample_size, 3 AS revision) {row}")
    assert shown.returncode == listed.returncode == 1
    for text in ("different", "key lesson-[b]1", "metric participation_breadth", "sample_size 1", "sample_size 7"):
        assert text in shown.stdout
    report = json.loads(listed.stdout)
    assert (report["agrees"], report["differences_total"]) == (False, 1)
    assert report["differences"][0]["columns"] == ["sample_size"]
    assert report["differences"][0]["key"]["key"] == "lesson-[b]1"


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"url": "http://127.0.0.1:1"}, "Check that ClickHouse runs at http://127.0.0.1:1"),
        ({"password": "wrong"}, "CLASSPULSE_CLICKHOUSE_PASSWORD"),
        ({"database": "default"}, "run `classpulse migrate`"),
    ],
)
def test_what_cannot_run_exits_with_2_and_the_remedy(target: Target, changes: dict[str, Any], remedy: str) -> None:
    """No server, a wrong password, or no tables: one line with the remedy, no traceback, exit code 2."""
    done = run(replace(target, **changes))
    assert done.returncode == 2
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr
    assert "wrong" not in done.stderr
