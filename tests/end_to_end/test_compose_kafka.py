"""The Kafka of docker-compose.yml: its settings, given to the image's own start-up program, make a broker with rights."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from deploy.local.apache import jars
from deploy.local.simulator import publish
from deploy.local.stack import broker, processes
from schemas.errors import MustStop
from streams.kafka.access import KafkaAccess
from tests.end_to_end import pages
from tests.end_to_end.harness import records

ROOT = Path(__file__).parents[2]
CLUSTER_ID = "5L6g3nShT-eMCtK--X86sw"


@pytest.fixture(scope="module")
def access(compose: tuple[Path, str]) -> KafkaAccess:
    """Return the access of a device."""
    folder, bootstrap = compose
    device = (folder / "secrets/kafka_device_password").read_text()
    return KafkaAccess(bootstrap, "SASL_PLAINTEXT", "PLAIN", "classpulse_device", device)


@pytest.fixture(scope="module")
def compose(apache_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Start that broker without a container and run Compose's job; return the folder with the secrets, and its address."""
    folder = tmp_path_factory.mktemp("compose-kafka")
    subprocess.run([ROOT / "deploy/docker/make-secrets", folder / "secrets"], check=True, capture_output=True)
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    host, local, controller, inside = (processes.free_port() for _ in range(4))
    # What differs outside of containers: addresses, and where files lie. The container's ports first, for `9092` is both.
    moved = {
        "INTERNAL://:9092,HOST://:19092": f"INTERNAL://127.0.0.1:{inside},HOST://127.0.0.1:{host}",
        "kafka:9092,HOST://127.0.0.1:9092": f"127.0.0.1:{inside},HOST://127.0.0.1:{host}",
        "localhost:9094": f"127.0.0.1:{local}",
        "localhost:9093": f"127.0.0.1:{controller}",
        "/var/lib/kafka": str(folder),
        "/run/secrets": str(folder / "secrets"),
    }
    settings = {}
    for name, value in services["kafka"]["environment"].items():
        for old, new in moved.items():
            value = value.replace(old, new)  # noqa: PLW2901
        settings[name] = value
    environment = {"PATH": os.environ["PATH"], "CLUSTER_ID": CLUSTER_ID, **settings}
    prepare = [
        jars.java(),
        "-cp",
        jars.class_path(),
        "kafka.docker.KafkaDockerWrapper",
        "setup",
        "--default-configs-dir",
        str(folder),
        "--mounted-configs-dir",
        str(folder / "none"),
        "--final-configs-dir",
        str(folder),
    ]
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (folder / name).write_text("")
    prepared = subprocess.run(prepare, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    run = [
        jars.java(),
        *settings["KAFKA_OPTS"].split(),
        "-Xmx256m",
        "-cp",
        jars.class_path(),
        "kafka.Kafka",
        str(folder / "server.properties"),
    ]
    process = processes.spawn("kafka", run, host, folder / "kafka.log", environment)
    try:
        processes.wait_until_ready(process, lambda: broker.answers_metadata(local), 60)
        job = services["topics"]
        client = {name: value for name, value in job["environment"].items() if name.startswith("CLASSPULSE_KAFKA_")}
        made = subprocess.run(
            [sys.executable, "-m", "streams", *job["command"]],
            env={
                **os.environ,
                **client,
                "CLASSPULSE_KAFKA": f"127.0.0.1:{host}",
                "CLASSPULSE_KAFKA_PASSWORD": (folder / "secrets/kafka_admin_password").read_text(),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        yield folder, f"127.0.0.1:{host}"
    finally:
        processes.stop(process, 20)


def test_a_device_publishes_with_the_password_that_make_secrets_made(access: KafkaAccess) -> None:
    """A device's user writes events to the broker that Compose's job has prepared."""
    ledger = asyncio.run(publish(access.client_options(), records(500, seed=1)))
    assert ledger.produced == 500


def test_the_vendors_page_works_against_compose(compose: tuple[Path, str]) -> None:
    """With the exports of docs/connect.md, the page's program and its kcat lines send events."""
    folder, bootstrap = compose
    settings = pages.variables(pages.block(pages.CONNECT, "sh compose"), folder)
    assert settings["CLASSPULSE_KAFKA"] == "127.0.0.1:9092"
    assert settings["CLASSPULSE_CLICKHOUSE_PASSWORD"] == (folder / "secrets/clickhouse_vendor_password").read_text()
    settings["CLASSPULSE_KAFKA"] = bootstrap
    pages.python_device(folder, settings)
    pages.needs_kcat()
    pages.shell(pages.block(pages.CONNECT, "sh kcat"), folder, settings)


def test_without_the_password_nobody_comes_in(access: KafkaAccess) -> None:
    """Another password is rejected by name; a client without any reaches nothing."""
    with pytest.raises(MustStop, match="CLASSPULSE_KAFKA_PASSWORD"):
        asyncio.run(replace(access, password="guessed").check())
    with pytest.raises(MustStop, match="No Kafka answers"):
        asyncio.run(publish(KafkaAccess(access.bootstrap).client_options(), records(1, seed=1)))
