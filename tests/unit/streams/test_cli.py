"""Where the command line ends: every failure that a person can correct is a sentence and a status, and no traceback."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from deploy.local.commands import dev
from streams.cli.program import main
from streams.settings import Settings, variable

KEY: Final = "0123456789abcdef"
WEEK: Final = ("--week", "2026-W47")
DAYS: Final = ("--from", "2026-11-16", "--to", "2026-11-17")
#: Every command that reads the settings, as it is typed.
WITH_SETTINGS: Final = (
    ("demo",),
    ("fuzz",),
    ("torture",),
    ("bench",),
    ("simulate", "--events", "10"),
    ("worker",),
    ("migrate",),
    ("topics", "create"),
    ("dlq", "list"),
    ("dlq", "show", "classpulse.prep/0@1"),
    ("dlq", "replay", "--all"),
    ("evaluate",),
    ("evaluation", "show"),
    ("explain", "district"),
    ("verify",),
    ("recompute", "--all", *DAYS),
    ("report", "school", "s01", *WEEK),
    ("pseudonym", "stu-1"),
)
#: Those of them that end when Kafka or ClickHouse is away.
NEEDING_SOMETHING: Final = tuple(
    words for words in WITH_SETTINGS if words[0] not in {"demo", "fuzz", "torture", "bench", "worker", "pseudonym"}
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder and settings of its own; nothing runs at the addresses."""
    for name in (*map(variable, Settings.model_fields), "CLASSPULSE_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLASSPULSE_KAFKA", "127.0.0.1:9")
    monkeypatch.setenv("CLASSPULSE_CLICKHOUSE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CLASSPULSE_PSEUDONYM_KEY", KEY)
    monkeypatch.chdir(tmp_path)


def status(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> object:
    """Run the command line in this process; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["classpulse", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("words", WITH_SETTINGS, ids=" ".join)
def test_wrong_settings_end_every_command(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each is named in a line of its own, with status 2, before anything is started or written."""
    monkeypatch.setenv("CLASSPULSE_ENGAGEMENT_WEIGHTS", "1;2;3;4")
    monkeypatch.setenv("CLASSPULSE_WEB_PORT", "99999")
    monkeypatch.setenv("CLASSPULSE_FLUSH_ROWS", "1")
    assert status(monkeypatch, words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.removeprefix("classpulse: ").splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "CLASSPULSE_ENGAGEMENT_WEIGHTS",
        "CLASSPULSE_FLUSH_ROWS",
        "CLASSPULSE_WEB_PORT",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", NEEDING_SOMETHING, ids=" ".join)
def test_what_is_away_is_named(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a broker and a ClickHouse: one line that names the address, status 2."""
    assert status(monkeypatch, words) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "127.0.0.1:9" in told
    assert "CLASSPULSE_" in told


@pytest.mark.parametrize(
    "words",
    [
        ("demo", "--folder", "file"),
        ("demo", "--folder", "/proc/x"),
        ("dev", "up", "--folder", "file"),
        ("dev", "up", "--folder", "/proc/x"),
        ("dev", "down", "--folder", "file"),
        ("dev", "env", "--folder", "file"),
        ("fuzz", "--folder", "/proc/x"),
        ("bench", "--folder", "/proc/x"),
        ("schema", "export", "--out", "/proc/x"),
        ("schema", "export", "--out", "file"),
        ("schema", "export", "--out", "file/x"),
        ("schema", "check", "nothing"),
        ("schema", "check", "folder"),
        ("evaluation", "check", "folder"),
        ("evaluation", "check", "bytes"),
        ("simulate", "--events", "9", "--out", "/proc/x"),
        ("simulate", "--events", "9", "--out", "folder"),
        ("simulate", "--events", "9", "--out", "out", "--ledger", "/proc/x"),
        ("simulate", "--events", "9", "--out", "/dev/full"),
        ("verify", "--since", "0001-01-01"),
        ("simulate", "--events", "9", "--malformed", "nan"),
        ("evaluate", "--follow", "--interval-seconds", "inf"),
        ("dlq", "replay", "--all", "--rate", "nan"),
        ("explain", "district", "--as-of", "0001-01-01T00:00:00+14:00"),
        ("explain", "district", "--week", "9999-W01"),
        ("pseudonym", "\udcff"),
        ("migrate", "--password-env", "NOT_SET"),
        ("no-\x1b[31m-command",),
        ("explain", "district", "--url", "tcp://\x1b[31m"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_used_is_a_sentence(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Folders and files that are none or cannot be written, and options beyond sense: status 2, no traceback."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert status(monkeypatch, words) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert all(line.isprintable() for line in told.splitlines())


def test_a_taken_web_port_names_the_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The evaluator's port is an option, the worker's a setting; the message names the right one."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert status(monkeypatch, ("evaluate", "--follow", "--web-port", port)) == 2
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert "Let --web-port name another port" in capsys.readouterr().err


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``classpulse`` is this tree's; the status is the first command's."""
    line = f'classpulse() {{ "{sys.executable}" -m streams "$@"; }}; {command}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(
        ["bash", "-c", line],
        env=os.environ | {"PYTHONPATH": str(Path(dev.__file__).parents[3])} | environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("classpulse simulate --events 20000 --out - | head -1", {141}),
        # What is small may be in the pipe before its reader goes.
        ("classpulse --help | true", {0, 141}),
        ("classpulse schema export --stdout > /dev/full", {2}),
        ("classpulse schema export --stdout >&-", {0}),
    ],
)
def test_output_that_nobody_takes_is_no_traceback(command: str, expected: set[int]) -> None:
    """A reader that has gone, a full disk and a closed output end the command with a status."""
    done = shell(command)
    assert done.returncode in expected
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_make_names_a_python_that_is_too_old(tmp_path: Path) -> None:
    """Before anything is made, in a sentence."""
    (tmp_path / "requirements").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements/dev.lock"):
        (tmp_path / name).write_bytes((Path(dev.__file__).parents[3] / name).read_bytes())
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(["make", f"PYTHON={old}", "test"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{old} is no Python 3.11, 3.12 or 3.13" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_any_locale_takes_any_text() -> None:
    """Chinese text on a terminal of another encoding is escaped, not a failure."""
    done = shell("classpulse evaluation show --default", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u" in done.stdout


def test_ctrl_c_is_no_failure_of_the_program() -> None:
    """Interrupted while it waits: a word, status 130, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams", "dlq", "list"],
            env=os.environ
            | {
                "CLASSPULSE_KAFKA": f"127.0.0.1:{silent.getsockname()[1]}",
                "PYTHONPATH": str(Path(dev.__file__).parents[3]),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(60)
        connection, _address = silent.accept()
        process.send_signal(signal.SIGINT)
        _out, told = process.communicate(timeout=30)
        connection.close()
    assert (process.returncode, told.strip()) == (130, "classpulse: interrupted")
