"""The log of a long-running command: one format, no line of a library in its own style, no secret, no control character."""

import json
import subprocess
import sys
from typing import Any

import pytest

SECRET = "correct-horse-battery"
#: What a process may be asked to log, one line of Python each.
SCENES = {
    "ours": 'logging.getLogger("classpulse.x").info("13 partitions of %s", "s01")',
    "library": 'logging.getLogger("aiokafka").error("Unable connect to node with id 0")',
    "library that failed": '[fail("aiokafka.consumer.fetcher") for _ in range(50)]',
    "escape": r'logging.getLogger("classpulse").warning("school \x1b[2J\r\n\u202e\u2028 of %s", "上海")',
    "secret": f'logging.getLogger("classpulse").warning("rejected: user:{SECRET}@host")',
    "warning": 'warnings.warn("deprecated", stacklevel=1)',
    "crash": 'raise RuntimeError("planted\\x1b[31m")',
    "thread": "threading.Thread(target=lambda: 1 / 0).start()",
}
PROGRAM = f"""
import logging, threading, warnings
from streams.output import logs

def fail(name):
    try:
        raise OSError("broker gone")
    except OSError:
        logging.getLogger(name).exception("Unexpected error\\nin fetcher routine")

logs.configure({{log_format!r}}, {{level!r}}, ["{SECRET}", "a"])
{{scene}}
"""


def said(scene: str, log_format: str = "text", level: str = "INFO") -> str:
    """Return what a process of its own writes on standard error."""
    program = PROGRAM.format(scene=SCENES[scene], log_format=log_format, level=level)
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    return done.stderr


def test_one_line_an_entry_for_people() -> None:
    """An entry of ours is one line: time, level, logger, message."""
    line = said("ours")
    assert line.count("\n") == 1
    assert line.endswith(" INFO classpulse.x: 13 partitions of s01\n")


@pytest.mark.parametrize("scene", SCENES)
def test_every_line_is_json_on_demand(scene: str) -> None:
    """Whatever is logged, by whom and how, each line is one JSON object with the same fields."""
    for line in said(scene, "json", "DEBUG").splitlines():
        entry: dict[str, Any] = json.loads(line)
        assert {"time", "level", "logger", "message"} <= entry.keys() <= {"time", "level", "logger", "message", "traceback"}


def test_what_libraries_say_is_for_debugging_alone() -> None:
    """A library's complaint is not shown, and in our format at level DEBUG."""
    assert said("library") == ""
    assert said("warning") == ""
    assert said("library", level="DEBUG").endswith(" ERROR aiokafka: Unable connect to node with id 0\n")


def test_a_librarys_failure_is_one_line_and_not_said_again_at_once() -> None:
    """An exception inside a library is one line without its traceback, however often it comes."""
    line = said("library that failed")
    assert line.count("\n") == 1
    assert line.endswith("Unexpected error in fetcher routine (OSError('broker gone'))\n")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_control_character_reaches_the_log(log_format: str) -> None:
    """What moves the cursor, reverses or ends a line is escaped; other languages stay as they are."""
    line = said("escape", log_format)
    text = json.loads(line)["message"] if log_format == "json" else line.rstrip("\n")
    assert text.endswith(r"school \x1b[2J\x0d\x0a\u202e\u2028 of 上海")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_reaches_the_log(log_format: str) -> None:
    """A secret is replaced wherever it turns up; one of a few characters is left, since it is a part of words."""
    line = said("secret", log_format)
    assert SECRET not in line
    assert "rejected: user:***@host" in line


@pytest.mark.parametrize(
    ("scene", "named"), [("crash", r"RuntimeError('planted\x1b[31m')"), ("thread", "ZeroDivisionError")]
)
def test_an_unexpected_failure_is_told_in_the_same_format(scene: str, named: str) -> None:
    """A failure that nobody caught is an entry like others, with its traceback, in threads too."""
    text = said(scene)
    first, *trace = text.splitlines()
    assert " CRITICAL classpulse: unexpected failure: " in first
    assert named in first
    assert trace[0] == "Traceback (most recent call last):"
    assert "\x1b" not in text
    entry = json.loads(said(scene, "json"))
    assert entry["traceback"].startswith("Traceback")


def test_a_configured_process_knows_it() -> None:
    """The last word of a command that writes no log is said plainly, so this one has to know."""
    program = "from streams.output import logs; a = logs.configured(); logs.configure('text'); print(a, logs.configured())"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False True\n"


def test_a_secret_is_found_in_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting that is a secret is kept out of the log, without a list of them."""
    from streams.settings import load

    for name in ("KAFKA_PASSWORD", "CLICKHOUSE_PASSWORD", "PSEUDONYM_KEY"):
        monkeypatch.setenv(f"CLASSPULSE_{name}", f"{name}-secret\n")
    assert {"KAFKA_PASSWORD-secret", "CLICKHOUSE_PASSWORD-secret", "PSEUDONYM_KEY-secret"} <= set(load().secrets)
