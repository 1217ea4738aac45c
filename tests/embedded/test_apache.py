"""Apache Kafka as local processes: started, killed, restarted, one of three lost; what is said when it cannot be had."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.apache import ApacheCluster, jars
from deploy.local.clickhouse.errors import StackError
from deploy.local.stack import stack
from deploy.local.stack.stack import KAFKA
from streams.kafka.topics import Topic, create
from tests.lab.rig import wait_until

TOPIC = Topic("classpulse.test", 1, {})
PLACE = TopicPartition(TOPIC.name, 0)

pytestmark = pytest.mark.usefixtures("apache_installed")


async def send(bootstrap: str, *values: bytes) -> None:
    """Produce with acks=all, one by one."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(TOPIC.name, value, partition=0)
    finally:
        await producer.stop()


async def receive(bootstrap: str, count: int) -> list[bytes | None]:
    """Read so many records from the beginning."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        consumer.assign([PLACE])
        return [(await asyncio.wait_for(consumer.getone(), 30)).value for _ in range(count)]
    finally:
        await consumer.stop()


@pytest.fixture
def single(tmp_path: Path) -> Iterator[ApacheCluster]:
    """One broker of the test's own, with the topic."""
    cluster = ApacheCluster(tmp_path / "cluster")
    try:
        cluster.up()
        asyncio.run(create(cluster.bootstrap, [TOPIC]))
        yield cluster
    finally:
        cluster.down()


def test_session_broker_answers_and_up_is_idempotent(apache: ApacheCluster) -> None:
    """The shared broker is healthy, and a second up finds the same process."""
    before = apache.status
    assert before.healthy
    assert apache.up() == apache.bootstrap
    assert [part.pid for part in apache.status.brokers] == [part.pid for part in before.brokers]


def test_killed_broker_keeps_its_records_and_ports(single: ApacheCluster) -> None:
    """Acknowledged records are there after SIGKILL and a start, at the same address."""
    bootstrap = single.bootstrap
    asyncio.run(send(bootstrap, b"one", b"two"))
    single.kill(1, signal.SIGKILL)
    assert single.status.brokers[0].state == "dead"
    single.start(1)
    assert single.bootstrap == bootstrap
    asyncio.run(send(bootstrap, b"three"))
    assert asyncio.run(receive(bootstrap, 3)) == [b"one", b"two", b"three"]


def test_stopped_broker_is_found_again_from_its_folder(single: ApacheCluster) -> None:
    """Another process needs the folder alone to start the cluster with its data, and cannot make it another cluster."""
    bootstrap = single.bootstrap
    asyncio.run(send(bootstrap, b"kept"))
    single.down()
    assert single.status.brokers[0].state == "stopped"
    with pytest.raises(StackError, match="holds a cluster of 1 brokers, not 3"):
        ApacheCluster(single.folder, 3).up()
    again = ApacheCluster.found(single.folder)
    assert again is not None
    assert again.up() == bootstrap
    assert asyncio.run(receive(bootstrap, 1)) == [b"kept"]


def test_paused_broker_is_running_and_silent(single: ApacheCluster) -> None:
    """SIGSTOP shows in the status, SIGCONT ends it."""
    single.kill(1, signal.SIGSTOP)
    try:
        # Its threads stop one by one.
        wait_until(lambda: not single.status.brokers[0].answering, "the broker to fall silent")
        assert single.status.brokers[0].state == "running"
    finally:
        single.kill(1, signal.SIGCONT)
    wait_until(lambda: single.status.healthy, "the broker to answer again")


def test_three_brokers_survive_the_loss_of_one(tmp_path: Path) -> None:
    """With three copies, writes with acks=all go on while any one broker is dead, and nothing acknowledged is lost."""
    cluster = ApacheCluster(tmp_path / "cluster", brokers=3)
    try:
        bootstrap = cluster.up()
        asyncio.run(create(bootstrap, [TOPIC], cluster.replication))
        asyncio.run(send(bootstrap, b"all three"))
        cluster.kill(1, signal.SIGKILL)
        asyncio.run(send(bootstrap, b"without 1"))
        cluster.start(1)
        asyncio.run(wait_for_copies(bootstrap, 3))
        cluster.kill(2, signal.SIGKILL)
        asyncio.run(send(bootstrap, b"without 2"))
        assert asyncio.run(receive(bootstrap, 3)) == [b"all three", b"without 1", b"without 2"]
    finally:
        cluster.down()
    assert [part.state for part in cluster.status.brokers] == ["stopped"] * 3


async def wait_for_copies(bootstrap: str, count: int) -> None:
    """Wait until so many copies of the partition are in sync."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        async with asyncio.timeout(60):
            while True:
                metadata = await producer.client.fetch_all_metadata()
                partition = metadata._partitions[TOPIC.name][0]
                if len(partition.isr) == count:
                    return
                await asyncio.sleep(0.1)
    finally:
        await producer.stop()


def test_missing_java_is_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java nothing starts; the error says what to install, and that the embedded broker needs none."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(StackError, match=r"needs Java.*install a Java runtime 17.*--broker embedded"):
        ApacheCluster(tmp_path).up()


def test_missing_maven_is_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Maven and without jars from before, the error says what to install."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(StackError, match=r"no `mvn`: install it.*--broker embedded"):
        jars.class_path()
    assert not list(tmp_path.glob("classpulse/kafka-*[0-9a-f]"))


def test_old_java_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Java that cannot run Kafka 4 is named with its version before anything starts."""
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match=r"needs Java 17, and .* is Java 11"):
        jars.java()


def dev(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does."""
    environment = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [sys.executable, "-m", "streams", "dev", *arguments, "--folder", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )


def test_dev_commands_run_a_stack_on_apache(tmp_path: Path) -> None:
    """`dev up --broker apache` is remembered by status, up and down, and its topics outlive a restart."""
    ports = ("--kafka-port", "0", "--clickhouse-port", "0")
    try:
        first = dev(tmp_path, "up", "--broker", "apache", *ports)
        assert first.returncode == 0, first.stderr
        shown = dev(tmp_path, "status")
        assert shown.returncode == 0
        assert "apache" in shown.stdout
        assert "SESSION_TIMEOUT" not in dev(tmp_path, "env").stdout
        info = stack.info(tmp_path)
        assert (info.broker, info.replication) == ("apache", 1)
        stack.kill(tmp_path, KAFKA)
        assert dev(tmp_path, "status").returncode == 1
        stack.start_broker(tmp_path)
        assert stack.info(tmp_path).kafka_bootstrap == info.kafka_bootstrap
        assert asyncio.run(create(info.kafka_bootstrap, [TOPIC])) == [TOPIC.name]
        assert dev(tmp_path, "down").returncode == 0
        assert dev(tmp_path, "status").returncode == 1
        assert "holds an Apache Kafka" in dev(tmp_path, "up", "--broker", "embedded", *ports).stderr
        assert dev(tmp_path, "up", *ports).returncode == 0
        assert asyncio.run(create(info.kafka_bootstrap, [TOPIC])) == []
    finally:
        stack.down(tmp_path)


def test_dev_up_without_java_ends_with_the_remedy(tmp_path: Path) -> None:
    """The command ends with status 2 and one line that says what to install."""
    answer = dev(tmp_path, "up", "--broker", "apache", "--kafka-port", "0", "--clickhouse-port", "0", path="")
    assert answer.returncode == 2
    assert "install a Java runtime 17" in answer.stderr
    assert "Traceback" not in answer.stderr
