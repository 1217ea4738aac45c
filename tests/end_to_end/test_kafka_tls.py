"""Kafka over TLS: users come in encrypted, and only to the broker whose certificate they trust."""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.apache import ApacheCluster, cluster, jars, layout
from deploy.local.simulator import publish
from schemas.errors import MustStop
from streams.kafka import topics
from streams.kafka.access import KafkaAccess
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
        "-genkeypair", "-keyalg", "EC", "-dname", "CN=kafka", "-ext", "san=ip:127.0.0.1", "-ext", "bc:critical=ca:true",
        "-storetype", "PKCS12", "-keystore", str(store),
    )  # fmt: skip
    keytool("-exportcert", "-rfc", "-keystore", str(store), "-file", str(pem))
    return store, pem


@pytest.fixture(scope="module")
def access(apache_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaAccess]:
    """Run a broker with users behind TLS; return its administrator's access."""
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
            admin = "classpulse_admin"
            yield KafkaAccess(broker.bootstrap, "SASL_SSL", user=admin, password=broker.users[admin], ca_file=str(pem))
        finally:
            broker.down()


def test_every_client_comes_in_over_tls(access: KafkaAccess) -> None:
    """The check, the topics and the simulator reach a broker that speaks nothing but TLS."""
    asyncio.run(access.check())
    asyncio.run(topics.create(access.client_options(), topics.declared()))
    assert asyncio.run(publish(access.client_options(), records(100, seed=1))).produced == 100


def test_another_certificate_is_not_trusted(access: KafkaAccess, tmp_path: Path) -> None:
    """A broker whose certificate nobody vouches for gets no password; the error names the variable."""
    _store, other = certificate(tmp_path, "other")
    for untrusting in (replace(access, ca_file=str(other)), replace(access, ca_file="")):
        with pytest.raises(MustStop, match="CLASSPULSE_KAFKA_CA_FILE"):
            asyncio.run(untrusting.check())


def test_a_name_that_is_not_in_the_certificate_is_refused(access: KafkaAccess) -> None:
    """The certificate must be for the address that was asked for."""
    elsewhere = replace(access, bootstrap=access.bootstrap.replace("127.0.0.1", "localhost"))
    with pytest.raises(MustStop, match="reach the broker by a name that is in the certificate"):
        asyncio.run(elsewhere.check())
