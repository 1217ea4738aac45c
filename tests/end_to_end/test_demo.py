"""The demo, as a newcomer runs it."""

import json
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.typed import typed

KEYS = {"produced", "stored", "duplicates", "dead_letters", "metric_rows", "verify_differences", "events_per_second"}


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "streams", "demo", "--folder", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_the_backlog_demo_prints_one_object_and_both_invariants_hold(tmp_path: Path) -> None:
    """`--events N --json` drains N records and accounts for each, twice the same; nothing is left running."""
    runs = [demo(tmp_path / "demo", "--events", "10000", "--seed", "7", "--json") for _ in range(2)]
    assert [done.returncode for done in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    result, again = (json.loads(done.stdout) for done in runs)
    assert set(result) == KEYS
    assert {**result, "events_per_second": 0} == {**again, "events_per_second": 0}
    assert result["produced"] == 10_000
    assert result["produced"] == result["stored"] + result["duplicates"] + result["dead_letters"]
    assert min(result["duplicates"], result["dead_letters"], result["metric_rows"]) > 0
    assert result["verify_differences"] == 0
    status = subprocess.run(
        [sys.executable, "-m", "streams", "dev", "status", "--folder", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert status.returncode == 1


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    """The demo empties its folder, but never one that holds something else."""
    (tmp_path / "thesis.txt").write_text("three years of work")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert "--folder" in done.stderr
    assert (tmp_path / "thesis.txt").exists()


def test_the_summary_can_be_read_and_its_commands_copied(tmp_path: Path) -> None:
    """In a pipe the demo says first what it does, ends with verdict and answers, and its commands run as printed."""
    folder = tmp_path / "the demo"
    try:
        done = demo(folder, "--events", "5000", "--keep")
        assert done.returncode == 0, done.stderr
        assert "5,000 records" in done.stderr.splitlines()[0]
        for expected in ("Both invariants hold", "dead letters", "五学课堂", "career stage", "Read a view with curl:"):
            assert expected in done.stdout
        block = done.stdout.split("Read a view with curl:")[1].split("Score it")[0]
        assert "lesson-s01-c1-" in typed(block, tmp_path)
    finally:
        assert demo(folder, "--stop").returncode == 0
