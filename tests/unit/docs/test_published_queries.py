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


@pytest.mark.parametrize(("place", "query"), QUERIES)
def test_nobody_is_ranked(place: str, query: str) -> None:
    """A query of single teachers or students does not order them by a value or a score."""
    of_persons = re.search(r"(?:level|kind) = '(?:teacher|student)'|GROUP BY (?:teacher_id|student)", query)
    ordered = query.rpartition("ORDER BY")[2] if "ORDER BY" in query else ""
    by_value = re.match(r"\s*(?:\w+\.)?(?:value|score|level|z|metric_value)\b", ordered)
    assert not (of_persons and by_value), place


def test_every_kind_of_place_is_read() -> None:
    """Both languages' pages, example programs, panels and the demo are among them."""
    places = {place.partition(":")[0] for place, _ in QUERIES}
    pages = {"README.md", "README.zh-CN.md", "docs/cookbook.md", "docs/tables.md", "docs/features.md"}
    assert pages | {"docs/examples/evaluation_service.py", "Grafana", "demo"} <= places
