"""How the tests speak to the ClickHouse part: raw HTTP requests, and clickhouse-connect clients."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

from deploy.local.stack.stack import StackInfo

OWNER = "embedded_owner"
WRITER = "classpulse_worker"
READER = "classpulse_reader"


@dataclass(frozen=True)
class Answer:
    """A raw HTTP answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def code(self) -> int:
        """ClickHouse's error code, 0 when there is none."""
        return int(self.headers.get("x-clickhouse-exception-code", "0"))


class Http:
    """Raw HTTP requests to the ClickHouse part, as one of the stack's users."""

    def __init__(self, info: StackInfo) -> None:
        self.info = info
        parts = urlsplit(info.clickhouse_url)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)

    def __call__(
        self,
        body: bytes | str = b"",
        *,
        method: str = "POST",
        path: str = "/",
        user: str | None = OWNER,
        headers: Mapping[str, str] | None = None,
        **parameters: str | float,
    ) -> Answer:
        """Send one request on a connection of its own; keyword arguments are URL parameters."""
        sent = dict(headers or {})
        if user is not None:
            sent |= {"X-ClickHouse-User": user, "X-ClickHouse-Key": self.info.users.get(user, "")}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            data = body.encode() if isinstance(body, str) else body
            query = f"?{urlencode(parameters)}" if parameters else ""
            connection.request(method, f"{path}{query}", body=data if method != "GET" else None, headers=sent)
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, response.read())
        finally:
            connection.close()

    def client(self, user: str = OWNER, **options: Any) -> Client:
        """A clickhouse-connect client, to be closed by the caller."""
        return clickhouse_connect.get_client(
            host=self.host, port=self.port, username=user, password=self.info.users[user], **options
        )
