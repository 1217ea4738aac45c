"""The code blocks of the pages that a device vendor reads, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.local.apache import jars
from tests.end_to_end.typed import ROOT, blocks

README = ROOT / "README.md"
CONNECT = ROOT / "docs/connect.md"
DEVICE = ROOT / "docs/examples/device.py"
#: The versions of librdkafka from which on it reads the embedded broker's API versions, and proves a password by SCRAM as
#: Kafka 4 wants it.
FOR_THE_EMBEDDED_BROKER = (2, 2, 0)
FOR_SCRAM = (2, 6, 1)


def block(page: Path, kind: str, holding: str = "") -> str:
    """Return the one code block of a page whose fence says ``kind`` and that holds a text."""
    [only] = [text for text in blocks(page, kind) if holding in text]
    return only


def run(command: list[str], folder: Path, settings: Mapping[str, str]) -> str:
    """Run a command in a folder, with ``classpulse`` on the path; return what it printed, fail with what it said."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLASSPULSE_")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PATH": path, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shell(text: str, folder: Path, settings: Mapping[str, str]) -> str:
    """Run a block of shell, as ``run``."""
    return run(["sh", "-e", "-c", text], folder, settings)


def variables(text: str, folder: Path) -> dict[str, str]:
    """Return the settings that a block of exports makes."""
    lines = shell(f"{text}\nenv", folder, {}).splitlines()
    return dict(line.split("=", 1) for line in lines if line.startswith("CLASSPULSE_"))


def python_device(folder: Path, settings: Mapping[str, str]) -> None:
    """Send an event with the program of the pages, which leaves it in event.json."""
    run([sys.executable, str(DEVICE)], folder, settings)


def needs_kcat(oldest: tuple[int, int, int] = (0, 0, 0)) -> None:
    """Skip without kcat, or with an older librdkafka."""
    if shutil.which("kcat") is None:
        pytest.skip("needs kcat (Debian: apt-get install kcat)")
    told = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"librdkafka (\d+)\.(\d+)\.(\d+)", told)
    assert version is not None, told
    if tuple(int(part) for part in version.groups()) < oldest:
        pytest.skip(f"needs a kcat with librdkafka {'.'.join(map(str, oldest))} or later, and this has {version[0]}")


def java_device(folder: Path, settings: Mapping[str, str]) -> None:
    """Send event.json with the program and the properties of docs/connect.md."""
    if shutil.which("javac") is None:
        pytest.skip("needs a Java development kit")
    shell(block(CONNECT, "sh java"), folder, settings)
    (folder / "Device.java").write_text(block(CONNECT, "java"), encoding="utf-8")
    run([jars.java(), "-cp", jars.class_path(), "Device.java"], folder, settings)
