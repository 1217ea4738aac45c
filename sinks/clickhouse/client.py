"""ClickHouse over HTTP: one connection, and the rule by which a failed call is repeated or given up.

Every write here can be repeated without a second effect (see ``docs/delivery.md``), so a call is repeated for as long
as the database is away: the caller stands still, which is the backpressure. What cannot get better by waiting (a
missing column, a bad password) raises :class:`MustStop` with the remedy; ``sinks/clickhouse/errors.py`` tells them apart.
"""

import math
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from schemas.errors import MustStop, Rejected, RetryLater, RowsRejected, Stopping
from sinks.clickhouse import address
from sinks.clickhouse.answers import Value, answered
from sinks.clickhouse.errors import ATTEMPTS_AT_UNKNOWN, classify

T = TypeVar("T")

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 10.0

#: Every table that is divided into months is written in inserts of so many: ClickHouse makes a part of each month, and by
#: default rejects an insert of more than this.
MOST_MONTHS_PER_INSERT: Final = 100

#: Set explicitly, so that a server's defaults cannot change what an insert means: synchronous, and without the server's
#: own deduplication, which silently drops other rows under a reused token (docs/decisions/0003-inserts.md). Merging equal
#: keys within an insert is left to the background; no insert of ours holds a key twice.
WRITE_SETTINGS: Final = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "optimize_on_insert": 0,
    "input_format_null_as_default": 1,
    "max_partitions_per_insert_block": MOST_MONTHS_PER_INSERT,
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

    Raises :class:`RetryLater` while the server is away and :class:`MustStop` if it rejects this user, or if the URL is none
    that can be used.
    """
    try:
        found = address.parse(target.url)
    except ValueError as error:
        remedy = "Correct CLASSPULSE_CLICKHOUSE_URL or --url"
        raise MustStop(f"The address of ClickHouse is wrong: {error}", remedy) from None
    try:
        # The driver waits for what is no HTTP as long as for a query, several times.
        found.probe()
        return clickhouse_connect.get_client(
            host=found.host,
            port=found.port,
            proxy_path=found.path,
            secure=found.scheme == "https",
            username=target.user,
            password=target.password,
            database=database or target.database,
            connect_timeout=math.ceil(min(10, target.timeout_seconds)),
            send_receive_timeout=math.ceil(target.timeout_seconds),
            autogenerate_session_id=False,
            compress=False,
            client_name="classpulse",
        )
    except (ClickHouseError, HTTPError, OSError) as error:
        raise classify(error, f"connect to ClickHouse at {found}") from error
    except (ValueError, LookupError, TypeError) as error:
        # Its answers are read without doubt in them: another server's fail anywhere.
        raise RetryLater(f"Could not connect to ClickHouse: what answers at {found} is another server") from error


def _as_time(name: str) -> pl.Expr:
    return pl.from_epoch(name, time_unit="us").dt.replace_time_zone("UTC").alias(name.removesuffix("_us"))


def _of_few_months(rows: pl.DataFrame, months_of: str | None) -> list[pl.DataFrame]:
    """Return ``rows`` in parts that lie in at most ``MOST_MONTHS_PER_INSERT`` months each; no part for no rows."""
    if rows.is_empty():
        return []
    if months_of is None:
        return [rows]
    nth_month = pl.from_epoch(months_of, time_unit="us").dt.truncate("1mo").rank("dense") - 1
    insert = rows.select(nth_month.floordiv(MOST_MONTHS_PER_INSERT).alias("insert")).to_series()
    return [rows] if insert.n_unique() == 1 else [rows.filter(insert == number) for number in insert.unique().sort()]


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

        Raises :class:`MustStop` for what waiting does not cure, :class:`Stopping` when asked to stop before or meanwhile.
        """
        ceiling_seconds = FIRST_DELAY_SECONDS
        unknown_code, attempts = 0, 0
        while True:
            if self._stop.is_set():
                raise Stopping(f"Stopped before it could {what}")
            try:
                if self._client is None:
                    self._client = connect(self._target)
                return operation(self._client)
            except (RetryLater, Rejected) as error:
                reason: Exception = error
            except (ClickHouseError, HTTPError, OSError) as error:
                reason = classify(error, what)
            self._forget_client()
            if isinstance(reason, MustStop):
                if not isinstance(reason, Rejected) or isinstance(reason, RowsRejected):
                    raise reason
                attempts = attempts + 1 if reason.code == unknown_code else 1
                unknown_code = reason.code
                if attempts == ATTEMPTS_AT_UNKNOWN:
                    raise reason
            else:
                attempts = 0
            self._on_retry(what, reason)
            if self._stop.wait(self._random.uniform(0, ceiling_seconds)):
                raise Stopping(f"Stopped while waiting to {what}") from reason
            ceiling_seconds = min(LONGEST_DELAY_SECONDS, ceiling_seconds * 2)

    def insert(self, table: str, rows: pl.DataFrame, *, months_of: str | None = None) -> None:
        """Insert ``rows`` by column name; does nothing for none.

        A column ``<name>_us`` (microseconds since the epoch) becomes the time column ``<name>``. ``months_of`` is the
        column by whose months (UTC) the table is divided: of many months several inserts are made.
        Raises what :meth:`call` raises; :class:`RowsRejected` if ClickHouse will never take some of the rows.
        """
        for part in _of_few_months(rows, months_of):
            timed = part.select(_as_time(name) if name.endswith("_us") else name for name in part.columns)
            arrow = timed.to_arrow(compat_level=pl.CompatLevel.oldest())
            self.call(
                f"insert {part.height} rows into {table}",
                partial(Client.insert_arrow, table=table, arrow_table=arrow, settings=WRITE_SETTINGS),
            )

    def query(self, what: str, sql: str, parameters: Mapping[str, Value] | None = None) -> pl.DataFrame:
        """Return the answer to ``sql``, whose ``{name:Type}`` the server fills in."""
        return self.call(what, lambda client: answered(client, sql, parameters or {}))

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
