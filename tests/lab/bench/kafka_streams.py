"""How the peer in Java is started: its jars by Maven, its one source file compiled by ``java`` itself."""

import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from tests.lab.bench.program import Task

__all__ = ["command", "java_version", "missing", "version"]

_FOLDER: Final = Path(__file__).parent / "peers" / "kafka_streams"
_POM: Final = _FOLDER / "pom.xml"
_SOURCE: Final = _FOLDER / "WindowedCount.java"
_RESOLVE_SECONDS: Final = 300.0
_NEEDS: Final = "Kafka Streams needs a JDK 17 or newer and Maven (Debian: apt-get install openjdk-17-jdk-headless maven)"
_JAVA_SECONDS: Final = 20.0
_TAIL_LINES: Final = 5
#: Above the level at which every late event is a line.
_QUIET: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"


def missing() -> str | None:
    """Return what to do where it cannot run here; None where it can. Resolves the jars."""
    if not all(shutil.which(name) for name in ("java", "javac", "mvn")):
        return _NEEDS
    try:
        _class_path()
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stdout", None) or error).strip().splitlines()[-_TAIL_LINES:]
        return "Maven could not resolve Kafka Streams; check its settings and proxy: " + " ".join(said)
    return None


def command(task: Task) -> list[str]:
    """Return the command line; raises ``OSError`` or ``subprocess.SubprocessError`` where the jars cannot be had."""
    return [
        "java",
        "-cp",
        _class_path(),
        _QUIET,
        str(_SOURCE),
        task.bootstrap,
        task.topic,
        task.group,
        str(task.events),
        str(task.seconds),
    ]


def version() -> str:
    """Return the version of Kafka Streams that is measured."""
    found = re.search(r"<kafka.version>([^<]+)<", _POM.read_text(encoding="utf-8"))
    return found.group(1) if found else "unknown"


def java_version() -> str:
    """Return what ``java`` says of its version; the empty text where there is none."""
    try:
        answer = subprocess.run(
            ["java", "-version"],
            capture_output=True,
            text=True,
            timeout=_JAVA_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r'version "([^"]+)"', answer.stderr)
    return found.group(1) if found else ""


@cache
def _class_path() -> str:
    with tempfile.TemporaryDirectory(prefix="classpulse-bench-") as folder:
        answer = Path(folder, "class-path")
        # Some versions of Maven write beside the declaration; the package's folder may be read-only.
        pom = Path(shutil.copy(_POM, folder))
        arguments = [
            "mvn",
            "--batch-mode",
            "--quiet",
            "--file",
            str(pom),
            "dependency:build-classpath",
            f"-Dmdep.outputFile={answer}",
            "-DincludeScope=runtime",
        ]
        subprocess.run(
            arguments, check=True, capture_output=True, text=True, timeout=_RESOLVE_SECONDS, stdin=subprocess.DEVNULL
        )
        return answer.read_text(encoding="utf-8").strip()
