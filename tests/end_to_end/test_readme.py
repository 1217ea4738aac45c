"""The README's own examples, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.commands import dev
from tests.end_to_end.harness import Town
from tests.end_to_end.typed import blocks, typed


def block(language: str, holding: str = "") -> str:
    """Return the README's one code block in a language, of those that hold a text."""
    [found] = [text for text in blocks("README.md", language) if holding in text]
    return found


@pytest.mark.timeout(600)
def test_whoever_tries_it_gets_scores(tmp_path: Path) -> None:
    """The lines under "Try it yourself", typed as printed, lead to scores, an explanation, a report and no difference."""
    try:
        said = typed(block("sh", "classpulse simulate"), tmp_path)
    finally:
        typed("classpulse dev down", tmp_path)
    assert "Scored in 20" in said
    assert re.search(r"2 schools, 4 classes, \d+ teachers", said)
    assert " 0 \ndifferences." in said or " 0 differences." in said
    assert re.search(r"智慧教育综合评价\D+0\.\d{3}", said)
    [report] = tmp_path.glob("report-school-s01-*.html")
    assert "综合评分" in report.read_text(encoding="utf-8")


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
