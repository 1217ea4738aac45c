"""The address of ClickHouse's HTTP interface: what of a URL is used, what is rejected, and whether HTTP is spoken there."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import urllib3
from clickhouse_connect.driver.httputil import check_env_proxy
from urllib3.exceptions import HTTPError

__all__ = ["Address", "parse"]

DEFAULT_PORTS: Final = {"http": 8123, "https": 8443}
#: ``/ping`` asks nothing of the database, so even a busy server answers it at once.
PROBE_SECONDS: Final = 5.0
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+")


@dataclass(frozen=True, slots=True)
class Address:
    """``path`` is what a proxy has before ClickHouse's own paths, such as ``/clickhouse``; empty without one."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    def probe(self) -> None:
        """Ask whether anything speaks HTTP there; raises urllib3's ``HTTPError`` if not, after a few seconds at most."""
        proxy = check_env_proxy(self.scheme, self.host, self.port)
        manager = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
        try:
            manager.request("GET", f"{self}/ping", timeout=PROBE_SECONDS, retries=False)
        except ValueError as error:
            # What is no HTTP at all can also fail where its answer is read.
            raise HTTPError(f"no HTTP is spoken at {self}: {error}") from error
        finally:
            manager.clear()


def parse(url: str) -> Address:
    """Read ``http://HOST[:PORT][/PATH]`` or https; raises ``ValueError`` that says what is wrong, never with a password."""
    if not url.isprintable() or " " in url:
        raise ValueError("it holds white space or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as the resolver does, which takes no empty and no long label
    except ValueError as error:
        raise ValueError("it is no URL: its host or its port cannot be read") from error
    if parts.scheme not in DEFAULT_PORTS or not parts.netloc:
        raise ValueError(
            "give ClickHouse's HTTP interface, such as http://127.0.0.1:8123 or https://clickhouse.example:8443"
        )
    if "@" in parts.netloc:
        raise ValueError(
            "it holds a user or a password; give these as CLASSPULSE_CLICKHOUSE_USER and CLASSPULSE_CLICKHOUSE_PASSWORD"
        )
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("what follows ? or # is not used; the database is CLASSPULSE_CLICKHOUSE_DATABASE. Leave it out")
    if parts.hostname is None or not _HOST.fullmatch(parts.hostname):
        raise ValueError("its host is no name and no address")
    if port == 0:
        raise ValueError("its port is 0")
    path = parts.path.strip("/")
    return Address(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], f"/{path}" if path else "")
