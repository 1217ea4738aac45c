"""Faults 7 to 13: ClickHouse is away, silent, slow, full, or not the one the worker expects."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.stack import stack
from tests.faults.fault_rig import FaultRig, event
from tests.faults.kafka_side import members
from tests.lab.chaos import (
    Cut,
    Drip,
    DropUpload,
    Freeze,
    HalfOpen,
    Proxy,
    ResetAfterRequest,
    TruncateResponse,
    contains,
    inserts_into,
)
from tests.lab.rig import wait_until

#: Ten minutes are as long as ten seconds to a worker that waits; set 600 to see it.
AWAY_SECONDS = float(os.environ.get("CLASSPULSE_TEST_AWAY_SECONDS", "10"))
TABLES = ["events_classroom", "metric_rows", "checkpoints", "dead_letters"]


def test_fault_07_clickhouse_away(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """With ClickHouse away and Kafka full the worker lives and its memory stands still; then it catches up."""
    worker = rig.start_worker(CLASSPULSE_CLICKHOUSE_TIMEOUT_SECONDS="2")
    first = rig.produce(2_000).produced
    rig.wait_for_checkpoints(first)
    clickhouse_proxy.inject(Cut())
    rig.produce(30_000, seed=2)
    wait_until(lambda: worker.status("readyz") == 503, "the worker to say that it is not ready")
    time.sleep(AWAY_SECONDS / 2)  # being away is what is tested
    halfway_bytes = worker.memory().resident_bytes
    time.sleep(AWAY_SECONDS / 2)
    assert worker.memory().resident_bytes < halfway_bytes + 32 * 2**20
    assert worker.status("healthz") == 200
    assert members(rig) == 1
    clickhouse_proxy.heal()
    rig.assert_invariants()
    wait_until(lambda: worker.status("readyz") == 200, "the worker to be ready again")


def test_fault_08_clickhouse_away_longer_than_the_poll_interval(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A worker that takes nothing for longer than the poll interval leaves the group, and rejoins without loss."""
    worker = rig.start_worker(CLASSPULSE_MAX_POLL_INTERVAL_SECONDS="5", CLASSPULSE_FLUSH_MAX_ROWS="500")
    first = rig.produce(2_000).produced
    rig.wait_for_checkpoints(first)
    clickhouse_proxy.inject(HalfOpen())
    rig.produce(20_000, seed=2)
    wait_until(lambda: members(rig) == 0, "the worker to leave the group")
    clickhouse_proxy.heal()
    wait_until(lambda: members(rig) == 1, "the worker to join again")
    assert worker.running
    rig.assert_invariants()


def test_fault_08_clickhouse_away_during_a_rebalance(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """Workers that are given partitions while ClickHouse is away wait for the checkpoints as long as it takes."""
    first = rig.start_worker()
    produced = rig.produce(6_000).produced
    rig.wait_for_checkpoints(produced // 2)
    clickhouse_proxy.inject(Cut())
    second = rig.start_worker()
    wait_until(lambda: members(rig) == 2, "the second worker to join")
    wait_until(lambda: "waiting for ClickHouse and Kafka" in second.log.read_text(), "the second worker to wait")
    rig.produce(3_000, seed=2)
    clickhouse_proxy.heal()
    rig.assert_invariants()
    assert first.running
    assert second.running


def test_fault_09_clickhouse_accepts_and_never_answers(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """An insert without an answer times out and is repeated, with one effect."""
    worker = rig.start_worker(CLASSPULSE_CLICKHOUSE_TIMEOUT_SECONDS="1")
    silent = [clickhouse_proxy.inject(HalfOpen("client"), when=inserts_into(table), times=2) for table in TABLES]
    rig.produce(6_000)
    rig.assert_invariants()
    assert all(fault.hits == 2 for fault in silent)
    assert worker.telemetry().total("classpulse_clickhouse_retries_total") >= 8


def test_fault_10_reset_after_the_insert_was_executed(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """An insert that ClickHouse executed and the worker believes failed is repeated, with one effect."""
    rig.start_worker()
    resets = [clickhouse_proxy.inject(ResetAfterRequest(), when=inserts_into(table), times=3) for table in TABLES]
    rig.produce(8_000)
    rig.assert_invariants()
    assert all(fault.hits == 3 for fault in resets)


def test_fault_10_broken_and_dripping_connections(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """Half uploads, answers cut short and a dripping line change nothing but the time it takes."""
    rig.start_worker()
    faults = [
        clickhouse_proxy.inject(DropUpload(0.5), when=inserts_into("events_classroom"), times=2),
        clickhouse_proxy.inject(DropUpload(0.9), when=inserts_into("metric_rows"), times=2),
        clickhouse_proxy.inject(TruncateResponse(10), when=contains("FROM events_classroom"), times=1),
        clickhouse_proxy.inject(Drip(200_000), when=inserts_into("events_classroom"), times=2),
    ]
    for seed in range(1, 4):
        rig.produce(3_000, seed)
    rig.assert_invariants()
    assert all(fault.hits for fault in faults)


def lose_half(rig: FaultRig, table: str) -> Callable[[], None]:
    """Return what deletes half of the latest insert: what ClickHouse leaves when it dies between two parts of it."""

    def delete() -> None:
        parts = [row[0] for row in rig.admin.query(f"SELECT DISTINCT _part FROM {table}").result_rows]
        newest = max(parts, key=lambda name: int(name.split("_")[2]))
        rig.admin.command(
            f"ALTER TABLE {table} DELETE WHERE _part = '{newest}' AND cityHash64(key) % 2 = 1 SETTINGS mutations_sync = 2"
        )

    return delete


def test_fault_11_an_insert_fails_half_way(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A whole retry makes good an insert of which ClickHouse kept only a part."""
    rig.start_worker()
    rig.produce(500)
    rig.assert_invariants()
    halves = [
        clickhouse_proxy.inject(Freeze(lose_half(rig, table), "after"), when=inserts_into(table), times=1)
        for table in ("events_classroom", "metric_rows")
    ]
    rig.produce(4_000, seed=2)
    rig.assert_invariants()
    assert all(fault.hits == 1 for fault in halves)


def test_fault_12_too_many_parts(rig: FaultRig) -> None:
    """An insert rejected for too many parts is repeated until the merges have caught up; nothing is lost."""
    worker = rig.start_worker()
    first = rig.produce(1_000).produced
    rig.wait_for_checkpoints(first)
    rig.admin.command("SYSTEM STOP MERGES metric_rows")
    rig.admin.command("ALTER TABLE metric_rows MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1")
    rig.produce(3_000, seed=2)
    wait_until(lambda: worker.status("readyz") == 503, "the worker to wait")
    assert "metric_rows" in worker.log.read_text()
    assert worker.status("healthz") == 200
    rig.admin.command("ALTER TABLE metric_rows RESET SETTING parts_to_delay_insert, parts_to_throw_insert")
    rig.admin.command("SYSTEM START MERGES metric_rows")
    rig.assert_invariants()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted for this test, which root alone may")
def test_fault_12_disk_full(new_rig: Callable[..., FaultRig], tmp_path: Path) -> None:
    """With ClickHouse's disk full the worker waits; with room again it goes on, and nothing is lost."""
    disk = tmp_path / "stack" / "clickhouse"
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=0700", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        rig = new_rig()
        worker = rig.start_worker()
        first = rig.produce(1_000).produced
        rig.wait_for_checkpoints(first)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        with (disk / "filler").open("wb") as filler:
            filler.write(b"\0" * (free - 128 * 1024))
        rig.produce(6_000, seed=2)
        wait_until(lambda: worker.status("readyz") == 503, "the worker to wait")
        assert worker.status("healthz") == 200
        (disk / "filler").unlink()
        rig.assert_invariants()
        rig.close()
    finally:
        stack.down(tmp_path / "stack")
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_fault_13_a_column_is_missing(rig: FaultRig) -> None:
    """A missing column stops the worker, which names it; no record becomes a dead letter for it."""
    rig.produce(2_000)
    rig.admin.command("ALTER TABLE metric_rows DROP COLUMN sample_size")
    worker = rig.start_worker()
    assert worker.wait(60) == 1
    log = worker.log.read_text()
    assert "sample_size" in log
    assert "classpulse migrate" in log
    assert "Traceback" not in log
    assert rig.counters() == (0, 0, 0, 0)
    rig.admin.command("ALTER TABLE metric_rows ADD COLUMN sample_size UInt32 AFTER denominator")
    rig.start_worker()
    rig.assert_invariants()


def test_fault_13_an_event_that_clickhouse_will_never_take(rig: FaultRig) -> None:
    """Events that a constraint rejects become dead letters of a running worker; all others are stored."""
    rig.admin.command("ALTER TABLE events_classroom ADD CONSTRAINT no_poison CHECK id NOT IN ('e3', 'e700')")
    worker = rig.start_worker()
    poison = {3, 700}
    outcomes = ["dead_letter" if number in poison else "stored" for number in range(1_000)]
    rig.publish([event(number, key=f"lesson-{number % 7}", outcome=outcome) for number, outcome in enumerate(outcomes)])
    rig.produce(1_000)
    rig.assert_invariants()
    assert worker.running
    reasons = rig.admin.query("SELECT count() FROM dead_letters FINAL WHERE reason = 'database'").result_rows
    assert reasons == [(len(poison),)]


def test_fault_13_an_answer_that_does_not_change(rig: FaultRig) -> None:
    """An insert that ClickHouse rejects for a reason of which nothing is known ends the worker with that reason."""
    rig.admin.command(
        "CREATE MATERIALIZED VIEW broken TO figure_keys AS SELECT topic, key, now64(3) AS changed_at FROM metric_rows"
        " WHERE throwIf(sample_size >= 0) = 0"
    )
    rig.produce(500)
    worker = rig.start_worker()
    assert worker.wait(90) == 1
    log = worker.log.read_text()
    assert "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO" in log
    assert "Waiting does not help" in log
    assert "Traceback" not in log
    rig.admin.command("DROP TABLE broken")
    rig.start_worker()
    rig.assert_invariants()
