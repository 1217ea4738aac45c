"""Questions with parameters that the server fills in (``{name:Type}``), answered as frames."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

import polars as pl
from clickhouse_connect.driver.client import Client

__all__ = ["FAR_FUTURE", "answered", "bound", "framed", "instant"]

#: As of then everything is known.
FAR_FUTURE: Final = datetime(2200, 1, 1, tzinfo=UTC)

Value = str | int | float | date | datetime | Sequence[str]


def bound(parameters: Mapping[str, Value]) -> dict[str, Any]:
    """Return parameters as the server reads them: instants in UTC with their microseconds, which the driver would cut."""
    return {name: _text(value) for name, value in parameters.items()}


def answered(client: Client, sql: str, parameters: Mapping[str, Value]) -> pl.DataFrame:
    """Return the answer to ``sql``. Raises clickhouse-connect's ``ClickHouseError`` if there is none."""
    return framed(client, sql, bound(parameters))


def framed(client: Client, sql: str, parameters: Mapping[str, Any]) -> pl.DataFrame:
    """As :func:`answered`, with parameters as the driver takes them, also those it fills in itself (``%(name)s``)."""
    frame = pl.from_arrow(client.query_arrow(sql, parameters=dict(parameters), use_strings=True))
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("expected a table")
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def instant(value: datetime) -> datetime:
    """Return an instant of an answer with its zone, UTC, which the driver leaves out."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def _text(value: Value) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, date):
        return value.isoformat()
    return value
