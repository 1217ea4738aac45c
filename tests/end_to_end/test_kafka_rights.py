"""Apache Kafka with users and rights: everybody can do their work, and nothing else."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from deploy.local.apache import ApacheCluster
from deploy.local.simulator import publish
from sinks.clickhouse.client import Target, connect
from streams.kafka.access import KafkaAccess
from streams.kafka.topics import DEAD_LETTER_TOPIC, declared
from tests.end_to_end.harness import records
from tests.lab.rig import wait_until

EVENTS = 2_000


def settings_of(cluster: ApacheCluster, user: str) -> dict[str, str]:
    """Return the settings of one user."""
    return {
        "CLASSPULSE_KAFKA": cluster.bootstrap,
        "CLASSPULSE_KAFKA_SECURITY": "SASL_PLAINTEXT",
        "CLASSPULSE_KAFKA_USER": user,
        "CLASSPULSE_KAFKA_PASSWORD": cluster.users[user],
    }


def access_of(cluster: ApacheCluster, user: str) -> KafkaAccess:
    """Return the access of one user."""
    return KafkaAccess(cluster.bootstrap, "SASL_PLAINTEXT", user=user, password=cluster.users[user])


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def secure(apache_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheCluster]:
    """Run a broker that checks rights, with the topics and the rights of the declaration, made by its administrator."""
    cluster = ApacheCluster(tmp_path_factory.mktemp("secure"), secure=True)
    try:
        cluster.up()
        made = run("topics", "create", "--acls", **settings_of(cluster, "classpulse_admin"))
        assert made.returncode == 0, made.stderr
        yield cluster
    finally:
        cluster.down()


def worker_settings(cluster: ApacheCluster, database: Target) -> dict[str, str]:
    """Return the settings of a worker on the secure broker."""
    return {
        **settings_of(cluster, "classpulse_worker"),
        "CLASSPULSE_CLICKHOUSE_URL": database.url,
        "CLASSPULSE_CLICKHOUSE_USER": database.user,
        "CLASSPULSE_CLICKHOUSE_PASSWORD": database.password,
        "CLASSPULSE_CLICKHOUSE_DATABASE": database.database,
        "CLASSPULSE_PSEUDONYM_KEY": "0123456789abcdef0123456789abcdef",
        "CLASSPULSE_WEB_PORT": "0",
    }


def test_worker_with_its_own_rights_stores_what_a_device_sends(
    secure: ApacheCluster, database: Target, tmp_path: Path
) -> None:
    """Every record of a device's user is accounted for by a worker's user; rejected ones are in the dead-letter topic."""
    device = access_of(secure, "classpulse_device")
    ledger = asyncio.run(publish(device.client_options(), records(EVENTS, seed=1)))
    client = connect(database)
    counters = "SELECT sum(consumed), sum(stored), sum(duplicates), sum(dead_letters) FROM checkpoints FINAL"
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "streams", "worker"],
            env={**os.environ, **worker_settings(secure, database)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:

        def all_consumed() -> bool:
            assert worker.poll() is None, log.read_text()[-3000:]
            return bool(client.query(counters).result_rows[0][0] >= ledger.produced)

        wait_until(all_consumed, f"{ledger.produced} records checkpointed; {log}")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait(10)
    expected = (ledger.produced, ledger.stored, ledger.duplicates, ledger.dead_letters)
    assert client.query(counters).result_rows[0] == expected
    client.close()
    assert ledger.dead_letters > 0
    letters = asyncio.run(read(access_of(secure, "classpulse_replay"), DEAD_LETTER_TOPIC, ledger.dead_letters))
    assert letters == ledger.dead_letters


async def read(access: KafkaAccess, topic: str, count: int) -> int:
    """Read so many records of partition 0 from the beginning; return how many came."""
    consumer = AIOKafkaConsumer(**access.client_options(), auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        found = 0
        while found < count:
            await asyncio.wait_for(consumer.getone(), 20)
            found += 1
        return found
    finally:
        await consumer.stop()


async def write(access: KafkaAccess, topic: str) -> None:
    """Write one record."""
    producer = AIOKafkaProducer(**access.client_options(), acks="all", request_timeout_ms=5_000)
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"{}", partition=0)
    finally:
        await producer.stop()


def test_device_reads_no_event(secure: ApacheCluster) -> None:
    """A device's user gets no record of the topics that it writes."""
    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(read(access_of(secure, "classpulse_device"), "classpulse.classroom", 1))


def test_device_does_not_even_see_the_dead_letters(secure: ApacheCluster) -> None:
    """To a device's user the broker has the event topics alone; to a replaying person it has all."""

    async def visible(user: str) -> set[str]:
        admin = AIOKafkaAdminClient(**access_of(secure, user).client_options())
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()

    everything = {topic.name for topic in declared()}
    assert asyncio.run(visible("classpulse_device")) == everything - {DEAD_LETTER_TOPIC}
    assert asyncio.run(visible("classpulse_replay")) == everything


@pytest.mark.parametrize(
    ("user", "topic"), [("classpulse_device", DEAD_LETTER_TOPIC), ("classpulse_worker", "classpulse.classroom")]
)
def test_nobody_writes_where_it_is_not_their_work(secure: ApacheCluster, user: str, topic: str) -> None:
    """A device forges no dead letter, a worker no event."""
    with pytest.raises(KafkaError) as rejected:
        asyncio.run(write(access_of(secure, user), topic))
    assert isinstance(rejected.value, TopicAuthorizationFailedError)


def test_worker_creates_no_topics(secure: ApacheCluster) -> None:
    """A lasting process has no right to grant rights: one line, no traceback."""
    answer = run("topics", "create", "--acls", **settings_of(secure, "classpulse_worker"))
    assert answer.returncode == 2
    assert "may not grant rights" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"CLASSPULSE_KAFKA_USER": "classpulse_device"}, f"not see {DEAD_LETTER_TOPIC}"),
        ({"CLASSPULSE_GROUP": "another"}, "out of the group another"),
    ],
)
def test_worker_without_its_rights_says_which(
    secure: ApacheCluster, database: Target, changed: dict[str, str], said: str
) -> None:
    """A worker that may not see a topic, or not join its group, ends at once with what to grant."""
    settings = {**worker_settings(secure, database), **changed}
    settings["CLASSPULSE_KAFKA_PASSWORD"] = secure.users[settings["CLASSPULSE_KAFKA_USER"]]
    answer = run("worker", **settings)
    assert answer.returncode == 2
    assert said in answer.stderr
    assert "streams/kafka/acls.yaml" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("command", [("worker",), ("topics", "create"), ("simulate", "--events", "10")])
def test_wrong_password_ends_every_command_with_the_variable_to_correct(
    secure: ApacheCluster, database: Target, command: tuple[str, ...]
) -> None:
    """Exit status 2 and one line that names CLASSPULSE_KAFKA_PASSWORD; neither a traceback nor the password."""
    answer = run(*command, **{**worker_settings(secure, database), "CLASSPULSE_KAFKA_PASSWORD": "wrong-password"})
    assert answer.returncode == 2
    assert "Correct CLASSPULSE_KAFKA_PASSWORD" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "wrong-password" not in answer.stdout + answer.stderr
