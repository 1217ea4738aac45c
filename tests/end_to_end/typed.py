"""Types what a page prints into a shell of its own, as a reader does."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: The ports that a page's `dev up` would take may be in use where tests run.
_CLASSPULSE = f"""#!/bin/sh
export PYTHONPATH={ROOT}
if [ "$1 $2" = "dev up" ]; then shift 2; set -- dev up --kafka-port 0 --clickhouse-port 0 "$@"; fi
exec {sys.executable} -m streams "$@"
"""


def blocks(page: str | Path, language: str = "sh") -> list[str]:
    """Return the code blocks of a page whose fence names ``language``."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def typed(lines: str, folder: Path, environment: Mapping[str, str] | None = None, timeout_seconds: float = 500) -> str:
    """Run lines in ``folder``, stopping at the first that fails; return what they print, errors included.

    Whatever they leave running is ended.
    """
    programs = folder / ".venv/bin"
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "classpulse").write_text(_CLASSPULSE)
    (programs / "classpulse").chmod(0o755)
    (programs / "activate").write_text(f'export PATH="{programs}:$PATH"\n')
    output = folder / "typed.log"
    with output.open("wb") as log:
        # A file and no pipe: a worker that is left running would hold the pipe open.
        shell = subprocess.Popen(
            ["bash", "-ec", f". .venv/bin/activate\n{lines}"],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout_seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    text = output.read_text(encoding="utf-8", errors="replace")
    assert status == 0, text[-4000:]
    return text
