"""The measuring program on a small scale, from the command line to the JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 120


def measured(scenario: str, folder: Path, *options: str) -> dict[str, Any]:
    """Run a scenario as a person does; return its JSON, which is on standard output and in the file."""
    file = folder / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "streams", "measure", scenario, "--folder", folder / "rig", "--json", file, *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert json.loads(file.read_text(encoding="utf-8")) == found
    return found


def test_latency_is_measured_for_every_event(tmp_path: Path) -> None:
    """Every event sent after the warm-up has a latency; the probes in the metrics agree with the checkpoints."""
    found = measured(
        "latency", tmp_path, "--events", "1500", "--lessons", "15", "--rate", "300", "--seconds", "2", "--warm-up", "1"
    )
    (one,) = found["figures"]["rates"]
    assert one["events"] == pytest.approx(600, abs=60)
    assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] <= one["max_ms"]
    assert one["probes"]["count"] >= 1
    # A probe is in its metrics before the checkpoint says so, and is looked for in the same polls.
    assert one["probes"]["max_ms"] <= one["max_ms"] + 3 * one["poll_resolution"]["max_ms"]
    assert one["worker_histogram"]["partition_writes"] >= 1
    assert {goal["unit"] for goal in found["goals"]} == {"s"}


def test_memory_is_measured_in_the_shape_that_was_asked_for(tmp_path: Path) -> None:
    """The shape is counted in what was stored; the peak is at least what the worker holds at the end."""
    found = measured("memory", tmp_path, "--events", "3000", "--lessons", "30", "--students", "4")
    figures = found["figures"]
    assert (figures["shape"]["events"], figures["shape"]["lessons"]) == (3000, 30)
    assert figures["shape"]["devices"] > 30 + 30 * 4
    assert figures["worker_peak_bytes"] >= figures["worker_at_the_end_bytes"] > 50 << 20
    assert found["machine"]["cores"] >= 1
    assert found["versions"]["clickhouse"]
