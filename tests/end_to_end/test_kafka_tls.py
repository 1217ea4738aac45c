"""Kafka over TLS: users come in encrypted, and only to the broker whose certificate they trust."""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.local.apache import ApacheCluster, cluster, jars, layout
from deploy.local.simulator import publish
from schemas.errors import MustStop
from streams.kafka import topics
from streams.kafka.access import KafkaAccess
from tests.end_to_end import pages
from tests.end_to_end.harness import records

STORE_PASSWORD = "of-this-test-alone"


def keytool(*arguments: str) -> None:
    """Run the key tool that comes with Java."""
    tool = Path(jars.java()).resolve().with_name("keytool")
    subprocess.run([tool, *arguments, "-storepass", STORE_PASSWORD, "-alias", "kafka"], check=True, capture_output=True)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a key with a certificate for 127.0.0.1 alone; return its store, and the certificate as PEM."""
    store, pem = folder / f"{name}.p12", folder / f"{name}.pem"
    keytool(
        "-genkeypair",
        "-keyalg",
        "EC",
        "-dname",
        "CN=kafka",
        "-ext",
        "san=ip:127.0.0.1",
        "-ext",
        "bc:critical=ca:true",
        "-storetype",
        "PKCS12",
        "-keystore",
        str(store),
    )
    keytool("-exportcert", "-rfc", "-keystore", str(store), "-file", str(pem))
    return store, pem


@pytest.fixture(scope="module")
def access(encrypted: tuple[ApacheCluster, Path]) -> KafkaAccess:
    """Return the administrator's access."""
    return access_of(encrypted, "classpulse_admin")


def access_of(encrypted: tuple[ApacheCluster, Path], user: str) -> KafkaAccess:
    """Return the access of a user."""
    broker, pem = encrypted
    return KafkaAccess(broker.bootstrap, "SASL_SSL", user=user, password=broker.users[user], ca_file=str(pem))


@pytest.fixture(scope="module")
def encrypted(apache_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApacheCluster, Path]]:
    """Run a broker with users behind TLS; return it, and the certificate of who signed its own."""
    folder = tmp_path_factory.mktemp("tls")
    store, pem = certificate(folder, "broker")
    encrypted = [f"ssl.keystore.location={store}", "ssl.keystore.type=PKCS12", f"ssl.keystore.password={STORE_PASSWORD}"]

    def properties(found: layout.Layout, number: int, data: Path) -> str:
        text = layout.server_properties(found, number, data).replace("CLIENT:SASL_PLAINTEXT", "CLIENT:SASL_SSL")
        return "\n".join([text, *encrypted]) + "\n"

    broker = ApacheCluster(folder / "cluster", secure=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "server_properties", properties)
        try:
            broker.up()
            yield broker, pem
        finally:
            broker.down()


def test_every_client_comes_in_over_tls(access: KafkaAccess) -> None:
    """The check, the topics and the simulator reach a broker that speaks nothing but TLS."""
    asyncio.run(access.check())
    asyncio.run(topics.create(access.client_options(), topics.declared()))
    assert asyncio.run(publish(access.client_options(), records(100, seed=1))).produced == 100


@pytest.fixture(scope="module")
def device(encrypted: tuple[ApacheCluster, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a vendor's folder with what the district gave it, and its settings, of which the addresses alone differ."""
    broker, pem = encrypted
    folder = tmp_path_factory.mktemp("device")
    (folder / "kafka-password").write_text(broker.users["classpulse_device"] + "\n")
    (folder / "district-ca.pem").write_bytes(pem.read_bytes())
    settings = pages.variables(pages.block(pages.CONNECT, "sh district"), folder)
    assert set(settings["CLASSPULSE_KAFKA"].split(",")) == {"kafka-1.example.org:9093", "kafka-2.example.org:9093"}
    settings["CLASSPULSE_KAFKA"] = broker.bootstrap
    admin = {"CLASSPULSE_KAFKA_USER": "classpulse_admin", "CLASSPULSE_KAFKA_PASSWORD": broker.users["classpulse_admin"]}
    pages.run(["classpulse", "topics", "create", "--acls"], folder, settings | admin)
    return folder, settings


@pytest.mark.parametrize("second", ["java", "kcat"])
def test_the_vendors_page_works_with_users_and_tls(
    encrypted: tuple[ApacheCluster, Path], device: tuple[Path, dict[str, str]], second: str
) -> None:
    """Python, Java and kcat send an event as docs/connect.md says, with a device's rights, to the same partition."""
    folder, settings = device
    if second == "kcat":
        pages.needs_kcat(pages.FOR_SCRAM)
    before = asyncio.run(ends(access_of(encrypted, "classpulse_replay"), "classpulse.classroom"))
    pages.python_device(folder, settings)
    if second == "kcat":
        pages.shell(pages.block(pages.CONNECT, "sh kcat"), folder, settings)
    else:
        pages.java_device(folder, settings)
    after = asyncio.run(ends(access_of(encrypted, "classpulse_replay"), "classpulse.classroom"))
    assert sorted(new - old for old, new in zip(before, after, strict=True)) == [0, 0, 0, 0, 0, 2]
    file = folder / ("kcat.conf" if second == "kcat" else "device.properties")
    assert file.stat().st_mode & 0o077 == 0


async def ends(access: KafkaAccess, topic: str) -> list[int]:
    """Return the end of each partition of a topic."""
    consumer = AIOKafkaConsumer(**access.client_options(), group_id=None)
    await consumer.start()
    try:
        [declared] = [one for one in topics.declared() if one.name == topic]
        places = [TopicPartition(topic, number) for number in range(declared.partitions)]
        consumer.assign(places)
        found = await consumer.end_offsets(places)
        return [found[place] for place in places]
    finally:
        await consumer.stop()


def test_another_certificate_is_not_trusted(access: KafkaAccess, tmp_path: Path) -> None:
    """A broker whose certificate nobody vouches for gets no password; the error names the variable."""
    _store, other = certificate(tmp_path, "other")
    for untrusting in (replace(access, ca_file=str(other)), replace(access, ca_file="")):
        with pytest.raises(MustStop, match="CLASSPULSE_KAFKA_CA_FILE"):
            asyncio.run(untrusting.check())


def test_a_name_that_is_not_in_the_certificate_is_rejected(access: KafkaAccess) -> None:
    """The certificate must be for the address that was asked for."""
    elsewhere = replace(access, bootstrap=access.bootstrap.replace("127.0.0.1", "localhost"))
    with pytest.raises(MustStop, match="reach the broker by a name that is in the certificate"):
        asyncio.run(elsewhere.check())
