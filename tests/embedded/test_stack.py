"""The stack as a whole: up, down, status; its parts dying and coming back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.clickhouse.errors import StackError
from deploy.local.stack import processes, stack
from deploy.local.stack.stack import CLICKHOUSE, KAFKA, StackInfo

from .wire import WRITER, Http


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack folder for tests that kill and restart; stopped at the end whatever happened."""
    made = tmp_path_factory.mktemp("stack-of-its-own")
    yield made
    stack.down(made)


@pytest.fixture
def info(folder: Path) -> StackInfo:
    """That stack, running."""
    return stack.up(folder)


def test_up_is_idempotent(folder: Path, info: StackInfo) -> None:
    """A second up finds the same processes, ports and users."""
    assert stack.up(folder) == info
    assert stack.info(folder) == info
    state = stack.status(folder)
    assert state.healthy
    assert (state.kafka.pid, state.clickhouse.pid) == (info.kafka_pid, info.clickhouse_pid)
    assert state.clickhouse.uptime_seconds >= 0


def test_two_ups_at_once_start_one_stack(tmp_path: Path) -> None:
    """Two callers at the same moment get the same stack."""
    try:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(stack.up, [tmp_path, tmp_path])
        assert first == second
    finally:
        stack.down(tmp_path)


def test_killed_clickhouse_keeps_its_data(folder: Path, info: StackInfo) -> None:
    """After SIGKILL and a restart every acknowledged row is there, on the same port, with the same users."""
    http = Http(info)
    http("CREATE DATABASE IF NOT EXISTS classpulse")
    http("CREATE OR REPLACE TABLE classpulse.metric_rows (id UInt64) ENGINE = MergeTree ORDER BY id")
    for number in range(20):
        assert http(f"{number}\n", query="INSERT INTO classpulse.metric_rows FORMAT TSV", user=WRITER).status == 200
    stack.kill(folder, CLICKHOUSE)
    state = stack.status(folder).clickhouse
    assert (state.state, state.answering) == ("dead", False)
    again = stack.up(folder)
    assert (again.clickhouse_url, again.users) == (info.clickhouse_url, info.users)
    assert again.clickhouse_pid != info.clickhouse_pid
    assert again.kafka_pid == info.kafka_pid
    assert Http(again)("SELECT count(), sum(id) FROM classpulse.metric_rows").body == b"20\t190\n"


def test_stopped_clickhouse_keeps_its_data_and_port(folder: Path, info: StackInfo) -> None:
    """An orderly stop ends with exit code 0; a start brings the same data on the same port."""
    Http(info)("CREATE OR REPLACE TABLE default.orderly (id UInt64) ENGINE = MergeTree ORDER BY id")
    Http(info)("7\n", query="INSERT INTO default.orderly FORMAT TSV")
    stack.stop_part(folder, CLICKHOUSE)
    assert stack.status(folder).clickhouse.state == "stopped"
    assert stack.status(folder).clickhouse.log.read_text().rstrip().endswith("stopped")
    record = stack.start_clickhouse(folder)
    assert f"http://127.0.0.1:{record.port}" == info.clickhouse_url
    assert Http(stack.info(folder))("SELECT id FROM default.orderly").body == b"7\n"


def test_broker_carries_records_and_forgets_them_when_restarted(folder: Path, info: StackInfo) -> None:
    """Records go through the broker; a restarted broker is empty, on the same port."""

    async def send_and_receive() -> list[bytes | None]:
        producer = AIOKafkaProducer(bootstrap_servers=info.kafka_bootstrap, enable_idempotence=False)
        await producer.start()
        try:
            for number in range(3):
                await producer.send_and_wait("stack-test", f"v{number}".encode(), key=b"k")
        finally:
            await producer.stop()
        return await receive()

    async def receive() -> list[bytes | None]:
        consumer = AIOKafkaConsumer(
            "stack-test", bootstrap_servers=info.kafka_bootstrap, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        try:
            batches = await consumer.getmany(timeout_ms=1_000)
            return [record.value for records in batches.values() for record in records]
        finally:
            await consumer.stop()

    assert asyncio.run(send_and_receive()) == [b"v0", b"v1", b"v2"]
    stack.kill(folder, KAFKA)
    again = stack.up(folder)
    assert (again.kafka_bootstrap, again.clickhouse_pid) == (info.kafka_bootstrap, info.clickhouse_pid)
    assert asyncio.run(receive()) == []


def test_fresh_removes_the_data(tmp_path: Path) -> None:
    """fresh=True starts with empty engines and the same users."""
    try:
        info = stack.up(tmp_path)
        Http(info)("CREATE TABLE default.gone (id UInt64) ENGINE = MergeTree ORDER BY id")
        again = stack.up(tmp_path, fresh=True)
        assert again.users == info.users
        assert Http(again)("EXISTS TABLE default.gone").body == b"0\n"
    finally:
        stack.down(tmp_path)


def test_down_is_idempotent_and_final(tmp_path: Path) -> None:
    """After down nothing runs or answers; a second down, or one on an unknown folder, does nothing."""
    info = stack.up(tmp_path)
    stack.down(tmp_path)
    stack.down(tmp_path)
    stack.down(tmp_path / "never-made")
    state = stack.status(tmp_path)
    assert (state.kafka.state, state.clickhouse.state) == ("stopped", "stopped")
    for pid in (info.kafka_pid, info.clickhouse_pid):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(StackError, match="not running"):
        stack.info(tmp_path)


def test_stack_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    """The processes are detached: they go on when the command that started them has ended."""
    code = "import sys; from pathlib import Path; from deploy.local.stack import stack; stack.up(Path(sys.argv[1]))"
    root = Path(stack.__file__).parents[3]
    try:
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=True, timeout=60)
        assert stack.status(tmp_path).healthy
    finally:
        stack.down(tmp_path)
    assert not stack.status(tmp_path).healthy


def test_record_of_another_process_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A stale record whose process id now belongs to somebody else is dead, and that process is never signalled."""
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        log = tmp_path / "logs" / "kafka.log"
        record = processes.ProcessRecord("kafka", bystander.pid, 1, 1, 0.0, log)
        record.write(tmp_path / "kafka.json")
        assert stack.status(tmp_path).kafka.state == "dead"
        stack.down(tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            bystander.wait(0.2)
    finally:
        bystander.kill()
        bystander.wait()


def test_taken_port_is_named(tmp_path: Path) -> None:
    """Asking for a port somebody else listens on is refused with the port and the remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} .*choose another port"):
            stack.start_clickhouse(tmp_path, port)


def test_other_port_than_the_running_one_is_refused(folder: Path, info: StackInfo) -> None:
    """A running part is never moved silently."""
    with pytest.raises(StackError, match="already runs on port"):
        stack.up(folder, clickhouse_port=processes.free_port())


def test_failure_to_start_shows_the_log(tmp_path: Path) -> None:
    """When a part ends while starting, the error has the log file and its last lines."""
    stack.start_clickhouse(tmp_path)
    stack.down(tmp_path)
    (tmp_path / "users.json").write_text("not json")
    with pytest.raises(StackError, match=r"ended while starting(.|\n)*clickhouse\.log(.|\n)*users\.json"):
        stack.start_clickhouse(tmp_path)
    assert stack.status(tmp_path).clickhouse.state == "dead"


def test_second_server_on_the_same_data_is_refused(folder: Path, info: StackInfo) -> None:
    """Two engines never open one data folder: the second process ends with an error and the first serves on."""
    command = [
        sys.executable,
        "-m",
        "deploy.local.clickhouse.server",
        "--data",
        str(folder / "clickhouse"),
        "--port",
        str(processes.free_port()),
        "--users",
        str(folder / "users.json"),
    ]
    second = subprocess.run(command, cwd=Path(stack.__file__).parents[3], capture_output=True, timeout=60, check=False)
    assert second.returncode == 2
    assert b"cannot" in second.stderr
    assert Http(info)("SELECT 1").body == b"1\n"


def test_paused_process_is_running_but_not_answering(folder: Path, info: StackInfo) -> None:
    """SIGSTOP is visible in status; SIGCONT ends it."""
    stack.kill(folder, CLICKHOUSE, signal.SIGSTOP)
    try:
        state = stack.status(folder).clickhouse
        assert (state.state, state.answering) == ("running", False)
    finally:
        stack.kill(folder, CLICKHOUSE, signal.SIGCONT)
    assert Http(info)("SELECT 1").body == b"1\n"
