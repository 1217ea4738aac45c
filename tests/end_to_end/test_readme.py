"""The README's own examples, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

from streams.commands import dev
from tests.end_to_end.harness import Town

README = Path(__file__).parents[2] / "README.md"


def block(language: str) -> str:
    """Return the README's code block in a language."""
    found = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_python_device_is_understood_and_the_query_answers(town: Town) -> None:
    """The device of the README sends an event that is stored, and the README's query runs as the reader."""
    town.start_worker()
    environment = {**os.environ, **dev.environment(town.info)}
    done = subprocess.run([sys.executable, "-c", block("python")], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    town.wait_for_checkpoints(1)
    assert town.counters() == (1, 1, 0, 0)
    answer = town.client.raw_query(block("sql"), fmt="CSVWithNames").decode()
    assert answer.startswith('"class_id","course","window_start","participation_breadth"')
