"""Each fault of the chaos proxy does what it says, between real clients and real servers."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from sinks.clickhouse.client import Target, connect
from tests.lab.chaos import (
    Cut,
    Delay,
    Drip,
    DropUpload,
    Freeze,
    HalfOpen,
    Proxy,
    ResetAfterRequest,
    TruncateResponse,
    contains,
    inserts_into,
)

TABLE = "chaos_rows"
BROKEN = (ClickHouseError, HTTPError, OSError)


@pytest.fixture
def proxy(clickhouse: Target) -> Iterator[Proxy]:
    """Stand between the test and a real ClickHouse."""
    parts = urlsplit(clickhouse.url)
    with Proxy((str(parts.hostname), int(parts.port or 0)), "http") as running:
        yield running


@pytest.fixture
def direct(clickhouse: Target) -> Iterator[Client]:
    """Look past the proxy, at an empty table."""
    client = connect(clickhouse, database="default")
    client.command(f"CREATE OR REPLACE TABLE {TABLE} (n UInt64) ENGINE = MergeTree ORDER BY n")
    yield client
    client.close()


@pytest.fixture
def client(clickhouse: Target, proxy: Proxy, direct: Client) -> Iterator[Client]:
    """Reach ClickHouse through the proxy."""
    client = connect(replace(clickhouse, url=proxy.url, timeout_seconds=2.0), database="default")
    yield client
    client.close()


def insert(client: Client, rows: int = 1) -> None:
    """Insert as the worker does."""
    client.insert_arrow(TABLE, pl.DataFrame({"n": pl.Series(range(rows), dtype=pl.UInt64)}).to_arrow())


def stored(client: Client) -> int:
    """Return the number of rows."""
    return int(client.query(f"SELECT count() FROM {TABLE}").result_rows[0][0])


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """Run a server that sends back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(found: socket.socket) -> None:
        with found, suppress(OSError):
            while data := found.recv(65_536):
                found.sendall(data)

    def accept() -> None:
        while True:
            try:
                found, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(found,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@contextmanager
def dial(proxy: Proxy) -> Iterator[socket.socket]:
    """Connect to the proxy."""
    with socket.create_connection(("127.0.0.1", proxy.port), 2) as found:
        yield found


def exactly(found: socket.socket, size: int) -> bytes:
    """Receive so many bytes."""
    data = b""
    while len(data) < size:
        piece = found.recv(size - len(data))
        assert piece, "the connection ended"
        data += piece
    return data


def test_without_a_fault_queries_and_inserts_of_any_size_pass(client: Client, direct: Client) -> None:
    """Small and large requests and answers are the same as without the proxy, over one kept connection."""
    insert(client, 300_000)
    assert stored(direct) == 300_000
    answer = client.query_arrow(f"SELECT n FROM {TABLE} ORDER BY n")
    assert answer.column("n").to_pylist() == list(range(300_000))


def test_reset_after_request_leaves_one_effect_and_an_error(client: Client, proxy: Proxy, direct: Client) -> None:
    """The server has the rows, the client has a reset; its next attempt gets through."""
    injection = proxy.inject(ResetAfterRequest(), when=inserts_into(TABLE), times=1)
    with pytest.raises(BROKEN):
        insert(client)
    assert injection.hits == 1
    assert stored(direct) == 1
    insert(client)
    assert stored(direct) == 2


def test_a_predicate_spares_other_requests(client: Client, proxy: Proxy) -> None:
    """A fault for the inserts into one table leaves queries of it and other statements alone."""
    injection = proxy.inject(ResetAfterRequest(), when=inserts_into("other"))
    insert(client)
    assert stored(client) == 1
    assert injection.hits == 0
    named = proxy.inject(ResetAfterRequest(), when=contains("'needle'"))
    with pytest.raises(BROKEN):
        client.query("SELECT 'needle'")
    assert named.hits >= 1


def test_drop_upload_leaves_no_effect(client: Client, proxy: Proxy, direct: Client) -> None:
    """Reset in the middle of the upload: the client gets an error, the server stores nothing."""
    injection = proxy.inject(DropUpload(0.5), when=inserts_into(TABLE), times=1)
    with pytest.raises(BROKEN):
        insert(client, 100_000)
    assert injection.hits == 1
    assert stored(direct) == 0


def test_a_truncated_response_is_an_error_not_a_short_answer(client: Client, proxy: Proxy) -> None:
    """An answer that ends too early raises; the client never takes it for a whole one."""
    insert(client, 100_000)
    injection = proxy.inject(TruncateResponse(1000), when=contains("SELECT n"), times=1)
    with pytest.raises(Exception, match=r"(?i)incomplete|broken|read|ended|closed|invalid|expected"):
        client.query_arrow(f"SELECT n FROM {TABLE}")
    assert injection.hits == 1


def test_freeze_before_an_insert_stops_it_short_of_the_server(client: Client, proxy: Proxy, direct: Client) -> None:
    """The callback runs while the server knows nothing of the request; then the connection is reset."""
    seen: list[int] = []
    proxy.inject(Freeze(lambda: seen.append(stored(direct))), when=inserts_into(TABLE), times=1)
    with pytest.raises(BROKEN):
        insert(client)
    assert seen == [0]
    assert stored(direct) == 0


def test_freeze_after_an_insert_runs_when_the_server_has_it(client: Client, proxy: Proxy, direct: Client) -> None:
    """The callback runs when the rows are stored and the client has no answer; with go_on the answer follows."""
    seen: list[int] = []
    freeze = Freeze(lambda: seen.append(stored(direct)), "after", go_on=True)
    proxy.inject(freeze, when=inserts_into(TABLE), times=1)
    insert(client)
    assert seen == [1]
    proxy.inject(Freeze(lambda: seen.append(stored(direct)), "after"), when=inserts_into(TABLE), times=1)
    with pytest.raises(BROKEN):
        insert(client)
    assert seen == [1, 2]


def test_a_server_that_never_answers_times_the_client_out(client: Client, proxy: Proxy, direct: Client) -> None:
    """Half-open towards the client: the server executes, the client's own timeout ends the wait; healing helps."""
    injection = proxy.inject(HalfOpen("client"), when=inserts_into(TABLE), times=1)
    began = time.monotonic()
    with pytest.raises(BROKEN):
        insert(client)
    assert time.monotonic() - began >= 1.9
    assert stored(direct) == 1
    proxy.heal(injection)
    insert(client)
    assert stored(direct) == 2


def test_a_cut_refuses_and_healing_accepts_on_the_same_port(client: Client, proxy: Proxy) -> None:
    """While cut, the port refuses connections and open ones are reset; healed, the same client works on."""
    port = proxy.port
    injection = proxy.inject(Cut())
    with pytest.raises(ConnectionRefusedError), dial(proxy):
        pass
    with pytest.raises(BROKEN):
        client.query("SELECT 1")
    proxy.heal(injection)
    assert proxy.port == port
    assert client.query("SELECT 1").result_rows == [(1,)]


def test_rst_resets_open_connections_and_welcomes_new_ones() -> None:
    """An open connection ends with a reset, not with an orderly end; the next connection works."""
    with echo() as server, Proxy(server) as proxy, dial(proxy) as first:
        first.sendall(b"a")
        assert exactly(first, 1) == b"a"
        proxy.reset_connections()
        with pytest.raises(ConnectionResetError):
            first.recv(1)
        with dial(proxy) as second:
            second.sendall(b"b")
            assert exactly(second, 1) == b"b"


def test_half_open_holds_what_was_sent_until_healed() -> None:
    """On an open connection nothing passes, on a new one neither; after healing everything held arrives in order."""
    with echo() as server, Proxy(server) as proxy, dial(proxy) as first:
        proxy.inject(HalfOpen())
        with dial(proxy) as second:
            for found in (first, second):
                found.sendall(b"abc")
                found.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    found.recv(1)
                found.settimeout(2)
            proxy.heal()
            assert (exactly(first, 3), exactly(second, 3)) == (b"abc", b"abc")


def test_delay_slows_every_message_until_healed() -> None:
    """Each way waits for the delay; healed, the same connection is fast again."""
    with echo() as server, Proxy(server) as proxy, dial(proxy) as found:
        proxy.inject(Delay(150, jitter_ms=20))
        began = time.monotonic()
        found.sendall(b"a")
        exactly(found, 1)
        assert time.monotonic() - began >= 0.3
        proxy.heal()
        began = time.monotonic()
        found.sendall(b"a")
        exactly(found, 1)
        assert time.monotonic() - began < 0.3


def test_a_drip_keeps_to_its_rate_and_loses_nothing() -> None:
    """2,000 bytes at 4,000 a second each way take about half a second, and come whole."""
    with echo() as server, Proxy(server) as proxy:
        proxy.inject(Drip(4_000))
        data = bytes(range(250)) * 8
        with dial(proxy) as found:
            began = time.monotonic()
            found.sendall(data)
            assert exactly(found, len(data)) == data
            assert time.monotonic() - began >= 0.3


def test_times_counts_connections_where_there_are_no_requests() -> None:
    """A half-open fault for one connection holds that one alone."""
    with echo() as server, Proxy(server) as proxy:
        injection = proxy.inject(HalfOpen(), times=1)
        with dial(proxy) as first:
            assert injection.wait(2)
            with dial(proxy) as second:
                first.sendall(b"a")
                second.sendall(b"b")
                assert exactly(second, 1) == b"b"
            first.settimeout(0.2)
            with pytest.raises(TimeoutError):
                first.recv(1)


def test_a_slow_reader_holds_the_sender_back() -> None:
    """Nobody reads the echo: the sender stalls after a bounded number of bytes, nothing piles up in the proxy."""
    with echo() as server, Proxy(server) as proxy, dial(proxy) as found:
        found.settimeout(0.5)
        passed = 0

        def send() -> None:
            nonlocal passed
            while passed < 200_000_000:
                passed += found.send(b"x" * 65_536)

        with pytest.raises(TimeoutError):
            send()
        assert passed < 64_000_000


def test_a_proxy_can_be_pointed_at_another_server() -> None:
    """New connections go to the new server."""
    with socket.create_server(("127.0.0.1", 0)) as silent, echo() as server, Proxy(silent.getsockname()) as proxy:
        proxy.point_at(server)
        with dial(proxy) as found:
            found.sendall(b"a")
            assert exactly(found, 1) == b"a"


def test_faults_that_need_http_are_refused_elsewhere() -> None:
    """A fault on requests at a proxy that knows bytes alone is a mistake of the caller."""
    with echo() as server, Proxy(server) as proxy:
        with pytest.raises(ValueError, match="needs a proxy for HTTP"):
            proxy.inject(ResetAfterRequest())
        with pytest.raises(ValueError, match="needs a proxy for HTTP"):
            proxy.inject(Delay(1), when=contains("x"))
        with pytest.raises(ValueError, match="leave out"):
            proxy.inject(Cut(), times=1)


def test_kafka_answers_name_the_proxy_in_place_of_the_broker() -> None:
    """In a small frame the broker's address becomes the proxy's; a large frame passes as it is."""
    with echo() as server, Proxy(server, "kafka") as proxy, dial(proxy) as found:
        broker = b"127.0.0.1" + server[1].to_bytes(4, "big")
        mine = b"127.0.0.1" + proxy.port.to_bytes(4, "big")
        for filling, expected in ((10, mine), (70_000, broker)):
            frame = b"x" * filling + broker + b"y"
            found.sendall(len(frame).to_bytes(4, "big") + frame)
            assert exactly(found, 4 + len(frame)) == len(frame).to_bytes(4, "big") + b"x" * filling + expected + b"y"
