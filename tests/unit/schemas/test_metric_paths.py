"""A group of metrics has one relative path in four trees: its declaration, its stream, its SQL and its oracle."""

from importlib import import_module
from pathlib import Path

import pytest

from schemas.metrics.catalogue import METRICS
from schemas.metrics.metric import Metric

ROOT = Path(__file__).parents[3]
GROUPS = {metric.path for metric in METRICS}
FAMILIES = {metric.family for metric in METRICS}
#: By tree: its suffix, and the modules of a family that hold no group of metrics but what the groups share.
TREES = {
    "schemas/metrics": (".py", {"__init__", "lessons", "activities"}),
    "streams/core": (".py", {"__init__", "family", "lessons", "sides", "activities"}),
    "sinks/sql/verify": (".sql", {"events", "places", "has_places"}),
    "tests/oracle": (".py", {"__init__", "family", "lessons", "activities", "days"}),
}


@pytest.mark.parametrize("tree", TREES)
def test_every_tree_has_the_same_groups(tree: str) -> None:
    """Each declared group has its module in the tree, and the tree has no other."""
    suffix, shared = TREES[tree]
    files = [path for family in FAMILIES for path in (ROOT / tree / family).glob(f"*{suffix}")]
    assert {f"{path.parent.name}/{path.stem}" for path in files if path.stem not in shared} == GROUPS


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_declaration_names_its_own_module(metric: Metric) -> None:
    """The path of a metric is that of the one module that declares it."""
    declaring = [path for path in GROUPS if metric in import_module(f"schemas.metrics.{path.replace('/', '.')}").METRICS]
    assert declaring == [metric.path]
