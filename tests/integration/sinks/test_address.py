"""The address of ClickHouse: what of a URL is used, and what answers there."""

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from schemas.errors import MustStop, Rejected, RetryLater
from sinks.clickhouse import address
from sinks.clickhouse.client import Target, connect


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://clickhouse", "http://clickhouse:8123"),
        ("https://clickhouse.example./", "https://clickhouse.example.:8443"),
        ("HTTP://127.0.0.1:80/", "http://127.0.0.1:80"),
        ("http://proxy_1/clickhouse", "http://proxy_1:8123/clickhouse"),
        ("https://proxy:443//a/b%20c//", "https://proxy:443/a/b%20c"),
        ("http://[::1]:9000/x", "http://[::1]:9000/x"),
    ],
)
def test_what_a_url_means(url: str, meant: str) -> None:
    """Scheme, host, port and path are used; the ports are ClickHouse's where none is given."""
    assert str(address.parse(url)) == meant


@pytest.mark.parametrize("url", ["http://user:hidden@h", "http://h?password=hidden", "tcp://h:9000", "http://h#x"])
def test_what_cannot_be_used_is_rejected_without_a_password(url: str) -> None:
    """The sentence names the setting and never repeats the URL."""
    with pytest.raises(MustStop, match="CLASSPULSE_CLICKHOUSE_URL") as caught:
        connect(Target(url, "somebody", "hidden", "classpulse"))
    assert "hidden" not in str(caught.value)


@contextmanager
def proxy(server: str, prefix: str) -> Iterator[str]:
    """Pass on what comes below ``prefix``, and nothing else; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            path = self.path.removeprefix(prefix)
            if path == self.path or not path.startswith(("/", "?")):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if self.command == "POST" else None
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            asked = urllib.request.Request(f"{server}/{path.lstrip('/')}", body, headers, method=self.command)
            with urllib.request.urlopen(asked, timeout=30) as answer:
                content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower().startswith(("x-", "content-type")):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 - named by the library

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def test_a_path_before_clickhouse_is_used(clickhouse: Target) -> None:
    """Behind a proxy that has ClickHouse below a path, queries and inserts arrive; elsewhere is no ClickHouse."""
    with proxy(clickhouse.url, "/click/house") as url:
        client = connect(replace(clickhouse, url=f"{url}/click/house/", database="default"))
        assert client.query("SELECT 1").result_rows == [(1,)]
        client.close()
        with pytest.raises(Rejected, match="404"):
            connect(replace(clickhouse, url=url))


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Answer everything with the same bytes, or with nothing at all; yield the address."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while answer and connection.recv(65_536):
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(listening.accept()[0])
                except OSError:
                    return
                if answer:
                    threading.Thread(target=serve, args=(kept[-1],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xffgarbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nOk.\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n25.10.1.1\tUTC",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here\n",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_another_server_is_told_within_seconds(answer: bytes) -> None:
    """Silence, no HTTP, or HTTP of something else: an error that says where it was, whatever the timeout is."""
    with answering(answer) as url:
        began = time.monotonic()
        with pytest.raises((RetryLater, Rejected), match=f"connect to ClickHouse.* at {url}"):
            connect(Target(url, "somebody", "secret", "classpulse", 300.0))
        assert time.monotonic() - began < 30
