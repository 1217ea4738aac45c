"""The metric rows: absolute values, the highest revision counts."""

import polars as pl

from schemas.figures import CATALOGUE_VERSION
from sinks.warehouse import Warehouse

TABLE = "metric_rows"


class MetricStore:
    """The table ``metric_rows``."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def upsert(self, rows: pl.DataFrame) -> None:
        """Write rows of ``streams.core.rows.ROW_SCHEMA`` with ``topic``, ``partition`` and ``revision``."""
        self._warehouse.insert(TABLE, rows.with_columns(pl.lit(CATALOGUE_VERSION, pl.UInt16).alias("catalogue_version")))
