"""Kafka's jars, resolved once by Maven and kept in the account's cache; and the Java that runs them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import AbstractContextManager
from importlib.resources import files
from pathlib import Path
from typing import Final

from deploy.local.clickhouse.errors import StackError
from deploy.local.stack.processes import exclusive

__all__ = ["class_path", "java"]

OLDEST_JAVA: Final = 17
_INSTEAD: Final = "or use the embedded broker, which needs neither (`--broker embedded`)"
_RESOLVE_SECONDS: Final = 300.0
_LOCK_SECONDS: Final = 330.0
_JAVA_SECONDS: Final = 20.0
_TAIL_LINES: Final = 15
_POM: Final = files("deploy.local.apache").joinpath("pom.xml")


def java() -> str:
    """The path of a Java that runs Kafka: ``JAVA_HOME``'s, else the one on the path.

    Raises StackError that says what to install when there is none or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home, "bin"))) if home else None
    found = found or shutil.which("java")
    install = f"install a Java runtime {OLDEST_JAVA} or newer (Debian: apt-get install openjdk-17-jre-headless)"
    if found is None:
        raise StackError(f"Apache Kafka needs Java, and there is none: {install}, {_INSTEAD}")
    version = _java_version(found)
    if version < OLDEST_JAVA:
        raise StackError(f"Apache Kafka needs Java {OLDEST_JAVA}, and {found} is Java {version}: {install}, {_INSTEAD}")
    return found


def _java_version(binary: str) -> int:
    try:
        answer = subprocess.run(  # noqa: S603 (the account's own Java)
            [binary, "-version"], capture_output=True, text=True, timeout=_JAVA_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{binary} does not run: {error}; reinstall Java, {_INSTEAD}") from error
    found = re.search(r'version "(\d+)', answer.stderr)
    if found is None:
        raise StackError(f"{binary} does not say its version: {answer.stderr.strip()}; reinstall Java, {_INSTEAD}")
    return int(found.group(1))


def class_path() -> str:
    """The class path of Kafka. The first call resolves the jars with Maven (a few seconds, or a download of 43 MB).

    Raises StackError when Maven is missing or cannot resolve them.
    """
    folder = _cache_folder()
    if not folder.is_dir():
        with _one_at_a_time(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                _resolve(folder)
    return os.pathsep.join(str(jar) for jar in sorted(folder.glob("*.jar")))


def _cache_folder() -> Path:
    """Named after the declaration's version and content, so that a changed declaration is resolved anew."""
    pom = _POM.read_bytes()
    version = re.search(rb"<kafka.version>([0-9.]+)<", pom)
    if version is None:
        raise StackError("deploy/local/apache/pom.xml does not say kafka.version; reinstall classpulse")
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "classpulse"
    return root / f"kafka-{version.group(1).decode()}-{hashlib.sha256(pom).hexdigest()[:8]}"


def _resolve(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise StackError(
            "Apache Kafka's jars are resolved by Maven, and there is no `mvn`: "
            f"install it (Debian: apt-get install maven), {_INSTEAD}"
        )
    with tempfile.TemporaryDirectory(prefix=folder.name + ".partial-", dir=folder.parent) as partial:
        pom = Path(partial, "pom.xml")
        pom.write_bytes(_POM.read_bytes())
        jars = Path(partial, "jars")
        command = [
            maven,
            "--batch-mode",
            "--quiet",
            "--file",
            str(pom),
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={jars}",
        ]
        try:
            answer = subprocess.run(  # noqa: S603 (the account's own Maven)
                command, capture_output=True, text=True, timeout=_RESOLVE_SECONDS, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StackError(f"Maven could not resolve Apache Kafka: {error}; try again, {_INSTEAD}") from error
        if answer.returncode or not any(jars.glob("kafka_*.jar")):
            tail = "\n".join((answer.stdout + answer.stderr).strip().splitlines()[-_TAIL_LINES:])
            raise StackError(f"Maven could not resolve Apache Kafka; check its settings and proxy, {_INSTEAD}:\n{tail}")
        # Complete or not there at all: an interrupted run leaves no half a class path behind.
        jars.rename(folder)


def _one_at_a_time(path: Path) -> AbstractContextManager[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise StackError(f"the cache {path.parent} cannot be written ({error}); set XDG_CACHE_HOME to a folder") from error
    return exclusive(path, _LOCK_SECONDS, f"another process has been resolving {path} for too long; end it")
