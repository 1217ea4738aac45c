"""Norms and scores (metric 31) against a naive recursion over the configuration."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.evaluation.indicators import indicator_metrics
from schemas.evaluation.tree import LOWEST_COVERAGE, Band, Dimension, Evaluation, Indicator, Linear, ShareNorm
from streams.core.evaluation.scores import MetricValue, points, scores

#: Metrics that every kind has and that have no items: enough for any tree here.
METRICS = sorted(name for name, found in indicator_metrics().items() if not found.missing_for and found.items == ("",))
WEIGHTS = st.floats(0.01, 100)
VALUES = st.floats(-1e6, 1e6)


@st.composite
def norms(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a norm."""
    low, one = draw(st.floats(-100, 100)), draw(st.floats(0.01, 100))
    if draw(st.booleans()):
        return {"kind": "linear", "zero": low, "one": low + one * draw(st.sampled_from([-1, 1]))}
    return {"kind": "band", "zero_below": low, "low": low + one, "high": low + 2 * one, "zero_above": low + 3 * one}


@st.composite
def trees(draw: st.DrawFn) -> Evaluation:
    """Draw a tree of dimensions with one metric an indicator."""
    names = iter(METRICS)

    def part(number: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {"id": f"d{number}", "chinese": "维", "english": "d", "weight": draw(WEIGHTS)}
        indicators = [
            {"id": f"i{place}", "metric": name, "weight": draw(WEIGHTS), "norm": draw(norms())}
            for place, name in zip(range(draw(st.integers(1, 3))), names, strict=False)
        ]
        below = [part(place, depth + 1) for place in range(draw(st.integers(0, 2)) if depth < 2 else 0)]
        return found | {"indicators": indicators, "dimensions": [one for one in below if one["indicators"]]}

    parts = [part(number, 1) for number in range(draw(st.integers(1, 3)))]
    return Evaluation.model_validate(
        {"format": 1, "chinese": "维", "english": "d", "dimensions": [one for one in parts if one["indicators"]]}
    )


def some_metrics(evaluation: Evaluation) -> st.SearchStrategy[dict[tuple[str, str], MetricValue]]:
    """Draw metrics for some of the indicators; some are NULL."""
    names = [(indicator.metric, "") for indicator in evaluation.indicators()]
    figure = st.builds(MetricValue, st.none() | VALUES, st.integers(0, 1000))
    return st.dictionaries(st.sampled_from(names), figure)


def naive(part: Dimension | Indicator, known: dict[tuple[str, str], MetricValue]) -> tuple[float, float]:
    """Return (earned, available) of the part as shares of itself."""
    if isinstance(part, Indicator):
        figure = known.get((part.metric, part.item))
        return (0.0, 0.0) if figure is None or figure.value is None else (points(part.norm, figure.value), 1.0)
    below: list[Dimension | Indicator] = [*part.dimensions, *part.indicators]
    return average([(one.weight, naive(one, known)) for one in below])


def average(parts: list[tuple[float, tuple[float, float]]]) -> tuple[float, float]:
    """Return the weighted means of both."""
    whole = sum(weight for weight, _ in parts)
    return (
        sum(weight * earned for weight, (earned, _) in parts) / whole,
        sum(weight * available for weight, (_, available) in parts) / whole,
    )


@settings(max_examples=40)
@given(st.data())
def test_the_root_is_the_naive_recursion(data: st.DataObject) -> None:
    """Score and coverage of the whole equal a recursion over the configuration; no score below 0.6 coverage."""
    evaluation = data.draw(trees())
    known = data.draw(some_metrics(evaluation))
    earned, available = average([(part.weight, naive(part, known)) for part in evaluation.dimensions])
    root = scores(evaluation.nodes("school"), known)[0]
    assert root.coverage == pytest.approx(available, abs=1e-9)
    if root.value is None:
        assert available < LOWEST_COVERAGE + 1e-6
    else:
        assert available > LOWEST_COVERAGE - 1e-6
        assert root.value == pytest.approx(earned / available, abs=1e-9)


@settings(max_examples=40)
@given(st.data())
def test_scores_stay_within_bounds(data: st.DataObject) -> None:
    """Every score and coverage lies between 0 and 1, and a score is there exactly where coverage suffices."""
    evaluation = data.draw(trees())
    for score in scores(evaluation.nodes("class"), data.draw(some_metrics(evaluation))):
        assert 0 <= score.coverage <= 1
        assert (score.value is None) == (score.coverage < LOWEST_COVERAGE - 1e-9)
        assert score.value is None or 0 <= score.value <= 1


@settings(max_examples=40)
@given(st.data())
def test_more_metrics_never_cover_less(data: st.DataObject) -> None:
    """One more metric lowers no coverage, so it takes no score away."""
    evaluation = data.draw(trees())
    known = data.draw(some_metrics(evaluation))
    extra = data.draw(st.sampled_from([indicator.metric for indicator in evaluation.indicators()]))
    nodes = evaluation.nodes("school")
    more = scores(nodes, {**known, (extra, ""): MetricValue(data.draw(VALUES), 5)})
    for before, after in zip(scores(nodes, known), more, strict=True):
        assert after.coverage >= before.coverage
        assert before.value is None or after.value is not None


@settings(max_examples=40)
@given(st.data(), st.floats(0.01, 1000))
def test_only_the_ratio_of_weights_counts(data: st.DataObject, factor: float) -> None:
    """All weights of siblings times a number change nothing."""
    evaluation = data.draw(trees())
    known = data.draw(some_metrics(evaluation))

    def scaled(part: dict[str, Any]) -> dict[str, Any]:
        below = {name: [scaled(one) for one in part[name]] for name in ("dimensions", "indicators") if name in part}
        return part | below | {"weight": part["weight"] * factor}

    told = evaluation.model_dump()
    told["dimensions"] = [scaled(part) for part in told["dimensions"]]
    other = Evaluation.model_validate(told)
    for one, two in zip(scores(evaluation.nodes("school"), known), scores(other.nodes("school"), known), strict=True):
        assert one.coverage == pytest.approx(two.coverage, abs=1e-9)
        if one.value is not None and two.value is not None:
            assert one.value == pytest.approx(two.value, abs=1e-9)


@pytest.mark.parametrize(
    ("norm", "value", "earned"),
    [
        (Linear(kind="linear", zero=0.2, one=0.7), 0.2, 0),
        (Linear(kind="linear", zero=0.2, one=0.7), 0.45, 0.5),
        (Linear(kind="linear", zero=0.2, one=0.7), 9, 1),
        (Linear(kind="linear", zero=300, one=0), 75, 0.75),
        (Linear(kind="linear", zero=300, one=0), -5, 1),
        (Band(kind="band", zero_below=0, low=0.2, high=0.6, zero_above=1), 0.1, 0.5),
        (Band(kind="band", zero_below=0, low=0.2, high=0.6, zero_above=1), 0.2, 1),
        (Band(kind="band", zero_below=0, low=0.2, high=0.6, zero_above=1), 0.6, 1),
        (Band(kind="band", zero_below=0, low=0.2, high=0.6, zero_above=1), 0.8, 0.5),
        (Band(kind="band", zero_below=0, low=0.2, high=0.6, zero_above=1), 7, 0),
        (ShareNorm(kind="share"), 0.3, 0.3),
        (ShareNorm(kind="share"), 1.2, 1),
        (Linear(kind="linear", zero=-1e15, one=1e15), 1.7e308, 1),
    ],
)
def test_what_a_metric_earns(norm: Linear | Band | ShareNorm, value: float, earned: float) -> None:
    """Norms at their bounds, between them and beyond."""
    assert points(norm, value) == pytest.approx(earned)


def tree(**more: Any) -> Evaluation:
    """Two dimensions: one of two indicators (weights 3 and 2), one of a single one."""
    share = {"kind": "share"}
    first = [
        {"id": "a", "metric": "attendance_rate", "weight": 3, "norm": share, **more},
        {"id": "b", "metric": "correct_rate", "weight": 2, "norm": share},
    ]
    second = [{"id": "c", "metric": "response_rate", "weight": 1, "norm": share}]
    parts = [
        {"id": name, "chinese": "维", "english": "d", "weight": weight, "indicators": below}
        for name, weight, below in (("one", 1, first), ("two", 3, second))
    ]
    return Evaluation.model_validate({"format": 1, "chinese": "维", "english": "d", "dimensions": parts})


def test_exactly_sixty_percent_is_enough() -> None:
    """Coverage of 3/5 gives a score, though 0.6 has no exact binary form; 2/5 gives none."""
    nodes = tree().nodes("school")
    three, two = MetricValue(0.5, 10), MetricValue(0.5, 10)
    assert scores(nodes, {("attendance_rate", ""): three})[1].value == 0.5
    assert scores(nodes, {("correct_rate", ""): two})[1].value is None


def test_a_dimension_without_a_score_still_counts_above() -> None:
    """What is there of a dimension below 0.6 coverage counts in the whole with its own weight."""
    known = {("correct_rate", ""): MetricValue(1.0, 4), ("response_rate", ""): MetricValue(0.0, 9)}
    root, one, *_rest = scores(tree().nodes("school"), known)
    assert one.value is None
    assert root.coverage == pytest.approx(0.75 + 0.25 * 0.4)
    assert root.value == pytest.approx(0.1 / 0.85)
    assert root.sample_size == 4


@pytest.mark.parametrize(
    "figure", [MetricValue(None, 20), MetricValue(math.nan, 20), MetricValue(math.inf, 20), MetricValue(0.9, 4)]
)
def test_what_is_not_available(figure: MetricValue) -> None:
    """NULL, what is no number, and a sample below min_sample are not available; the metric is shown all the same."""
    found = scores(tree(min_sample=5).nodes("school"), {("attendance_rate", ""): figure})
    indicator = next(score for score in found if score.node == "one/a")
    assert (indicator.value, indicator.coverage) == (None, 0)
    assert indicator.sample_size == figure.sample_size
