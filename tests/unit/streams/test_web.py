"""The worker's pages under clients that behave badly."""

import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from schemas.errors import MustStop
from streams.web.connections import ConnectionLimits
from streams.web.server import Health, WebServer

LIMITS = ConnectionLimits(most_connections=5, idle_seconds=1.0, request_seconds=1.0)


@pytest.fixture
def server() -> Iterator[WebServer]:
    """Serve one counter, and two healthy pages, within narrow limits."""
    registry = CollectorRegistry()
    things = Counter("classpulse_things", "Things", ["kind"], registry=registry)
    for number in range(2_000):
        things.labels(f"kind-{number}").inc(3)
    serving = WebServer("127.0.0.1", 0, registry, Health, lambda: Health(("not yet",)), LIMITS)
    serving.start()
    yield serving
    serving.stop()


def connect(server: WebServer) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", server.port), 5)


def answer(raw: socket.socket) -> bytes:
    """Return what comes until the server closes, or says nothing for five seconds."""
    raw.settimeout(5)
    received = b""
    try:
        while piece := raw.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return received


def page(server: WebServer, path: str) -> tuple[int, bytes]:
    """Ask for a page on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_pages(server: WebServer) -> None:
    """Metrics in Prometheus's format, health by status and sentence."""
    assert b'classpulse_things_total{kind="kind-7"} 3.0\n' in page(server, "/metrics")[1]
    assert page(server, "/healthz") == (200, b"ok\n")
    assert page(server, "/readyz") == (503, b"not yet\n")
    assert page(server, "/anything")[0] == 404


def test_a_taken_port_is_told(server: WebServer) -> None:
    """The error names the setting."""
    with pytest.raises(MustStop, match="CLASSPULSE_WEB_PORT"):
        WebServer("127.0.0.1", server.port, CollectorRegistry(), Health, Health).start()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nX-Drip: ",  # headers that never end
        b"GET /healthz HTTP/1.1\r\n",
        b"GET /",
        b"",
    ],
)
def test_an_unfinished_request_ends(server: WebServer, sent: bytes) -> None:
    """A client that drips headers, or says nothing at all, loses its connection."""
    with connect(server) as raw:
        started = time.monotonic()
        raw.sendall(sent)
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.1):
                try:
                    raw.sendall(b"a" if sent else b"")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        received = answer(raw)
        stop.set()
        dripping.join()
    assert not received.startswith(b"HTTP/1.1 2")
    assert time.monotonic() - started < 4
    assert page(server, "/healthz")[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(50_000)) + b"\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n" + b"a" * 100_000,
        b"BREW /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
        b"\r\n" * 1_000 + b"\x00",
    ],
)
def test_what_is_no_request_is_rejected(server: WebServer, sent: bytes) -> None:
    """Long lines, long and many headers, other methods, other protocols: 4xx or nothing, and the next is served."""
    with connect(server) as raw:
        try:
            raw.sendall(sent)
            received = answer(raw)
        except ConnectionError:
            received = b""
    assert not received or received.split(b" ")[1].startswith(b"4")
    assert page(server, "/healthz")[0] == 200


def test_pipelined_requests_nobody_reads_end(server: WebServer) -> None:
    """A client that sends requests without end and reads no answer is cut off."""
    requests = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000
    with connect(server) as raw:
        raw.settimeout(0.2)
        deadline = time.monotonic() + 10
        cut_off = False
        while not cut_off and time.monotonic() < deadline:
            try:
                raw.sendall(requests)
            except TimeoutError:
                continue
            except ConnectionError:
                cut_off = True
    assert cut_off
    assert page(server, "/healthz")[0] == 200


def test_http_without_a_version(server: WebServer) -> None:
    """HTTP/0.9, in which old probes speak, is answered, and the connection ends."""
    with connect(server) as raw:
        raw.sendall(b"GET /healthz\r\n\r\n")
        assert answer(raw).endswith(b"ok\n")


def test_connections_are_bounded(server: WebServer) -> None:
    """Beyond the limit a client is told 503 and let go; those inside are served, and room comes back."""
    inside = [connect(server) for _ in range(LIMITS.most_connections)]
    try:
        inside[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with connect(server) as outside:
            rejected = answer(outside)
        assert rejected.startswith(b"HTTP/1.1 503 ") or answer(inside[0]).startswith(b"HTTP/1.1 200 ")
    finally:
        for raw in inside:
            raw.close()
    deadline = time.monotonic() + 5
    while page(server, "/healthz")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_half_closed_client(server: WebServer) -> None:
    """A client that has closed its side is answered or dropped, and holds nothing."""
    with connect(server) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.shutdown(socket.SHUT_WR)
        received = answer(raw)
    assert not received or received.startswith(b"HTTP/1.1 200 ")
    assert urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=5).status == 200
