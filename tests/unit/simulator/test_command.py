"""The command ``classpulse simulate``, run as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from deploy.local.commands.simulate import simulate
from schemas.errors import MustStop


def test_a_file_holds_one_event_a_line_and_the_ledger_agrees(tmp_path: Path) -> None:
    """Without faults every record is a line, and the account counts them."""
    out, ledger = tmp_path / "events.ndjson", tmp_path / "ledger.json"
    arguments = ["--events", "1500", "--date", "2026-11-16", "--out", str(out), "--ledger", str(ledger), "--json"]
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(events) == 1500
    assert json.loads(result.stdout) == json.loads(ledger.read_text(encoding="utf-8"))
    assert json.loads(result.stdout)["stored"] == 1500


def test_standard_output_stays_one_event_a_line() -> None:
    """The account goes to standard error when the events go to standard output."""
    result = CliRunner().invoke(simulate, ["--events", "50", "--date", "2026-11-16", "--out", "-"])
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 50
    assert "What must become of the records" in result.stderr


def test_shares_override_the_realistic_ones(tmp_path: Path) -> None:
    """``--realistic --malformed 0.5`` spoils half of the records."""
    out = str(tmp_path / "events.ndjson")
    arguments = [
        "--events",
        "2000",
        "--date",
        "2026-11-16",
        "--out",
        out,
        "--realistic",
        "--malformed",
        "0.5",
        "--json",
    ]
    account = json.loads(CliRunner().invoke(simulate, arguments).stdout)
    assert 800 < account["dead_letters"] < 1200
    assert account["duplicates"] > 0


def test_impossible_shares_are_explained() -> None:
    """The error says which rule is broken and what to change."""
    result = CliRunner().invoke(simulate, ["--late", "0.7", "--duplicates", "0.7", "--out", "-"])
    assert isinstance(result.exception, MustStop)
    assert "add up to 1.4" in str(result.exception)


def test_a_kafka_that_is_away_is_named() -> None:
    """Port 1 has no broker; the error names the address and the remedy."""
    result = CliRunner().invoke(simulate, ["--events", "10", "--bootstrap", "127.0.0.1:1"])
    assert isinstance(result.exception, MustStop)
    assert "127.0.0.1:1" in str(result.exception)
    assert "--bootstrap" in str(result.exception)
