"""What commands share that read ClickHouse for a person: which database, and what they say when it is away."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from schemas.errors import MustStop, Unreachable
from sinks.clickhouse import client as warehouse
from sinks.clickhouse.errors import classify
from streams.settings import Settings

__all__ = ["FAILURES", "away_is_final", "reading", "target_of"]

#: What a connection raises in the middle of an answer.
FAILURES = (ClickHouseError, HTTPError, OSError)


def target_of(settings: Settings, url: str | None, database: str | None, timeout_seconds: float) -> warehouse.Target:
    """Return the database of the settings, or the one that the options name."""
    return replace(
        settings.clickhouse,
        url=url or settings.clickhouse_url,
        database=database or settings.clickhouse_database,
        timeout_seconds=timeout_seconds,
    )


@contextmanager
def away_is_final(target: warehouse.Target, where: str = "CLASSPULSE_CLICKHOUSE_URL or --url") -> Iterator[None]:
    """Tell a person at once that there is no database, instead of waiting for it as a worker does.

    ``where`` names what says which one it is. Raises :class:`MustStop` in the place of :class:`Unreachable`; what a
    database answered says itself what is wrong.
    """
    try:
        yield
    except Unreachable as error:
        raise MustStop(str(error), f"Check that ClickHouse runs at {target.url}; {where} says where") from error


@contextmanager
def reading(target: warehouse.Target, what: str) -> Iterator[Client]:
    """Give a connection to do ``what`` with, and close it.

    Raises :class:`MustStop` and, for a failure in the middle that waiting may resolve, :class:`RetryLater`.
    """
    try:
        with away_is_final(target):
            client = warehouse.connect(target)
        with closing(client):
            yield client
    except FAILURES as error:
        raise classify(error, what) from error
