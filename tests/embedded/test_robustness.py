"""What the server does under load, with large results, and with clients that behave badly."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from deploy.local.stack import stack
from deploy.local.stack.stack import StackInfo

from .wire import OWNER, READER, Http


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def _basic(ch: Http, user: str = OWNER) -> str:
    return "Basic " + b64encode(f"{user}:{ch.info.users[user]}".encode()).decode()


@pytest.mark.parametrize("format_name", ["TSV", "Native", "ArrowStream"])
def test_large_result_streams_in_bounded_memory(ch: Http, running: StackInfo, format_name: str) -> None:
    """A result of 300 MB passes through while the server grows by a small part of it."""
    connection = http.client.HTTPConnection(ch.host, ch.port, timeout=60)
    before = _resident_bytes(running.clickhouse_pid)
    sql = f"SELECT number, randomPrintableASCII(100) FROM numbers(3000000) FORMAT {format_name}"
    connection.request("POST", "/", body=sql, headers={"Authorization": _basic(ch)})
    response = connection.getresponse()
    total = peak = 0
    while piece := response.read(2**22):
        total += len(piece)
        peak = max(peak, _resident_bytes(running.clickhouse_pid))
    connection.close()
    assert total > 300_000_000
    assert peak - before < 150 * 2**20


def test_slow_reader_stops_the_query_instead_of_filling_memory(ch: Http, running: StackInfo) -> None:
    """While nobody reads, the query waits; when the client leaves, it ends."""
    connection = http.client.HTTPConnection(ch.host, ch.port, timeout=60)
    sql = "SELECT number, repeat('x', 100) FROM numbers(2000000000)"
    connection.request("POST", "/?query_id=slow-reader", body=sql, headers={"Authorization": _basic(ch)})
    response = connection.getresponse()
    response.read(1000)
    count = "SELECT count() FROM system.processes WHERE startsWith(Settings['log_comment'], 'slow-reader')"
    before = _resident_bytes(running.clickhouse_pid)
    assert ch(count).body == b"1\n"
    assert _resident_bytes(running.clickhouse_pid) - before < 100 * 2**20
    response.close()
    connection.close()
    deadline = time.monotonic() + 10
    while ch(count).body != b"0\n":
        assert time.monotonic() < deadline, "the query runs on without its client"
        time.sleep(0.05)


def test_query_without_output_ends_when_its_client_leaves(ch: Http) -> None:
    """A long aggregation, which writes nothing yet, is cancelled when its client closes the connection."""
    raw = socket.create_connection((ch.host, ch.port), 10)
    sql = quote("SELECT sum(cityHash64(number, 'x')) FROM numbers(100000000000)")
    raw.sendall(f"GET /?query={sql}&query_id=gone HTTP/1.1\r\nHost: x\r\nAuthorization: {_basic(ch)}\r\n\r\n".encode())
    count = "SELECT count() FROM system.processes WHERE startsWith(Settings['log_comment'], 'gone')"
    deadline = time.monotonic() + 10
    while ch(count).body != b"1\n":
        assert time.monotonic() < deadline, "the query never started"
        time.sleep(0.02)
    raw.close()
    while ch(count).body != b"0\n":
        assert time.monotonic() < deadline, "the query runs on without its client"
        time.sleep(0.05)


def test_exception_in_mid_stream(ch: Http) -> None:
    """After the first bytes an error stands in the body, between its markers, and the body has no proper end."""
    connection = http.client.HTTPConnection(ch.host, ch.port, timeout=60)
    sql = "SELECT number, throwIf(number = 5000000, 'boom') FROM numbers(10000000) SETTINGS max_threads = 1"
    connection.request("POST", "/", body=sql, headers={"Authorization": _basic(ch)})
    response = connection.getresponse()
    tag = response.headers["X-ClickHouse-Exception-Tag"]
    data = b""
    try:
        while piece := response.read(2**20):
            data = (data + piece)[-4096:]
        complete = True
    except http.client.IncompleteRead as cut:
        data += cut.partial
        complete = False
    assert not complete
    connection.close()
    assert response.status == 200
    tail = data[data.index(b"\r\n__exception__\r\n") :]
    assert tail.startswith(f"\r\n__exception__\r\n{tag}\r\nCode: 395.".encode())
    assert tail.endswith(f" {tag}\r\n__exception__\r\n".encode())
    assert b"boom" in tail


def test_error_before_the_end_with_wait_end_of_query(ch: Http) -> None:
    """With wait_end_of_query the same error is a proper status, however large the result was."""
    sql = "SELECT number, throwIf(number = 5000000, 'boom') FROM numbers(10000000) SETTINGS max_threads = 1"
    answer = ch(sql, wait_end_of_query=1)
    assert (answer.status, answer.code) == (500, 395)


def test_timeout_is_408(ch: Http) -> None:
    """max_execution_time ends a query with ClickHouse's code and status."""
    answer = ch("SELECT sleepEachRow(0.05) FROM numbers(1000) SETTINGS max_block_size = 1", max_execution_time=0.3)
    assert (answer.status, answer.code) == (408, 159)


def test_memory_limit_is_an_error_not_a_crash(ch: Http) -> None:
    """A query above its memory limit fails alone."""
    answer = ch("SELECT groupArray(number) FROM numbers(100000000)", max_memory_usage=50_000_000)
    assert (answer.status, answer.code) == (500, 241)
    assert ch("SELECT 1").body == b"1\n"


def test_many_clients_at_once(ch: Http, table: str) -> None:
    """Sixteen clients insert and read at once; every row arrives once, every answer is right."""
    rows_each, inserts_each = 500, 5

    def work(worker: int) -> None:
        for turn in range(inserts_each):
            first = (worker * inserts_each + turn) * rows_each
            rows = b"".join(b"%d\n" % number for number in range(first, first + rows_each))
            assert ch(rows, query=f"INSERT INTO {table} (id) FORMAT TSV").status == 200
            assert ch(f"SELECT count() FROM {table} WHERE id >= {first} AND id < {first + rows_each}").text == (
                f"{rows_each}\n"
            )

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    total = 16 * inserts_each * rows_each
    assert ch(f"SELECT count(), uniqExact(id) FROM {table}").text == f"{total}\t{total}\n"


def test_more_queries_than_slots_wait_for_their_turn(ch: Http) -> None:
    """Forty queries on sixteen slots are all answered; the later ones wait."""
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda number: ch(f"SELECT {number}, sleep(0.1)"), range(40)))
    assert [answer.text for answer in answers] == [f"{number}\t0\n" for number in range(40)]


def test_session_is_locked_while_in_use(ch: Http) -> None:
    """Two requests at once in one session: the second is told 373."""
    started = threading.Event()

    def hold() -> None:
        started.set()
        ch("SELECT sleep(2)", session_id="busy", query_id="holds-the-session")

    holder = threading.Thread(target=hold)
    holder.start()
    started.wait()
    deadline = time.monotonic() + 5
    running_query = "SELECT count() FROM system.processes WHERE startsWith(Settings['log_comment'], 'holds-the-session')"
    while ch(running_query).body != b"1\n":
        assert time.monotonic() < deadline
    assert ch("SELECT 1", session_id="busy").code == 373
    ch("KILL QUERY WHERE startsWith(Settings['log_comment'], 'holds-the-session') SYNC")
    holder.join()
    assert ch("SELECT 1", session_id="busy").status == 200


def test_session_checks_and_timeouts(ch: Http) -> None:
    """session_check on a missing session is 372 and 404; a timeout beyond an hour is 374; sessions belong to a user."""
    missing = ch("SELECT 1", session_id="never-made", session_check=1)
    assert (missing.status, missing.code) == (404, 372)
    assert ch("SELECT 1", session_id="x", session_timeout=100_000).code == 374
    ch("SET max_block_size = 99", session_id="shared")
    assert ch("SELECT getSetting('max_block_size')", session_id="shared", session_check=1).body == b"99\n"
    assert ch("SELECT 1", user=READER, session_id="shared", session_check=1).code == 372
    ch("SELECT 1", session_id="shared", close_session=1)
    assert ch("SELECT 1", session_id="shared", session_check=1).code == 372


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /?query=%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
def test_malformed_requests_leave_the_server_alive(ch: Http, sent: bytes) -> None:
    """Bytes that are no HTTP request are answered 4xx or dropped, and the next client is served."""
    with socket.create_connection((ch.host, ch.port), 10) as raw:
        raw.sendall(sent)
        raw.settimeout(5)
        try:
            head = raw.recv(100)
        except ConnectionError:
            head = b""
    assert head == b"" or head.split(b" ")[1].startswith(b"4")
    assert ch("SELECT 1").body == b"1\n"


def test_slow_senders_do_not_hold_the_engine(ch: Http) -> None:
    """Thirty clients that announce a body and send nothing take no slot from the others."""
    idle = []
    try:
        for _ in range(30):
            raw = socket.create_connection((ch.host, ch.port), 10)
            raw.sendall(
                f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {_basic(ch)}\r\nContent-Length: 1000\r\n\r\n".encode()
            )
            idle.append(raw)
        started = time.monotonic()
        assert ch("SELECT 1").body == b"1\n"
        assert time.monotonic() - started < 5
    finally:
        for raw in idle:
            raw.close()


def test_log_holds_no_data_and_no_passwords(ch: Http, running: StackInfo, table: str) -> None:
    """Failing requests leave their code in the log, not their SQL, rows or keys."""
    ch("secret-row-text\n", query=f"INSERT INTO {table} (id) FORMAT TSV")
    ch("SELECT secret_column_text FROM nowhere")
    ch("SELECT 1", user=None, headers={"X-ClickHouse-User": "x", "X-ClickHouse-Key": "secret-key-text"})
    log = stack.status(running.folder).clickhouse.log.read_text()
    assert "code 27" in log
    for text in ("secret-row-text", "secret_column_text", "secret-key-text"):
        assert text not in log
