"""The evaluator runs its steps in cycles, and says how it goes."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client
from prometheus_client import generate_latest

from schemas.errors import MustStop, Rejected, RetryLater
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target, connect
from sinks.clickhouse.errors import ATTEMPTS_AT_UNKNOWN
from sinks.evaluation.rollups import latest_cycle
from streams.cli.evaluate import evaluate
from streams.cli.reading import away_is_final
from streams.evaluation.evaluator import STEPS, Cycle, Evaluator, Step, steps
from tests.oracle.database import insert_checkpoint

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def migrated(module_database: Target) -> Target:
    """A database for all tests here; making one takes longer than a test."""
    return module_database


@pytest.fixture
def database(migrated: Target) -> Target:
    """A database without a cycle."""
    client = connect(migrated)
    client.command("TRUNCATE TABLE evaluator_cycles")
    client.close()
    return migrated


def fixed(name: str, rows: int, then: Callable[[], object] = lambda: None) -> Step:
    """A step that writes nothing and says it wrote ``rows``."""

    def run(_client: Client, _rules: MetricRules, _now: datetime) -> int:
        then()
        return rows

    return Step(name, run)


def cycles(target: Target) -> list[tuple[datetime, int]]:
    """Return the completed cycles."""
    client = connect(target)
    found = client.query("SELECT cycle_at, rows_written FROM evaluator_cycles ORDER BY cycle_at").result_rows
    client.close()
    return [(at.replace(tzinfo=UTC), rows) for at, rows in found]


def test_cycle_runs_the_steps_in_order(database: Target) -> None:
    """Each step runs once, after the one before; the cycle and its rows are noted."""
    named: list[tuple[str, int]] = []
    evaluator = Evaluator(
        database,
        MetricRules(),
        steps=[fixed("a", 3), fixed("b", 4)],
        clock=lambda: NOW,
        on_step=lambda name, number: named.append((name, number)),
    )
    cycle = evaluator.once()
    assert cycle is not None
    assert (cycle.rows, named) == ({"a": 3, "b": 4}, [("a", 1), ("b", 2)])
    assert str(cycle).startswith("cycle 2026-11-20T12:00:00Z: a 3 rows in ")
    assert cycles(database) == [(NOW, 7)]


def test_clock_that_goes_back(database: Target) -> None:
    """A cycle is never recorded at or before one that was already complete."""
    times = [NOW, NOW, NOW - timedelta(hours=1)]
    for at in times:
        Evaluator(database, MetricRules(), steps=[], clock=lambda at=at: at).once()  # type: ignore[misc]
    assert [at for at, _ in cycles(database)] == [NOW + timedelta(milliseconds=number) for number in range(3)]
    client = connect(database)
    assert latest_cycle(client) == NOW + timedelta(milliseconds=2)
    client.close()


def test_stopped_between_two_steps(database: Target) -> None:
    """Told to stop, the evaluator ends the step under way and notes no cycle."""
    stop = threading.Event()
    after: list[int] = []
    ran = [fixed("a", 1, stop.set), fixed("b", 1, lambda: after.append(1))]
    evaluator = Evaluator(database, MetricRules(), steps=ran, stop=stop)
    evaluator.follow(60, lambda _cycle: pytest.fail("the cycle was not complete"))
    assert not after
    assert cycles(database) == []


def test_follow_goes_on_after_a_failure(database: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is away cycles are tried again, which shows in the metrics and in /readyz."""
    monkeypatch.setattr("streams.evaluation.evaluator.FAILURE_DELAY_SECONDS", 0.0)
    stop = threading.Event()
    problems: list[tuple[str, ...]] = []
    done: list[Cycle] = []

    def fail_twice() -> None:
        problems.append(evaluator.ready().problems)
        if len(problems) < 3:
            raise ConnectionError("refused")

    def on_cycle(cycle: Cycle) -> None:
        done.append(cycle)
        stop.set()

    evaluator = Evaluator(database, MetricRules(), steps=[fixed("a", 5, fail_twice)], stop=stop)
    evaluator.follow(0.001, on_cycle)
    assert len(done) == 1
    assert problems[0] == ("No cycle is complete yet",)
    assert "refused" in problems[2][0]
    assert not evaluator.ready().problems
    metrics = generate_latest(evaluator.telemetry.registry).decode()
    assert "classpulse_evaluator_failures_total 2.0" in metrics
    assert 'classpulse_evaluator_step_rows_total{step="a"} 5.0' in metrics
    assert "classpulse_evaluator_last_success_timestamp_seconds 0.0" not in metrics


def test_what_waiting_cannot_mend_ends_it(database: Target) -> None:
    """A wrong password ends the evaluator with the remedy, in both ways of running."""
    evaluator = Evaluator(replace(database, password="wrong"), MetricRules(), steps=[])
    with pytest.raises(MustStop, match="PASSWORD"):
        evaluator.once()
    with pytest.raises(MustStop, match="PASSWORD"):
        evaluator.follow(1, lambda _cycle: None)


def test_database_that_is_away() -> None:
    """Once: a database that does not answer is told as something to repeat."""
    away = Target("http://127.0.0.1:1", "nobody", "", "classpulse")
    with pytest.raises(RetryLater):
        Evaluator(away, MetricRules(), steps=[]).once()


def test_a_partition_without_an_event_is_no_obstacle(database: Target) -> None:
    """A partition that has had only rejected records, and so has no watermark, does not keep the cycle from its end."""
    client = connect(database)
    insert_checkpoint(client, "classroom", 1, partition=0, stored=0, dead_letters=1)
    insert_checkpoint(client, "classroom", 1, partition=1, watermark=NOW)
    client.close()
    assert Evaluator(database, MetricRules(), steps=steps(), clock=lambda: NOW).once() is not None


def test_an_answer_that_stays_ends_it_and_is_no_absence(database: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that ClickHouse rejects is told as rejected: once at once, following after a few attempts."""
    monkeypatch.setattr("streams.evaluation.evaluator.FAILURE_DELAY_SECONDS", 0.001)
    attempts: list[int] = []

    def rejected(client: Client, _rules: MetricRules, _now: datetime) -> int:
        attempts.append(1)
        return len(client.query("SELECT toDate([1])").result_rows)

    evaluator = Evaluator(database, MetricRules(), steps=[Step("a", rejected)])
    with pytest.raises(Rejected, match="ILLEGAL_TYPE_OF_ARGUMENT"), away_is_final(database):
        evaluator.once()
    attempts.clear()
    with pytest.raises(Rejected):
        evaluator.follow(0.001, lambda _cycle: None)
    assert len(attempts) == ATTEMPTS_AT_UNKNOWN


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("evaluate", 0, "stopped"),
        ("evaluate --follow", 0, "stopped"),
        ("verify --evaluator", -signal.SIGTERM, "stopped"),
        ("recompute --all --from 2020-01-01 --to 2020-01-02", -signal.SIGTERM, "stopped"),
    ],
)
def test_a_long_step_ends_at_once_when_told_to_stop(command: str, status: int, said: str) -> None:
    """SIGTERM ends a command within seconds, though ClickHouse has not answered its query yet."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        address = {"CLASSPULSE_CLICKHOUSE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        program = "import sys; from streams.cli.program import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", program, *command.split()],
            env=os.environ | address,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process, silent.accept()[0] as connection:
            connection.recv(1)  # it waits for the answer now
            process.terminate()
            output, _ = process.communicate(timeout=20)
    assert said in output
    assert "Traceback" not in output
    assert process.returncode == status


def test_every_step_is_there() -> None:
    """The modules of all declared steps exist and have a step."""
    assert [step.name for step in steps()] == list(STEPS)


def test_command_runs_one_cycle(database: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """`classpulse evaluate` runs every real step once on a database without metrics and says what it wrote."""
    settings = {"URL": database.url, "USER": database.user, "PASSWORD": database.password, "DATABASE": database.database}
    for name, value in settings.items():
        monkeypatch.setenv(f"CLASSPULSE_CLICKHOUSE_{name}", value)
    monkeypatch.setattr("signal.signal", lambda _number, _handler: None)
    client = connect(database)
    client.command("TRUNCATE TABLE evaluator_cycles")
    insert_checkpoint(client, "classroom", 1)
    client.close()
    result = CliRunner().invoke(evaluate, ["--once"])
    assert result.exit_code == 0, result.output
    assert "panes 0 rows" in result.output
    assert "No score yet" in result.output
    assert len(cycles(database)) == 1
