"""Starts one measured program and reads its answer."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.local.stack.processes import log_tail
from tests.lab.bench.reading import Reading

__all__ = ["ProgramError", "launch"]

#: To start, to join its group and to leave it: a JVM or a group join on the embedded broker takes some seconds of it.
_AROUND_SECONDS: Final = 60.0
_ROOT: Final = Path(__file__).resolve().parents[3]


class ProgramError(Exception):
    """A program gave no answer; the message ends with the last lines of its log."""


def launch(command: Sequence[str], seconds: float, log: Path, environment: Mapping[str, str] | None = None) -> Reading:
    """Run ``command``, which stops by itself after ``seconds``, and return what it measured.

    ``environment`` comes on top of this process's own. Raises :class:`ProgramError`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # Beside the program's own packages it needs this checkout, and nothing else of this process's environment.
    surroundings = {**os.environ, **(environment or {}), "PYTHONPATH": str(_ROOT)}
    with tempfile.TemporaryDirectory(prefix="classpulse-bench-") as scratch, log.open("ab") as errors:
        surroundings["TMPDIR"] = scratch
        try:
            done = subprocess.run(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=surroundings,
                cwd=scratch,
                timeout=seconds + _AROUND_SECONDS,
                check=False,
            )
        except OSError as error:
            raise ProgramError(f"{command[0]} cannot be started: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise ProgramError(f"no answer after {error.timeout:.0f} s. {log_tail(log)}") from error
    return _reading(done.stdout.decode("utf-8", "replace"), done.returncode, log)


def _reading(output: str, status: int, log: Path) -> Reading:
    lines = output.strip().splitlines()
    try:
        answer = json.loads(lines[-1])
        reading = Reading(int(answer["events"]), float(answer["seconds"]), float(answer["cpu_seconds"]))
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise ProgramError(f"ended with status {status} and without an answer. {log_tail(log)}") from error
    if reading.events <= 0 or reading.seconds <= 0:
        raise ProgramError(f"measured nothing ({answer}). {log_tail(log)}")
    return reading
