"""How the stored events of a key are found."""

import polars as pl
import pytest

from schemas.events.event_types import FAMILIES, Family
from sinks.clickhouse.client import Warehouse


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_what_is_stored_of_others_is_not_read_for_a_new_key(warehouse: Warehouse, family: Family) -> None:
    """Between two stored keys the primary index cannot say no; the filter of the granule can."""
    stored = pl.DataFrame({"key": ["a", "c"], "time_us": [0, 0], "source": ["s", "s"], "id": ["1", "2"]})
    warehouse.insert(family.table, stored)
    query = f"EXPLAIN indexes = 1 SELECT id FROM {family.table} WHERE key IN %(keys)s"

    def granules_read(key: str) -> list[str]:
        lines = warehouse.query("explain", query, {"keys": [key]}).to_series().str.strip_chars()
        return [line for line in lines if line.startswith("Granules: ")]

    assert granules_read("b")[-2:] == ["Granules: 1/1", "Granules: 0/1"]
    assert granules_read("c")[-2:] == ["Granules: 1/1", "Granules: 1/1"]
