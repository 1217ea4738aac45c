"""A worker whose Kafka, group or ClickHouse is away at its start or later: it waits, says so once, and can be stopped."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import faust
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.group import JoinGroupRequest

from streams.kafka.transport import EVENT_TOPICS
from tests.end_to_end.harness import AccountedRig
from tests.faults.kafka_side import GROUP
from tests.lab.chaos import Cut, HalfOpen, Proxy
from tests.lab.rig import WorkerProcess, address_of, wait_until

#: A worker that stands still between its look at Kafka and the start of Faust, until a file appears.
HESITANT = """
import asyncio, os
from pathlib import Path
from streams.cli.program import main
from streams.kafka.watch import KafkaWatch, log

look = KafkaWatch.until_it_lets_in

async def look_and_hesitate(*arguments):
    await look(*arguments)
    log.info("hesitating")
    while not Path(os.environ["GO_ON"]).exists():
        await asyncio.sleep(0.05)

KafkaWatch.until_it_lets_in = look_and_hesitate
main()
"""
#: What a stop takes when nothing is to be written; the machine may be busy.
AT_ONCE_SECONDS = 8.0


def lines(worker: WorkerProcess, words: str) -> list[str]:
    """Return the lines of a worker's log that hold these words."""
    return [line for line in worker.log.read_text().splitlines() if words in line]


def said(worker: WorkerProcess, words: str, times: int = 1) -> None:
    """Wait until a worker's log has so many lines with these words."""
    wait_until(lambda: len(lines(worker, words)) >= times, f"the worker to say {words!r}")


def assert_stops_at_once(worker: WorkerProcess) -> None:
    """A stop ends with status 0, soon, is said in one line, and the whole log is in our format and of our loggers."""
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < AT_ONCE_SECONDS
    assert len(lines(worker, "stopped in order")) == 1
    for line in worker.log.read_text().splitlines():
        _day, _time, level, name, _message = line.split(" ", 4)
        assert level in {"INFO", "WARNING"}, line
        assert name.startswith("classpulse"), line


def test_kafka_is_away_at_the_start(rig: AccountedRig) -> None:
    """Rejected or silent, the worker is live and not ready, says so once, begins when Kafka answers, and can be stopped."""
    with Proxy(address_of(rig.info.kafka_bootstrap), "kafka") as proxy:
        proxy.inject(Cut())
        worker = rig.start_worker(CLASSPULSE_KAFKA=proxy.address)
        said(worker, "waiting for Kafka: no broker answers at")
        assert (worker.status("healthz"), worker.status("readyz")) == (200, 503)
        proxy.heal()
        rig.produce(500)
        rig.assert_invariants()
        assert len(lines(worker, "waiting for Kafka")) == len(lines(worker, "Kafka answers, after")) == 1
        proxy.inject(HalfOpen())
        other = rig.start_worker(CLASSPULSE_KAFKA=proxy.address)
        said(other, "waiting for Kafka: no broker answers at")
        assert (other.status("healthz"), other.status("readyz")) == (200, 503)
        assert_stops_at_once(other)
        said(worker, "waiting for Kafka", 2)
        assert worker.status("healthz") == 200
        proxy.heal()
        said(worker, "Kafka answers, after", 2)
        assert_stops_at_once(worker)


def test_kafka_goes_while_a_worker_starts(rig: AccountedRig, tmp_path: Path) -> None:
    """A broker that goes between the worker's look at it and the consumer's start is waited for."""
    go_on = tmp_path / "go-on"
    with Proxy(address_of(rig.info.kafka_bootstrap), "kafka") as proxy:
        first, second = (
            rig.start_process([sys.executable, "-c", HESITANT, "worker"], CLASSPULSE_KAFKA=proxy.address, GO_ON=str(go_on))
            for _number in range(2)
        )
        said(first, "hesitating")
        said(second, "hesitating")
        proxy.inject(Cut())
        go_on.touch()
        said(first, "waiting for Kafka: no broker answers at")
        said(second, "waiting for Kafka: no broker answers at")
        assert (first.status("healthz"), first.status("readyz")) == (200, 503)
        assert_stops_at_once(second)
        proxy.heal()
        rig.produce(500)
        rig.assert_invariants()
        assert_stops_at_once(first)


def test_clickhouse_is_away_at_the_start(rig: AccountedRig) -> None:
    """The worker is live and not ready, says so once, can be stopped meanwhile, and begins when ClickHouse is back."""
    with Proxy(address_of(rig.info.clickhouse_url), "http") as proxy:
        proxy.inject(HalfOpen())
        stopped = rig.start_worker(CLASSPULSE_CLICKHOUSE_URL=proxy.url, CLASSPULSE_CLICKHOUSE_TIMEOUT_SECONDS="2")
        said(stopped, "waiting for ClickHouse to")
        assert_stops_at_once(stopped)
        proxy.heal()
        proxy.inject(Cut())
        worker = rig.start_worker(CLASSPULSE_CLICKHOUSE_URL=proxy.url, CLASSPULSE_LOG_FORMAT="json")
        said(worker, "waiting for ClickHouse to")
        assert (worker.status("healthz"), worker.status("readyz")) == (200, 503)
        proxy.heal()
        rig.produce(500)
        rig.assert_invariants()
        assert worker.stop() == 0
        entries = [json.loads(line) for line in worker.log.read_text().splitlines()]
        assert all(entry.keys() == {"time", "level", "logger", "message"} for entry in entries)
        told = [entry["message"] for entry in entries if "ClickHouse" in entry["message"]]
        assert len(told) == 2
        assert told[1].startswith("ClickHouse answers, after")


def register_a_member(rig: AccountedRig, session_seconds: int) -> None:
    """Begin to join the workers' group, and be heard of no more: its next rebalance waits for this member."""

    async def run() -> None:
        client = AIOKafkaClient(bootstrap_servers=rig.info.kafka_bootstrap)
        await client.bootstrap()
        try:
            session_ms = session_seconds * 1000
            assignor: Any = faust.App("member", datadir=rig.folder / "member").assignor
            protocols = [(assignor.name, assignor.metadata(EVENT_TOPICS).encode())]
            request = JoinGroupRequest(GROUP, session_ms, session_ms, "", None, "consumer", protocols)
            await client.send(client.get_random_node(), request)
        finally:
            await client.close()

    asyncio.run(run())


def test_a_worker_says_that_its_group_does_not_settle(rig: AccountedRig) -> None:
    """While Kafka waits for a member that is gone, the log names the group, and /readyz for how long a member counts."""
    register_a_member(rig, session_seconds=90)
    worker = rig.start_worker()
    said(worker, f"waiting for the consumer group {GROUP} to settle")
    wait_until(lambda: "Kafka counts 2 members" in worker.page("readyz"), "the worker to name the other member")
    assert "CLASSPULSE_SESSION_TIMEOUT_SECONDS" in worker.page("readyz")
    assert (worker.status("healthz"), worker.status("readyz")) == (200, 503)
    assert_stops_at_once(worker)


def test_a_leader_that_stops_while_its_group_forms_leaves_no_deadlock(rig: AccountedRig) -> None:
    """The embedded broker keeps a leader that leaves in mid-rebalance for ever; so workers there expire instead."""
    leader = rig.start_worker()
    said(leader, "assigned 13 partitions")
    other = rig.start_worker()
    said(other, "assigned 5 partitions")
    register_a_member(rig, session_seconds=6)
    assert_stops_at_once(leader)
    said(other, "assigned 13 partitions")
    rig.produce(500)
    rig.assert_invariants()
