"""Reads the roll-ups of ``v1_rollups`` and ``v1_rollup_days``."""

from datetime import date, datetime
from typing import Final

import polars as pl
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.answers import FAR_FUTURE, answered, instant
from sinks.views.rollups import LEVELS, VIEWS

__all__ = ["latest_cycle", "rollup_days", "rollups"]

#: The server works out what a parameterised view's columns are each time it is read; its SELECT alone spares that, which
#: is half of what a small roll-up takes.
_SELECTS: Final = {view.name: view.select for view in VIEWS}


def rollups(
    client: Client, level: str, *, school: str = "", as_of: datetime | None = None, day_from: date, day_to: date
) -> pl.DataFrame:
    """Return the metrics of each entity of ``level``, merged over the days, both included.

    Columns: ``level, entity_id, metric, item, value`` (None where the denominator is 0)``, numerator, denominator,
    sample_size, keys``. ``school``: only this school, for groups only the group of it; '' for all. ``as_of``: what was
    known then, by default now. A read as of a completed cycle (:func:`latest_cycle`) or before can be repeated.

    Raises ``ValueError`` for an unknown level and an ``as_of`` without a zone, and clickhouse-connect's
    ``ClickHouseError``.
    """
    return _read(client, "v1_rollups", level, school, as_of, (day_from, day_to))


def rollup_days(
    client: Client, level: str, *, school: str = "", as_of: datetime | None = None, day_from: date, day_to: date
) -> pl.DataFrame:
    """Return the metrics of each entity of ``level`` for each day: as :func:`rollups`, with ``day`` after ``entity_id``."""
    return _read(client, "v1_rollup_days", level, school, as_of, (day_from, day_to))


def latest_cycle(client: Client) -> datetime | None:
    """Return the instant of the evaluator's latest completed cycle; None before the first."""
    count, latest = client.query("SELECT count(), max(cycle_at) FROM evaluator_cycles").result_rows[0]
    return instant(latest) if count else None


def _read(
    client: Client, view: str, level: str, school: str, as_of: datetime | None, days: tuple[date, date]
) -> pl.DataFrame:
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}; give one of {', '.join(LEVELS)}")
    known_at = as_of or FAR_FUTURE
    if known_at.tzinfo is None:
        raise ValueError("as_of needs a zone, such as UTC")
    day_from, day_to = days
    return answered(
        client,
        _SELECTS[view],
        {"level": level, "school": school, "as_of": known_at, "day_from": day_from, "day_to": day_to},
    )
