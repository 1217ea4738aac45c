"""docker-compose.yml: what must hold whatever else is changed in it."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from streams.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
JOBS = ("migrate", "topics")
LASTING = tuple(name for name in SERVICES if name not in JOBS)
OF_CLASSPULSE = ("migrate", "topics", "worker", "evaluator")
every_service = pytest.mark.parametrize("name", SERVICES)
every_lasting_service = pytest.mark.parametrize("name", LASTING)


def seconds(duration: str) -> int:
    """Return a duration such as ``30s`` in seconds."""
    number, unit = re.fullmatch(r"(\d+)([sm])", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"s": 1, "m": 60}[unit]


def secret_targets(name: str) -> set[str]:
    """Return the file names under which a service finds its secrets."""
    return {secret if isinstance(secret, str) else secret["target"] for secret in SERVICES[name].get("secrets", [])}


def test_the_parts_of_the_production_stack_are_there() -> None:
    """Kafka, ClickHouse, the two jobs, workers, the evaluator, Prometheus and Grafana."""
    assert set(SERVICES) == {"kafka", "clickhouse", "migrate", "topics", "worker", "evaluator", "prometheus", "grafana"}


@every_service
def test_images_are_pinned_to_a_full_version(name: str) -> None:
    """No image moves by itself: each tag names a version of three numbers or more."""
    assert re.search(r":v?\d+\.\d+\.\d+(\.\d+)*$", SERVICES[name]["image"]), SERVICES[name]["image"]


@pytest.mark.parametrize("name", OF_CLASSPULSE)
def test_our_image_carries_the_version_of_the_project(name: str) -> None:
    """The tag of our own image is the version in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert SERVICES[name]["image"] == f"classpulse:{project['version']}"


@every_service
def test_ports_are_published_on_loopback_alone(name: str) -> None:
    """Nothing listens on an address that another machine reaches."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_workers_publish_no_port() -> None:
    """Any number of workers can run on one host."""
    assert "ports" not in SERVICES["worker"]
    assert "container_name" not in SERVICES["worker"]


@every_service
def test_no_password_stands_in_the_file(name: str) -> None:
    """What sounds like a secret is the path of a secret's file."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|TOKEN|_KEY", variable):
            assert value.startswith("/run/secrets"), variable


def test_every_secret_is_a_file_that_make_secrets_creates(tmp_path: Path) -> None:
    """After deploy/docker/make-secrets nothing that Compose mounts is missing, and nothing it makes is unused."""
    subprocess.run([ROOT / "deploy/docker/make-secrets", tmp_path / "secrets"], check=True, capture_output=True)
    mounted = {Path(secret["file"]) for secret in COMPOSE["secrets"].values()}
    made = {Path("secrets") / path.name for path in (tmp_path / "secrets").iterdir() if path.name != ".gitignore"}
    assert mounted == made


@every_lasting_service
def test_lasting_services_have_a_health_check(name: str) -> None:
    """Compose and people can ask each service whether it is well."""
    assert SERVICES[name]["healthcheck"]["test"]
    assert seconds(SERVICES[name]["healthcheck"]["timeout"]) <= seconds(SERVICES[name]["healthcheck"]["interval"])


def test_workers_start_after_everything_they_need() -> None:
    """A worker finds its topics, its tables and both servers."""
    assert {name: needed["condition"] for name, needed in SERVICES["worker"]["depends_on"].items()} == {
        "kafka": "service_healthy",
        "clickhouse": "service_healthy",
        "migrate": "service_completed_successfully",
        "topics": "service_completed_successfully",
    }


@pytest.mark.parametrize("name", JOBS)
def test_jobs_run_once(name: str) -> None:
    """A job that failed stays failed, so that the workers do not start on half a database."""
    assert SERVICES[name]["restart"] == "no"


@every_lasting_service
def test_lasting_services_come_back(name: str) -> None:
    """A service that ended is started again unless a person stopped it."""
    assert SERVICES[name]["restart"] == "unless-stopped"


@every_service
def test_memory_processes_and_logs_are_bounded(name: str) -> None:
    """No service can take the host's memory, process table or disk of logs."""
    assert set(SERVICES[name]["deploy"]["resources"]["limits"]) == {"memory", "pids"}
    assert set(SERVICES[name]["logging"]["options"]) == {"max-size", "max-file"}


@every_service
def test_rights_are_dropped(name: str) -> None:
    """Every capability is dropped, none can be gained, and none that matters is added back."""
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service.get("cap_add", [])) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    assert not {"privileged", "network_mode", "pid", "ipc"} & set(service)


@pytest.mark.parametrize("name", OF_CLASSPULSE)
def test_our_containers_write_nowhere(name: str) -> None:
    """The root file system of our own image is read-only."""
    assert SERVICES[name]["read_only"] is True


@pytest.mark.parametrize("name", OF_CLASSPULSE)
def test_our_services_set_only_settings_that_exist(name: str) -> None:
    """A misspelt variable would be ignored in silence."""
    known = {PREFIX + field.upper() for field in Settings.model_fields} | {PREFIX + "SECRETS_DIR"}
    assert set(SERVICES[name]["environment"]) <= known


@pytest.mark.parametrize("name", OF_CLASSPULSE)
def test_our_secrets_are_files_named_like_secret_settings(name: str) -> None:
    """A secret whose file has another name would never be read."""
    secret = {(PREFIX + field).lower() for field, info in Settings.model_fields.items() if info.annotation is SecretStr}
    assert secret_targets(name) <= secret


def test_each_service_gets_the_secrets_it_needs_and_no_other() -> None:
    """No service can read the password of a user whose rights it does not need."""
    sources = {
        name: {secret if isinstance(secret, str) else secret["source"] for secret in service.get("secrets", [])}
        for name, service in SERVICES.items()
    }
    assert sources == {
        "kafka": {"kafka_users"},
        "clickhouse": {"clickhouse_passwords"},
        "migrate": {"clickhouse_admin_password"},
        "topics": {"kafka_admin_password"},
        "worker": {"kafka_worker_password", "clickhouse_worker_password", "pseudonym_key"},
        "evaluator": {"clickhouse_evaluator_password"},
        "prometheus": set(),
        "grafana": {"grafana_admin_password", "clickhouse_reader_password"},
    }


def test_workers_are_given_time_to_stop() -> None:
    """Docker kills a worker only well after its own budget for an orderly stop."""
    worker = SERVICES["worker"]
    budget_seconds = float(worker["environment"]["CLASSPULSE_SHUTDOWN_SECONDS"])
    assert seconds(worker["stop_grace_period"]) >= budget_seconds + 5


def test_kafka_makes_no_topic_by_itself() -> None:
    """A misspelt topic fails instead of being created with one partition."""
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_what_is_mounted_exists() -> None:
    """Docker would make an empty folder of a misspelt path."""
    sources = [
        volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", []) if volume[0] == "."
    ]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_data_outlives_the_containers() -> None:
    """What must be kept lies in named volumes, each mounted by exactly one service."""
    mounted = [
        volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", []) if volume[0] != "."
    ]
    assert sorted(mounted) == sorted(COMPOSE["volumes"])


def compose_is_installed() -> bool:
    """Whether the docker command has its compose plugin."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not compose_is_installed(), reason="the docker command has no compose plugin here")
def test_compose_accepts_the_file() -> None:
    """Docker Compose itself reads the file without an error or a warning."""
    checked = subprocess.run(
        ["docker", "compose", "--file", ROOT / "docker-compose.yml", "config", "--quiet"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
