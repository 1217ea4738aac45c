"""The torture command, short: it strikes, heals, judges, and finds what is wrong when something is."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from deploy.local.commands import dev
from deploy.local.simulator import SimulationConfig, simulate
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import connect
from streams.kafka import topics
from tests.end_to_end.harness import TROUBLED, AccountedRig
from tests.lab.chaos.feed import Account, Feed
from tests.lab.chaos.invariants import NotSettledError, Verdict, judge, judge_published_letters, published_letters, settle


def torture(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "streams", "torture", "--folder", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def test_a_short_torture_keeps_every_invariant_and_leaves_no_process(tmp_path: Path) -> None:
    """A dozen faults in less than a minute: nothing lost, doubled or different; the schedule is saved; all is stopped."""
    folder = tmp_path / "torture"
    arguments = ("--minutes", "0.7", "--seed", "4", "--broker", "embedded", "--workers", "2", "--faults", "12")
    done = torture(folder, *arguments, "--events-per-second", "300", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    result = json.loads(done.stdout)
    assert result["laws_hold"]
    assert (result["lost"], result["doubled"], result["differences"]) == (0, 0, 0)
    assert result["produced"] == 12_600 == result["stored"] + result["duplicates"] + result["dead_letters"]
    assert min(result["duplicates"], result["dead_letters"], result["rows_expected"]) > 0
    assert sum(result["faults_done"].values()) == 12
    assert sum(result["faults_met"].values()) > 6
    saved = json.loads((folder / "schedule.json").read_text())
    assert Counter(step["kind"] for step in saved["steps"]) == result["faults_done"]
    left = subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_a_folder_that_is_not_a_runs_is_left_alone(tmp_path: Path) -> None:
    """The command empties its folder, but never one that holds something else."""
    (tmp_path / "thesis.txt").write_text("three years of work")
    done = torture(tmp_path, "--minutes", "0.5")
    assert done.returncode == 2
    assert "Name a new or empty folder" in done.stderr
    assert (tmp_path / "thesis.txt").exists()


def test_the_judge_finds_what_is_lost_doubled_foreign_or_miscounted(rig: AccountedRig) -> None:
    """One event removed, one stored a second time under another id, one dead letter gone: each is named."""
    rig.start_worker()
    records = simulate(SimulationConfig(seed=1, events=4_000, disturbance=TROUBLED))
    feed = Feed(rig.info.kafka_bootstrap, records, 4_000, idempotent=False)
    feed.start()
    account = feed.finish(60)
    counters = settle(rig.client, account, 60, lambda _consumed: None)
    assert judged(rig, account, counters).problems == []
    admin = connect(dev.target(rig.info, "classpulse_admin"))
    ahead = "SELECT * REPLACE (position + 1 AS position, stored + 1 AS stored) FROM checkpoints FINAL"
    for statement in (
        "DELETE FROM events_classroom WHERE id = (SELECT min(id) FROM events_classroom)",
        "INSERT INTO events_prep SELECT * REPLACE (id || '-copy' AS id) FROM events_prep LIMIT 1",
        "DELETE FROM dead_letters WHERE position = (SELECT min(position) FROM dead_letters)",
        f"INSERT INTO checkpoints {ahead} WHERE topic = 'classpulse.registry'",
    ):
        admin.command(statement)
    admin.close()
    verdict = judged(rig, account, settle(rig.client, account, 60, lambda _consumed: None))
    assert verdict.lost == 1
    found = "\n".join(verdict.problems)
    for part in (
        "events_classroom: 1 events are lost",
        "events_prep: 1 events were never produced",
        "-copy",
        "classpulse.registry/0",
        "dead letters by reason",
        "dead letters in the topic",
    ):
        assert part in found
    assert verdict.differences > 0


def test_a_rig_that_stands_still_is_not_settled(rig: AccountedRig) -> None:
    """Without a worker nothing is checkpointed: the wait ends, and says which partitions are behind."""
    feed = Feed(rig.info.kafka_bootstrap, simulate(SimulationConfig(seed=1, events=50)), 1_000, idempotent=False)
    feed.start()
    account = feed.finish(60)
    with pytest.raises(NotSettledError, match=r"0 of 50 .* behind: classpulse\.\w+/\d at 0 of \d+"):
        settle(rig.client, account, 1.0, lambda _consumed: None)


def judged(rig: AccountedRig, account: Account, counters: dict[tuple[str, int], tuple[int, ...]]) -> Verdict:
    """Check every invariant."""
    verdict = judge(rig.client, account, counters, MetricRules())
    letters = asyncio.run(published_letters(rig.info.kafka_bootstrap, topics.DEAD_LETTER_TOPIC, 1))
    judge_published_letters(verdict, rig.client, letters)
    return verdict
