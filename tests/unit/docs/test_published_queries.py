"""What published queries must not do, whoever copies them."""

import re

import pytest

from tests.oracle.published import published

QUERIES = published()
#: Views with a row for each metric.
MANY_METRICS = re.compile(r"FROM v1_(?:\w+_)?(?:figures|latest|rollups|rollup_days)\w*", re.IGNORECASE)


@pytest.mark.parametrize(("place", "query"), QUERIES)
def test_values_of_different_metrics_are_never_mixed(place: str, query: str) -> None:
    """A query of a view of many metrics names its metric, or shows of which one a value is; none averages values."""
    assert not re.search(r"\bavg\w*\(", query), place
    if MANY_METRICS.search(query):
        shown, _, condition = query.partition("WHERE")
        named = re.search(r"\bmetric (?:=|IN) ", condition)
        assert named or re.search(r"\bmetric\b", shown.partition("FROM")[0]), place


def test_every_kind_of_place_is_read() -> None:
    """Pages, panels and the demo are among them."""
    places = {place.partition(":")[0] for place, _ in QUERIES}
    assert {"README.md", "docs/cookbook.md", "docs/tables.md", "Grafana", "demo"} <= places
