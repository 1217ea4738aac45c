"""Faults 1 to 6: a worker dies, fails or is stopped at any step of a write."""

import signal
import sys
import time

from tests.faults.fault_rig import IMPATIENT, FaultRig
from tests.faults.kafka_side import committed_records
from tests.lab.chaos import Delay, Freeze, HalfOpen, Proxy, inserts_into
from tests.lab.rig import wait_until

#: A defect that shows after the first checkpoint.
PLANTED = """
from sinks.stores.checkpoints import CheckpointStore
from streams.core.event_cache import EventCache
add, save, saved = EventCache.add, CheckpointStore.save, []
def failing_add(self, events):
    if saved:
        raise RuntimeError("planted")
    return add(self, events)
def noted_save(self, checkpoints):
    save(self, checkpoints)
    saved.append(1)
EventCache.add, CheckpointStore.save = failing_add, noted_save
from streams.cli.program import main
main()
"""


def kill_at(rig: FaultRig, proxy: Proxy, moment: str, table: str) -> None:
    """Kill a worker at a step of a write in mid-stream, and let another one finish."""
    produced = rig.produce(4_000).produced
    worker = rig.start_worker()
    rig.wait_for_checkpoints(produced)
    killing = proxy.inject(Freeze(worker.kill, moment), when=inserts_into(table), times=1)  # type: ignore[arg-type]
    rig.produce(4_000, seed=2)
    assert killing.wait(60), "the step never came"
    wait_until(lambda: not worker.running, "the worker to be dead")
    proxy.heal()
    rig.start_worker()
    rig.assert_invariants()


def test_fault_01_kill_before_the_insert(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A worker killed before ClickHouse sees its events loses none."""
    kill_at(rig, clickhouse_proxy, "before", "events_classroom")


def test_fault_02_kill_between_events_and_metric_rows(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A worker killed when its events are stored and its metrics are not counts none twice."""
    kill_at(rig, clickhouse_proxy, "after", "events_classroom")


def test_fault_03_kill_between_metric_rows_and_checkpoint(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A worker killed when all but its checkpoint is stored counts none twice."""
    kill_at(rig, clickhouse_proxy, "before", "checkpoints")


def test_fault_04_kill_between_checkpoint_and_commit(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """After a kill before the commit to Kafka, the next worker goes on from the checkpoint, which is ahead of it."""
    rig.produce(6_000)
    worker = rig.start_worker()
    killing = clickhouse_proxy.inject(Freeze(worker.kill, "after"), when=inserts_into("checkpoints"), times=1)
    assert killing.wait(60)
    wait_until(lambda: not worker.running, "the worker to be dead")
    clickhouse_proxy.heal()
    consumed = rig.counters()[0]
    assert consumed > committed_records(rig) == 0
    rig.start_worker()
    rig.assert_invariants()


def test_fault_05_exception_inside_the_pipeline(rig: FaultRig) -> None:
    """A defect ends the process with a status above 0; nothing is skipped, and a worker without it goes on."""
    produced = rig.produce(10_000).produced
    worker = rig.start_process([sys.executable, "-c", PLANTED, "worker"], **IMPATIENT)
    assert worker.wait(60) == 1
    assert "RuntimeError: planted" in worker.log.read_text()
    assert 0 < rig.counters()[0] < produced
    rig.start_worker()
    rig.assert_invariants()


def test_fault_06_sigterm_during_a_slow_flush(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A stop while ClickHouse is slow waits for the write, within its budget, and ends with status 0."""
    produced = rig.produce(8_000).produced
    worker = rig.start_worker()
    rig.wait_for_checkpoints(produced // 4)
    clickhouse_proxy.inject(Delay(200))
    assert worker.stop() == 0
    clickhouse_proxy.heal()
    rig.start_worker()
    rig.assert_invariants()


def test_fault_06_sigterm_during_a_flush_that_never_ends(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A stop while ClickHouse does not answer gives the write up, within its budget, and ends with status 0."""
    rig.produce(8_000)
    worker = rig.start_worker(CLASSPULSE_SHUTDOWN_SECONDS="6", CLASSPULSE_CLICKHOUSE_TIMEOUT_SECONDS="60")
    stuck = clickhouse_proxy.inject(HalfOpen(), when=inserts_into("events_classroom"))
    assert stuck.wait(60)
    started = time.monotonic()
    worker.send(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert time.monotonic() - started < 9
    clickhouse_proxy.heal()
    rig.start_worker()
    rig.assert_invariants()
