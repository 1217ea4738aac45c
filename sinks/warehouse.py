"""ClickHouse over HTTP: one connection, and the rule by which a failed call is repeated or given up.

Every write here can be repeated without a second effect (see ``docs/delivery.md``), so a call is repeated for as long
as the database is away: the caller stands still, which is the backpressure. What cannot get better by waiting (a
missing column, a bad password) raises :class:`MustStop` with the remedy.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error
from urllib3.exceptions import HTTPError

from schemas.errors import MustStop, RetryLater, Stopping

T = TypeVar("T")

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 10.0

#: Codes of ClickHouse that waiting cannot mend, each with what can.
REMEDIES: Final = {
    16: "A column is missing: run `classpulse migrate`",
    47: "A column is missing: run `classpulse migrate`",
    53: "A column has another type: run `classpulse migrate`",
    60: "A table is missing: run `classpulse migrate`",
    62: "The statement is not understood: check that the server is ClickHouse 25.10 or later",
    81: "The database is missing: run `classpulse migrate`",
    115: "The server does not know a setting: check that it is ClickHouse 25.10 or later",
    164: "This user may only read: give CLASSPULSE_CLICKHOUSE_USER the right to insert",
    192: "Check CLASSPULSE_CLICKHOUSE_USER",
    193: "Check CLASSPULSE_CLICKHOUSE_PASSWORD",
    194: "Set CLASSPULSE_CLICKHOUSE_PASSWORD",
    497: "Grant this user the rights of deploy/clickhouse/users.sql",
    516: "Check CLASSPULSE_CLICKHOUSE_USER and CLASSPULSE_CLICKHOUSE_PASSWORD",
}

#: Set explicitly, so that a server's defaults cannot change what an insert means: synchronous, and without the server's
#: own deduplication, which silently drops other rows under a reused token (docs/decisions/0003-inserts.md). Merging equal
#: keys within an insert is left to the background; no insert of ours holds a key twice.
WRITE_SETTINGS: Final = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "optimize_on_insert": 0,
    "input_format_null_as_default": 1,
}


@dataclass(frozen=True)
class Target:
    """Which database, and who asks. The password never shows in ``repr``."""

    url: str
    user: str
    password: str = field(repr=False)
    database: str
    timeout_seconds: float = 30.0


def connect(target: Target, *, database: str | None = None) -> Client:
    """Open a connection; it asks the server for its version.

    Raises :class:`RetryLater` while the server is away and :class:`MustStop` if it refuses this user.
    """
    parts = urlsplit(target.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise MustStop(
            f"{target.url!r} is not the address of a ClickHouse server",
            "Set CLASSPULSE_CLICKHOUSE_URL to something like http://127.0.0.1:8123",
        )
    try:
        return clickhouse_connect.get_client(
            host=parts.hostname,
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            secure=parts.scheme == "https",
            username=target.user,
            password=target.password,
            database=database or target.database,
            connect_timeout=int(min(10, target.timeout_seconds)),
            send_receive_timeout=int(target.timeout_seconds),
            autogenerate_session_id=False,
            compress=False,
            client_name="classpulse",
        )
    except (ClickHouseError, HTTPError, OSError) as error:
        raise classify(error, "connect to ClickHouse") from error


def classify(error: Exception, what: str) -> MustStop | RetryLater:
    """Return what the caller can do about ``error``, which stopped it from doing ``what``."""
    code = error.code if isinstance(error, Error) else None
    text = " ".join(str(error).split())[:500]
    if code in REMEDIES:
        return MustStop(f"Could not {what}: {text}", REMEDIES[code])
    return RetryLater(f"Could not {what}: {text}")


def _as_time(name: str) -> pl.Expr:
    return pl.from_epoch(name, time_unit="us").dt.replace_time_zone("UTC").alias(name.removesuffix("_us"))


class Warehouse:
    """The worker's connection. Not thread-safe: one thread uses it.

    ``on_retry(what, error)`` is called before each wait; ``stop`` ends a wait with :class:`Stopping`.
    """

    def __init__(
        self,
        target: Target,
        *,
        stop: threading.Event | None = None,
        on_retry: Callable[[str, Exception], None] = lambda _what, _error: None,
    ) -> None:
        self._target = target
        self._stop = stop or threading.Event()
        self._on_retry = on_retry
        self._client: Client | None = None
        # Jitter keeps many workers from returning at the same instant; it decides nothing else.
        self._random = random.Random()  # noqa: S311

    def call(self, what: str, operation: Callable[[Client], T]) -> T:
        """Run ``operation``, again and again while the database is away.

        Raises :class:`MustStop` for what waiting cannot mend, :class:`Stopping` when asked to stop meanwhile.
        """
        ceiling_seconds = FIRST_DELAY_SECONDS
        while True:
            try:
                if self._client is None:
                    self._client = connect(self._target)
                return operation(self._client)
            except RetryLater as error:
                reason: Exception = error
            except (ClickHouseError, HTTPError, OSError) as error:
                reason = classify(error, what)
                self._forget_client()
                if isinstance(reason, MustStop):
                    raise reason from error
            self._on_retry(what, reason)
            if self._stop.wait(self._random.uniform(0, ceiling_seconds)):
                raise Stopping(f"Stopped while waiting to {what}") from reason
            ceiling_seconds = min(LONGEST_DELAY_SECONDS, ceiling_seconds * 2)

    def insert(self, table: str, rows: pl.DataFrame) -> None:
        """Insert ``rows`` by column name; does nothing for none.

        A column ``<name>_us`` (microseconds since the epoch) becomes the time column ``<name>``.
        """
        if rows.is_empty():
            return
        timed = rows.select(_as_time(name) if name.endswith("_us") else name for name in rows.columns)
        arrow = timed.to_arrow(compat_level=pl.CompatLevel.oldest())
        self.call(
            f"insert {rows.height} rows into {table}",
            lambda client: client.insert_arrow(table, arrow, settings=WRITE_SETTINGS),
        )

    def query(self, what: str, sql: str, parameters: dict[str, Any] | None = None) -> pl.DataFrame:
        """Return the answer to ``sql``; ``%(name)s`` in it are filled in, quoted."""
        table = self.call(
            what,
            lambda client: client.query_arrow(sql, parameters=parameters, use_strings=True),
        )
        frame = pl.from_arrow(table)
        if not isinstance(frame, pl.DataFrame):
            raise TypeError(f"expected a table to {what}")
        return frame

    def ping(self) -> bool:
        """Return whether the database answers now, without waiting for it."""
        try:
            if self._client is None:
                self._client = connect(self._target)
            return bool(self._client.ping())
        except (RetryLater, MustStop):
            return False

    def close(self) -> None:
        """Close the connection."""
        self._forget_client()

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
