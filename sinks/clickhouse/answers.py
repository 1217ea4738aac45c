"""Questions with parameters that the server fills in (``{name:Type}``), answered as frames.

Parameters are bound in no other way: a value that the client wrote into the text would be read with the type of the number
it happens to be. Short ones travel in the URL, long ones in a form; a server takes 128 KiB of each, so long lists are asked
about in parts (:func:`in_parts`).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

import polars as pl
from clickhouse_connect.driver.client import Client

__all__ = ["FAR_FUTURE", "Value", "answered", "bound", "in_parts", "instant"]

#: As of then everything is known.
FAR_FUTURE: Final = datetime(2200, 1, 1, tzinfo=UTC)
#: Of one parameter, as it travels; ClickHouse's ``http_max_field_value_size`` is 131,072 by default.
LARGEST_PARAMETER_BYTES: Final = 120_000

T = TypeVar("T")
Value = str | int | float | date | datetime | Sequence[str] | Sequence[int] | Sequence[tuple[Any, ...]]


def bound(parameters: Mapping[str, Value]) -> dict[str, Any]:
    """Return parameters as the server reads them: instants in UTC with their microseconds, which the driver would cut."""
    return {name: _text(value) for name, value in parameters.items()}


def in_parts(values: Sequence[T], most: int) -> Iterator[list[T]]:
    """Yield texts, or tuples with texts, in lists of at most ``most``, each short enough to be one parameter."""
    part: list[T] = []
    left_bytes = LARGEST_PARAMETER_BYTES
    for value in values:
        # Any character may be escaped, and each text has quotes, a comma and a blank.
        size_bytes = 2 * len(str(value).encode()) + 4
        if part and (len(part) == most or size_bytes > left_bytes):
            yield part
            part, left_bytes = [], LARGEST_PARAMETER_BYTES
        part.append(value)
        left_bytes -= size_bytes
    if part:
        yield part


def answered(client: Client, sql: str, parameters: Mapping[str, Value]) -> pl.DataFrame:
    """Return the answer to ``sql``. Raises clickhouse-connect's ``ClickHouseError`` if there is none."""
    frame = pl.from_arrow(client.query_arrow(sql, parameters=bound(parameters), use_strings=True))
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
