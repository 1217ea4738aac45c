"""Names in the database that a terminal would obey: every command that prints them shows them escaped."""

import json
import logging
import sys
from typing import Final

import pytest

from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target
from streams.cli.program import main
from streams.evaluation.scoring import step
from tests.integration.sinks.evaluation_data import EVALUATION, NOW, prepare
from tests.oracle.database import open_client

HOSTILE: Final = "s\x1b]0;owned\x07\x1b[31m\x9b2J\x7f\u202eevil"


@pytest.fixture(scope="module")
def target(module_database: Target) -> Target:
    """A database whose registry and metric rows hold hostile names, and whose metrics have no events."""
    found = module_database
    with open_client(found) as client:
        prepare(client)
        client.command(
            "INSERT INTO events_registry SELECT * REPLACE (%(name)s AS name) FROM events_registry", {"name": HOSTILE}
        )
        client.insert("metric_rows", [[HOSTILE, "hand_raises", "lesson"]], column_names=["key", "metric", "window"])
        step(client, MetricRules(), NOW, EVALUATION)
    return found


@pytest.mark.parametrize(
    ("words", "status", "shows"),
    [
        (("explain", "school", "s02", "--queries"), 0, True),
        (("explain", "school", "s02", "--json"), 0, True),
        (("explain", "school", HOSTILE), 2, True),
        (("explain", "group", "g1", "--node", HOSTILE), 2, True),
        (("report", "school", "s02", "--week", "2026-W47", "--out", "-"), 0, False),
        (("report", "teacher", HOSTILE, "--week", "2026-W47", "--out", "-"), 0, True),
        (("verify",), 1, True),
        (("verify", "--json"), 1, True),
        (("verify", "--database", HOSTILE), 2, True),
        (("verify", "--user", HOSTILE), 2, True),
    ],
)
def test_no_command_prints_a_control_character(
    words: tuple[str, ...],
    status: int,
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    shows: bool,
) -> None:
    """Not on either output, in tables, texts, JSON, HTML or errors; what was hostile is still to be seen."""
    for name in ("url", "user", "password", "database"):
        monkeypatch.setenv(f"CLASSPULSE_CLICKHOUSE_{name.upper()}", getattr(target, name))
    monkeypatch.setattr(sys, "argv", ["classpulse", *words])
    # A log that another test has configured would take a command's last word.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == status, told.err
    assert all(one.isprintable() or one in "\n\t\u3000" for one in told.out + told.err)
    assert not shows or "owned" in told.out + told.err
    if "--json" in words:
        assert json.dumps(HOSTILE)[1:-1] in json.dumps(json.loads(told.out))
