"""Reads ``v1_features``: what a model of the evaluation trains on."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.answers import answered
from sinks.views.rollups import LEVELS, VIEWS

__all__ = ["LONG_COLUMNS", "features"]

LONG_COLUMNS: Final = ("entity_id", "week", "metric", "item", "value", "sample_size", "coverage", "catalogue_version")
_SELECT: Final = next(view.select for view in VIEWS if view.name == "v1_features")


def features(client: Client, level: str, weeks: Sequence[date], known_at: datetime, school: str = "") -> pl.DataFrame:
    """Return the metrics of each entity of ``level`` in the ISO weeks (Mondays), as they were known at ``known_at``.

    Columns: ``LONG_COLUMNS``; a metric that is NULL is left out. ``school``: only this school; '' for all.

    Raises ``ValueError`` for an unknown level, for no week, and for an instant without a zone, and clickhouse-connect's
    ``ClickHouseError``.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}; give one of {', '.join(LEVELS)}")
    if not weeks or known_at.tzinfo is None:
        raise ValueError("give at least one week, and an instant with a zone")
    found = answered(
        client,
        f"SELECT {', '.join(LONG_COLUMNS)} FROM ({_SELECT}) WHERE value IS NOT NULL",  # noqa: S608 - of constants alone
        {
            "level": level,
            "school": school,
            "as_of": known_at,
            "day_from": min(weeks),
            "day_to": max(weeks) + timedelta(days=6),
        },
    )
    return found.filter(pl.col("week").is_in(list(weeks)))
