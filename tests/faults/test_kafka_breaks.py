"""Faults 14 to 19: brokers die, partitions move under a write, topics are recreated."""

import signal
import time
from collections.abc import Callable

import pytest

from deploy.local.apache import ApacheCluster
from deploy.local.stack import stack
from tests.end_to_end.harness import wait_until
from tests.faults.broken_town import CLASSROOM, BrokenTown, event
from tests.faults.kafka_side import delete_records, delete_topics, members
from tests.lab.chaos import Cut, Delay, Freeze, HalfOpen, Proxy, inserts_into


def test_fault_14_a_broker_is_killed_and_restarted(town: BrokenTown) -> None:
    """A broker that dies and comes back with its records is found again, without a restart of the worker."""
    worker = town.start_worker()
    produced = town.produce(10_000).produced
    town.wait_for_checkpoints(produced // 4)
    stack.kill(town.folder, stack.KAFKA)
    stack.start_broker(town.folder)
    town.produce(3_000, seed=2)
    town.assert_laws()
    assert worker.running


def test_fault_14_one_of_three_brokers_is_lost(new_town: Callable[..., BrokenTown]) -> None:
    """Two of three brokers are enough to go on."""
    town = new_town(brokers=3)
    worker = town.start_worker()
    produced = town.produce(6_000).produced
    town.wait_for_checkpoints(produced // 4)
    town.produce(3_000, seed=2)
    cluster = ApacheCluster.found(town.folder / "apache")
    assert cluster is not None
    cluster.kill(2, signal.SIGKILL)
    town.assert_laws()
    assert worker.running


def test_fault_14_the_way_to_kafka_breaks(town: BrokenTown, kafka_proxy: Proxy) -> None:
    """Connections that are cut, silent or slow cost time and nothing else."""
    worker = town.start_worker()
    produced = town.produce(6_000).produced
    town.wait_for_checkpoints(produced // 4)
    kafka_proxy.inject(Cut())
    town.produce(3_000, seed=2)
    wait_until(lambda: members(town) == 0, "Kafka to give the worker up")
    kafka_proxy.heal()
    wait_until(lambda: members(town) == 1, "the worker to join again")
    silent = kafka_proxy.inject(HalfOpen())
    town.produce(3_000, seed=3)
    silent.wait(10)
    wait_until(lambda: members(town) == 0, "Kafka to give the worker up")
    kafka_proxy.heal()
    kafka_proxy.inject(Delay(100, 100))
    town.assert_laws()
    assert worker.running


def test_fault_15_a_commit_is_rejected(town: BrokenTown, clickhouse_proxy: Proxy) -> None:
    """A commit of a generation that has passed has no effect on what is stored."""
    worker = town.start_worker(CLASSPULSE_WORKER_NAME="slow")
    produced = town.produce(8_000).produced
    town.wait_for_checkpoints(produced // 4)
    stale = clickhouse_proxy.inject(Freeze(worker.pause, "after", go_on=True), when=inserts_into("checkpoints"), times=1)
    assert stale.wait(60)
    wait_until(lambda: members(town) == 0, "Kafka to give the paused worker up")
    town.start_worker()
    wait_until(lambda: members(town) == 1, "another worker to join")
    worker.go_on()
    wait_until(lambda: members(town) == 2, "the paused worker to join again")
    town.produce(3_000, seed=2)
    town.assert_laws()
    assert worker.metric("classpulse_commit_failures_total") >= 1
    assert worker.running


def test_fault_16_partitions_move_during_a_flush(town: BrokenTown, clickhouse_proxy: Proxy) -> None:
    """A worker joins and one leaves while writes are under way: nothing is lost and nothing counts twice."""
    first = town.start_worker()
    clickhouse_proxy.inject(Delay(300, 200), when=inserts_into("events_classroom"))
    produced = town.produce(10_000).produced
    town.wait_for_checkpoints(produced // 10)
    second = town.start_worker()
    wait_until(lambda: members(town) == 2, "a second worker to join")
    town.produce(4_000, seed=2)
    third = town.start_worker()
    wait_until(lambda: members(town) == 3, "a third worker to join")
    assert first.stop() == 0
    town.produce(4_000, seed=3)
    second.kill()
    clickhouse_proxy.heal()
    town.assert_laws()
    assert third.running


@pytest.mark.parametrize("table", ["metric_rows", "checkpoints"])
def test_fault_17_a_paused_worker_comes_back(town: BrokenTown, clickhouse_proxy: Proxy, table: str) -> None:
    """A worker stopped in the middle of a write, whose partitions moved meanwhile, finishes it and loses."""
    paused = town.start_worker()
    produced = town.produce(8_000).produced
    town.wait_for_checkpoints(produced // 4)
    stopping = clickhouse_proxy.inject(Freeze(paused.pause, "before", go_on=True), when=inserts_into(table), times=1)
    assert stopping.wait(60)
    wait_until(lambda: members(town) == 0, "Kafka to give the paused worker up")
    town.start_worker()
    town.produce(3_000, seed=2)
    town.wait_for_checkpoints(town.produced()[0])
    paused.go_on()
    town.produce(2_000, seed=3)
    town.assert_laws()
    assert paused.running


def test_fault_18_one_record_then_silence_then_a_burst(town: BrokenTown) -> None:
    """One record alone is stored at once, and a burst after a silence too."""
    town.start_worker()
    town.publish([event(0)])
    town.assert_laws()
    wait_until(lambda: members(town) == 1, "the worker to idle")
    town.publish([event(number) for number in range(1, 3_000)])
    town.assert_laws()


@pytest.mark.parametrize("again", [100, 900])
def test_fault_19_a_topic_is_recreated_under_a_worker(town: BrokenTown, again: int) -> None:
    """A topic that is deleted and made anew while it is read begins a new epoch, be it shorter or longer than it was."""
    worker = town.start_worker()
    town.publish([event(number) for number in range(400)])
    town.wait_for_checkpoints(400)
    delete_topics(town, CLASSROOM)
    town.create_topics()
    town.publish([event(number) for number in range(1_000, 1_000 + again)])
    town.assert_laws()
    assert worker.running
    assert worker.metric("classpulse_new_epochs_total") >= 1
    assert town.admin.query(f"SELECT max(epoch) FROM checkpoints FINAL WHERE topic = '{CLASSROOM}'").result_rows[0][0] == 1


def test_fault_19_a_topic_is_recreated_after_a_write_was_cut_short(town: BrokenTown, clickhouse_proxy: Proxy) -> None:
    """What was stored above the last checkpoint of a topic that is gone is counted, and its metrics are right."""
    town.publish([event(number) for number in range(300)])
    worker = town.start_worker()
    town.wait_for_checkpoints(300)
    killing = clickhouse_proxy.inject(Freeze(worker.kill, "after"), when=inserts_into("events_classroom"), times=1)
    town.publish([event(number) for number in range(300, 500)])
    assert killing.wait(60)
    wait_until(lambda: not worker.running, "the worker to be dead")
    clickhouse_proxy.heal()
    kept = {row[0] for row in town.admin.query("SELECT id FROM events_classroom FINAL").result_rows}
    assert len(kept) > 300
    delete_topics(town, CLASSROOM)
    town.create_topics()
    # The rest of what was produced is gone with the topic, and was never read.
    town.forget(town.produced()[0] - len(kept), kept)
    town.publish([event(number) for number in range(1_000, 1_050)])
    town.start_worker()
    town.assert_laws()


def test_fault_19_a_log_is_truncated_by_retention(town: BrokenTown) -> None:
    """Records deleted before they were read are reported, and what is left is stored."""
    first = town.start_worker()
    town.publish([event(number) for number in range(200)])
    town.wait_for_checkpoints(200)
    first.kill()
    lost = [event(number) for number in range(200, 300)]
    town.publish(lost)
    partitions = town.admin.query(f"SELECT partition, next_offset FROM checkpoints FINAL WHERE topic = '{CLASSROOM}'")
    number, read = next((row[0], row[1]) for row in partitions.result_rows if row[1])
    delete_records(town, CLASSROOM, {number: read + 100})
    town.forget(100, {f"e{kept}" for kept in range(200)})
    town.publish([event(number) for number in range(300, 350)])
    worker = town.start_worker()
    town.assert_laws()
    assert worker.metric("classpulse_new_epochs_total") == 1


def test_fault_19_everything_unread_is_deleted_under_a_worker(town: BrokenTown) -> None:
    """All that was not read is deleted, up to the log's end: no record will ever tell, and the worker notices."""
    worker = town.start_worker()
    town.publish([event(number) for number in range(50)])
    town.assert_laws()
    partitions = town.admin.query(f"SELECT partition, next_offset FROM checkpoints FINAL WHERE topic = '{CLASSROOM}'")
    number, read = next((row[0], row[1]) for row in partitions.result_rows if row[1])
    worker.pause()
    # A fetch that Kafka has already taken would be answered with the records: FETCH_WAIT_MS at most.
    time.sleep(0.5)
    town.publish([event(number) for number in range(50, 80)])
    delete_records(town, CLASSROOM, {number: read + 30})
    town.forget(30, {f"e{kept}" for kept in range(50)})
    worker.go_on()
    wait_until(lambda: worker.metric("classpulse_new_epochs_total") == 1, "the deletion to be noticed")
    wait_until(lambda: worker.metric("classpulse_lag_records") == 0, "the lag to end")
    town.publish([event(number) for number in range(80, 90)])
    town.assert_laws()
    assert worker.running
