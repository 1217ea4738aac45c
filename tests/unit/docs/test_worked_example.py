"""The examples on the pages, worked out again by code that shares nothing with theirs."""

import re
from pathlib import Path

import pytest

from docs.generate.portraits import OBSERVATIONS
from docs.generate.scores import LESSONS
from docs.generate.scores import METRICS as METRIC_VALUES
from docs.generate.worked import EVENTS, PAGE, example
from schemas.metrics.catalogue import METRICS
from schemas.metrics.metric import Metric
from schemas.metrics.rules import MetricRules
from tests.oracle.oracle import Rows, expected_rows

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def rows() -> Rows:
    """What the plain loops of the tests make of the events."""
    return expected_rows([event for events in EVENTS.values() for event in events], MetricRules())


@pytest.mark.parametrize("metric", [pytest.param(metric, id=metric.name) for metric in METRICS])
def test_every_metric_has_an_example_that_is_right(metric: Metric, rows: Rows) -> None:
    """The page says of each metric what the loops say of one of its rows."""
    told = {
        (f"{row.numerator:.6g} / {row.denominator:.6g} = {row.value:.6g}", key.item, row.sample_size)
        for key, row in rows.items()
        if key.metric == metric.name and row.value is not None
    }
    found = re.fullmatch(r"(.+? = \S+?)(?: of `(.+)`)?, sample (\d+)", example(metric))
    assert found
    assert (found[1], found[2] or "", int(found[3])) in told
    assert example(metric) in (DOCS / PAGE).read_text(encoding="utf-8")
    assert example(metric) in (DOCS / "metrics.md").read_text(encoding="utf-8")


def test_the_level_of_the_example_is_right() -> None:
    """The level of the page is the mean that its formula gives."""
    weights = [2 ** (-age / 14) * sample for age, _, sample in OBSERVATIONS]
    level = sum(weight * value for weight, (_, value, _) in zip(weights, OBSERVATIONS, strict=True)) / sum(weights)
    assert f"**{level:.4f}**" in (DOCS / "portraits.md").read_text(encoding="utf-8")


def test_the_score_of_the_example_is_right() -> None:
    """Points by the norms' own words, the mean over the weights of what is there, and how much of the weight that is."""
    page = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    rate, breadth = METRIC_VALUES["response_rate"], METRIC_VALUES["participation_breadth"]
    assert rate is not None
    assert breadth is not None
    response = (rate - 0.1) / (0.8 - 0.1)
    weights = {"response": 2 / 4, "breadth": 1 / 4, "attendance": 1 / 4}
    known = weights["response"] + weights["breadth"]
    score = (weights["response"] * response + weights["breadth"] * breadth) / known
    assert f"Score **{score:.4f}**" in page
    assert f"coverage {known}" in page
    merged = sum(numerator for numerator, _ in LESSONS) / sum(denominator for _, denominator in LESSONS)
    assert f"**{merged:.4f}**" in page
