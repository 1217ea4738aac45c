"""The image and the secrets it reads."""

import hashlib
import re
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from streams import settings

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy/docker/Dockerfile").read_text(encoding="utf-8")
MAKE_SECRETS = ROOT / "deploy/docker/make-secrets"
PASSWORDS = tuple(f"clickhouse_{user}_password" for user in ("admin", "worker", "evaluator", "reader", "vendor"))


def make_secrets(folder: Path) -> dict[str, bytes]:
    """Run the script; return each file's content."""
    subprocess.run([MAKE_SECRETS, folder], check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_image_is_built_on_pinned_bases_and_runs_as_nobody_in_particular() -> None:
    """Both stages name a full version; the process is a user by number, and not root."""
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:3.11.15-slim-bookworm"] * 2
    assert re.search(r"^USER ([1-9]\d*):([1-9]\d*)$", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["classpulse"]' in DOCKERFILE


def test_every_stage_copies_what_the_build_may_see() -> None:
    """What the image copies is allowed by .dockerignore, and everything else is shut out first."""
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]}
    assert copied == allowed


def test_secrets_are_random_and_shut_in(tmp_path: Path) -> None:
    """Each is 32 random bytes in hex, in a folder that its owner alone may enter and that git ignores."""
    made = make_secrets(tmp_path / "secrets")
    hexadecimal = [made[name].decode() for name in (*PASSWORDS, "grafana_admin_password", "pseudonym_key")]
    assert all(re.fullmatch(r"[0-9a-f]{64}", secret) for secret in hexadecimal)
    assert len(set(hexadecimal)) == len(hexadecimal)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert made[".gitignore"] == b"*\n"


def test_secrets_can_be_read_by_a_container_that_is_not_root(tmp_path: Path) -> None:
    """Compose mounts each file with its mode, so every user may read it there and none may write it."""
    make_secrets(tmp_path / "secrets")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()}
    modes.pop(".gitignore")
    assert set(modes.values()) == {0o444}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """No secret is ever overwritten."""
    assert make_secrets(tmp_path / "secrets") == make_secrets(tmp_path / "secrets")


def test_a_removed_password_is_renewed_with_its_hash(tmp_path: Path) -> None:
    """Changing a password is removing its file and running the script again; ClickHouse's hashes follow."""
    before = make_secrets(tmp_path / "secrets")
    (tmp_path / "secrets/clickhouse_reader_password").unlink()
    after = make_secrets(tmp_path / "secrets")
    assert {name for name in before if before[name] != after[name]} == {
        "clickhouse_reader_password",
        "clickhouse_passwords.xml",
    }
    users = ET.fromstring(after["clickhouse_passwords.xml"]).find("users")
    assert users is not None
    assert {user.tag: user.findtext("password_sha256_hex") for user in users} == {
        name.replace("clickhouse", "classpulse").removesuffix("_password"): hashlib.sha256(after[name]).hexdigest()
        for name in PASSWORDS
    }


def test_settings_read_the_mounted_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files named as docker-compose.yml names them become the worker's password and key."""
    made = make_secrets(tmp_path / "secrets")
    mounted = tmp_path / "run"
    mounted.mkdir()
    (mounted / "classpulse_clickhouse_password").write_bytes(made["clickhouse_worker_password"])
    (mounted / "classpulse_pseudonym_key").write_bytes(made["pseudonym_key"])
    for variable in ("CLASSPULSE_CLICKHOUSE_PASSWORD", "CLASSPULSE_PSEUDONYM_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CLASSPULSE_SECRETS_DIR", str(mounted))
    read = settings.load_for_admin(None, "CLASSPULSE_CLICKHOUSE_PASSWORD")
    assert read.clickhouse.password.encode() == made["clickhouse_worker_password"]
    assert read.pseudonym_key_bytes() == made["pseudonym_key"]
