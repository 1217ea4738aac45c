"""Faults 14 to 19: brokers die, partitions move under a write, topics are recreated."""

import signal
import time
from collections.abc import Callable

import pytest

from deploy.local.apache import ApacheCluster
from deploy.local.stack import stack
from tests.faults.fault_rig import CLASSROOM, FaultRig, event
from tests.faults.kafka_side import delete_records, delete_topics, members
from tests.lab.chaos import Cut, Delay, Freeze, HalfOpen, Proxy, inserts_into
from tests.lab.rig import wait_until


def test_fault_14_a_broker_is_killed_and_restarted(rig: FaultRig) -> None:
    """A broker that dies and comes back with its records is found again, without a restart of the worker."""
    worker = rig.start_worker()
    produced = rig.produce(10_000).produced
    rig.wait_for_checkpoints(produced // 4)
    stack.kill(rig.folder, stack.KAFKA)
    stack.start_broker(rig.folder)
    rig.produce(3_000, seed=2)
    rig.assert_invariants()
    assert worker.running


def test_fault_14_one_of_three_brokers_is_lost(new_rig: Callable[..., FaultRig]) -> None:
    """Two of three brokers are enough to go on."""
    rig = new_rig(brokers=3)
    worker = rig.start_worker()
    produced = rig.produce(6_000).produced
    rig.wait_for_checkpoints(produced // 4)
    rig.produce(3_000, seed=2)
    cluster = ApacheCluster.found(rig.folder / "apache")
    assert cluster is not None
    cluster.kill(2, signal.SIGKILL)
    rig.assert_invariants()
    assert worker.running


def test_fault_14_the_way_to_kafka_breaks(rig: FaultRig, kafka_proxy: Proxy) -> None:
    """Connections that are cut, silent or slow cost time and nothing else."""
    worker = rig.start_worker()
    produced = rig.produce(6_000).produced
    rig.wait_for_checkpoints(produced // 4)
    kafka_proxy.inject(Cut())
    rig.produce(3_000, seed=2)
    wait_until(lambda: members(rig) == 0, "Kafka to give the worker up")
    kafka_proxy.heal()
    wait_until(lambda: members(rig) == 1, "the worker to join again")
    silent = kafka_proxy.inject(HalfOpen())
    rig.produce(3_000, seed=3)
    silent.wait(10)
    wait_until(lambda: members(rig) == 0, "Kafka to give the worker up")
    kafka_proxy.heal()
    kafka_proxy.inject(Delay(100, 100))
    rig.assert_invariants()
    assert worker.running


def test_fault_15_a_commit_is_rejected(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A commit of a generation that has passed has no effect on what is stored."""
    worker = rig.start_worker(CLASSPULSE_WORKER_NAME="slow")
    produced = rig.produce(8_000).produced
    rig.wait_for_checkpoints(produced // 4)
    stale = clickhouse_proxy.inject(Freeze(worker.pause, "after", go_on=True), when=inserts_into("checkpoints"), times=1)
    assert stale.wait(60)
    wait_until(lambda: members(rig) == 0, "Kafka to give the paused worker up")
    rig.start_worker()
    wait_until(lambda: members(rig) == 1, "another worker to join")
    worker.go_on()
    wait_until(lambda: members(rig) == 2, "the paused worker to join again")
    rig.produce(3_000, seed=2)
    rig.assert_invariants()
    assert worker.telemetry().total("classpulse_commit_failures_total") >= 1
    assert worker.running


def test_fault_16_partitions_move_during_a_flush(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """A worker joins and one leaves while writes are under way: nothing is lost and nothing counts twice."""
    first = rig.start_worker()
    clickhouse_proxy.inject(Delay(300, 200), when=inserts_into("events_classroom"))
    produced = rig.produce(10_000).produced
    rig.wait_for_checkpoints(produced // 10)
    second = rig.start_worker()
    wait_until(lambda: members(rig) == 2, "a second worker to join")
    rig.produce(4_000, seed=2)
    third = rig.start_worker()
    wait_until(lambda: members(rig) == 3, "a third worker to join")
    assert first.stop() == 0
    rig.produce(4_000, seed=3)
    second.kill()
    clickhouse_proxy.heal()
    rig.assert_invariants()
    assert third.running


@pytest.mark.parametrize("table", ["metric_rows", "checkpoints"])
def test_fault_17_a_paused_worker_comes_back(rig: FaultRig, clickhouse_proxy: Proxy, table: str) -> None:
    """A worker stopped in the middle of a write, whose partitions moved meanwhile, finishes it and loses."""
    paused = rig.start_worker()
    produced = rig.produce(8_000).produced
    rig.wait_for_checkpoints(produced // 4)
    stopping = clickhouse_proxy.inject(Freeze(paused.pause, "before", go_on=True), when=inserts_into(table), times=1)
    assert stopping.wait(60)
    wait_until(lambda: members(rig) == 0, "Kafka to give the paused worker up")
    rig.start_worker()
    rig.produce(3_000, seed=2)
    rig.wait_for_checkpoints(rig.produced()[0])
    paused.go_on()
    rig.produce(2_000, seed=3)
    rig.assert_invariants()
    assert paused.running


def test_fault_18_one_record_then_silence_then_a_burst(rig: FaultRig) -> None:
    """One record alone is stored at once, and a burst after a silence too."""
    rig.start_worker()
    rig.publish([event(0)])
    rig.assert_invariants()
    wait_until(lambda: members(rig) == 1, "the worker to idle")
    rig.publish([event(number) for number in range(1, 3_000)])
    rig.assert_invariants()


@pytest.mark.parametrize("again", [100, 900])
def test_fault_19_a_topic_is_recreated_under_a_worker(rig: FaultRig, again: int) -> None:
    """A topic that is deleted and made anew while it is read begins a new epoch, be it shorter or longer than it was."""
    worker = rig.start_worker()
    rig.publish([event(number) for number in range(400)])
    rig.wait_for_checkpoints(400)
    delete_topics(rig, CLASSROOM)
    rig.create_topics()
    rig.publish([event(number) for number in range(1_000, 1_000 + again)])
    rig.assert_invariants()
    assert worker.running
    assert worker.telemetry().total("classpulse_new_epochs_total") >= 1
    assert rig.admin.query(f"SELECT max(epoch) FROM checkpoints FINAL WHERE topic = '{CLASSROOM}'").result_rows[0][0] == 1


def test_fault_19_a_topic_is_recreated_after_a_write_was_cut_short(rig: FaultRig, clickhouse_proxy: Proxy) -> None:
    """What was stored above the last checkpoint of a topic that is gone is counted, and its metrics are right."""
    rig.publish([event(number) for number in range(300)])
    worker = rig.start_worker()
    rig.wait_for_checkpoints(300)
    killing = clickhouse_proxy.inject(Freeze(worker.kill, "after"), when=inserts_into("events_classroom"), times=1)
    rig.publish([event(number) for number in range(300, 500)])
    assert killing.wait(60)
    wait_until(lambda: not worker.running, "the worker to be dead")
    clickhouse_proxy.heal()
    kept = {row[0] for row in rig.admin.query("SELECT id FROM events_classroom FINAL").result_rows}
    assert len(kept) > 300
    delete_topics(rig, CLASSROOM)
    rig.create_topics()
    # The rest of what was produced is gone with the topic, and was never read.
    rig.forget(rig.produced()[0] - len(kept), kept)
    rig.publish([event(number) for number in range(1_000, 1_050)])
    rig.start_worker()
    rig.assert_invariants()


def test_fault_19_a_log_is_truncated_by_retention(rig: FaultRig) -> None:
    """Records deleted before they were read are reported, and what is left is stored."""
    first = rig.start_worker()
    rig.publish([event(number) for number in range(200)])
    rig.wait_for_checkpoints(200)
    first.kill()
    lost = [event(number) for number in range(200, 300)]
    rig.publish(lost)
    partitions = rig.admin.query(f"SELECT partition, next_offset FROM checkpoints FINAL WHERE topic = '{CLASSROOM}'")
    number, read = next((row[0], row[1]) for row in partitions.result_rows if row[1])
    delete_records(rig, CLASSROOM, {number: read + 100})
    rig.forget(100, {f"e{kept}" for kept in range(200)})
    rig.publish([event(number) for number in range(300, 350)])
    worker = rig.start_worker()
    rig.assert_invariants()
    assert worker.telemetry().total("classpulse_new_epochs_total") == 1


def test_fault_19_everything_unread_is_deleted_under_a_worker(rig: FaultRig) -> None:
    """All that was not read is deleted, up to the log's end: no record will ever tell, and the worker notices."""
    worker = rig.start_worker()
    rig.publish([event(number) for number in range(50)])
    rig.assert_invariants()
    partitions = rig.admin.query(f"SELECT partition, next_offset FROM checkpoints FINAL WHERE topic = '{CLASSROOM}'")
    number, read = next((row[0], row[1]) for row in partitions.result_rows if row[1])
    worker.pause()
    # A fetch that Kafka has already taken would be answered with the records: FETCH_WAIT_MS at most.
    time.sleep(0.5)
    rig.publish([event(number) for number in range(50, 80)])
    delete_records(rig, CLASSROOM, {number: read + 30})
    rig.forget(30, {f"e{kept}" for kept in range(50)})
    worker.go_on()
    wait_until(lambda: worker.telemetry().total("classpulse_new_epochs_total") == 1, "the deletion to be noticed")
    wait_until(lambda: worker.telemetry().total("classpulse_lag_records") == 0, "the lag to end")
    rig.publish([event(number) for number in range(80, 90)])
    rig.assert_invariants()
    assert worker.running
