"""The metric rows: absolute values, the highest revision counts."""

import polars as pl

from schemas.metrics.catalogue import CATALOGUE_VERSION
from sinks.clickhouse.client import Warehouse
from sinks.stores.retention import AgedKeys, complete

TABLE = "metric_rows"


class MetricStore:
    """The table ``metric_rows``."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._aged_keys = AgedKeys(warehouse)

    def upsert(self, rows: pl.DataFrame) -> None:
        """Write rows of ``streams.core.rows.ROW_SCHEMA`` with ``topic``, ``partition`` and ``revision``.

        A row that would be computed from a part of its events, because the others are past their retention, is left
        out: the one that was computed from all of them stays.
        """
        for topic in filter(self._aged_keys.may_be_of, rows["topic"].unique()):
            keys = rows.filter(pl.col("topic") == topic)["key"].unique().to_list()
            rows = complete(rows, self._aged_keys.of(topic, keys))
        self._warehouse.insert(TABLE, rows.with_columns(pl.lit(CATALOGUE_VERSION, pl.UInt16).alias("catalogue_version")))
