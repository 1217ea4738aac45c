"""`classpulse evaluate --follow` as a process: what it says while ClickHouse is away, and how it stops."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from select import select

import pytest

#: The process imports for seconds on a busy machine, and stops within one.
PATIENCE_SECONDS = 90.0
AT_ONCE_SECONDS = 8.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Take a port of a server that is never going to answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_SECONDS)
        yield listener


def evaluator(listener: socket.socket) -> "subprocess.Popen[str]":
    """Start an evaluator that follows."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    environment = {**os.environ, "CLASSPULSE_CLICKHOUSE_URL": url}
    command = [sys.executable, "-m", "streams", "evaluate", "--follow", "--interval-seconds", "0.1"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_at_once_while_clickhouse_is_silent(listener: socket.socket, number: int) -> None:
    """A server that takes connections and says nothing keeps no evaluator from an orderly stop."""
    process = evaluator(listener)
    connection, _address = listener.accept()
    process.send_signal(number)
    _out, log = process.communicate(timeout=AT_ONCE_SECONDS)
    connection.close()
    assert process.returncode == 0
    (line,) = log.splitlines()
    assert line.endswith("INFO classpulse.evaluator: stopped in order after 0 complete cycles")


def test_it_says_once_that_clickhouse_is_away(listener: socket.socket) -> None:
    """However often it tries, the log has one line; a stop is followed at once."""
    process = evaluator(listener)
    assert process.stderr is not None
    away = ""
    while not away:
        listener.accept()[0].close()
        away = process.stderr.readline() if select([process.stderr], [], [], 1)[0] else ""
    assert "WARNING classpulse.evaluator: waiting for ClickHouse" in away
    listener.accept()[0].close()
    process.send_signal(signal.SIGTERM)
    _out, log = process.communicate(timeout=AT_ONCE_SECONDS)
    assert process.returncode == 0
    (stopped,) = log.splitlines()
    assert "stopped in order" in stopped
