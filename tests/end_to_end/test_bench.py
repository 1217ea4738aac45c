"""The benchmark, as a person and as CI run it, with few events."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = {
    "ceiling_events_per_second",
    "classpulse_events_per_second",
    "ratio_to_ceiling",
    "peers",
    "laws_hold",
    "verify_differences",
    "rounds",
    "machine",
    "versions",
    "broker",
    "events",
    "bytes_per_event",
    "mix",
    "worker_cpu_us_per_event",
    "clickhouse_cpu_us_per_event",
    "not_measured",
}


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "streams", "bench", "--folder", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def test_a_run_measures_everything_that_is_there(tmp_path: Path) -> None:
    """The ceiling, classpulse and a peer are measured in each round, the invariants hold, and an absent peer is named."""
    done = bench(
        tmp_path / "bench",
        "--events",
        "4000",
        "--rounds",
        "2",
        "--mix",
        "rough",
        "--json",
        "--peer",
        "aiokafka-pydantic",
        "--peer",
        "bytewax",
        "--peers-python",
        str(tmp_path / "nowhere"),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.keys() >= KEYS
    assert (result["laws_hold"], result["verify_differences"], result["broker"]) == (True, 0, "embedded")
    assert set(result["not_measured"]) == {"bytewax"}
    assert {name: len(rounds) for name, rounds in result["rounds"].items()} == {
        "ceiling": 2,
        "classpulse": 2,
        "aiokafka-pydantic": 2,
    }
    for each in result["rounds"]["classpulse"]:
        outcomes = [each[outcome] for outcome in ("stored", "duplicates", "dead_letters")]
        assert sum(outcomes) == 4_000
        assert min(outcomes) > 0
    peer = result["peers"]["aiokafka-pydantic"]
    assert peer["ratio"] == pytest.approx(result["classpulse_events_per_second"] / peer["events_per_second"], rel=0.01)
    assert result["ratio_to_ceiling"] == pytest.approx(
        result["classpulse_events_per_second"] / result["ceiling_events_per_second"], rel=0.01
    )


def test_the_check_fails_a_slow_worker(tmp_path: Path) -> None:
    """Below the floor the exit status is 1, and the message says how far below; no peer is measured."""
    done = bench(tmp_path / "bench", "--check", "--events", "2000", "--rounds", "1", "--floor", "9")
    assert done.returncode == 1, done.stderr
    assert "below the floor of 9" in done.stderr
    assert "verify finds no difference" in done.stdout
    assert "faust" not in done.stdout
