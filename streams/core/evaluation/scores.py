"""Scores of an evaluation (metric 31): norms, weighted means over what is available, and how much was.

An indicator's points are its metric through its norm. Let w be the shares of the indicators in the whole. The score of a
node is the sum of w x points over the indicators below it that have a metric, divided by the sum of their w; its coverage
is that sum divided by the sum of w over all indicators below it. A node that is covered below LOWEST_COVERAGE has no
score, but what is there below it still counts further up, with its own weight: nothing is guessed and nothing is lost.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.evaluation.tree import LOWEST_COVERAGE, Band, Linear, Node, Norm

__all__ = ["MetricValue", "NodeScore", "points", "scores"]

#: Shares are sums of quotients: 0.6 made of thirds and fifths may come out a little below it.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class MetricValue:
    """What a roll-up says: ``value`` in the metric's unit, None for NULL."""

    value: float | None
    sample_size: int


@dataclass(frozen=True, slots=True)
class NodeScore:
    """One node of a scored tree.

    ``value``: 0 to 1, None below LOWEST_COVERAGE. ``coverage``: 0 to 1. ``weight``: share of the whole, 0 to 1.
    ``figure``: the indicator's metric, None where there is none and for dimensions. ``sample_size``: the figure's; of a
    dimension the smallest of its available indicators, 0 without any.
    """

    node: str
    value: float | None
    coverage: float
    weight: float
    figure: float | None
    sample_size: int


def points(norm: Norm, value: float) -> float:
    """Return what ``value`` earns under ``norm``, from 0 to 1."""
    if isinstance(norm, Linear):
        return _clipped(_rise(norm.zero, norm.one, value))
    if isinstance(norm, Band):
        return _clipped(min(_rise(norm.zero_below, norm.low, value), _rise(norm.zero_above, norm.high, value)))
    return _clipped(value)


def scores(nodes: Sequence[Node], metric_values: Mapping[tuple[str, str], MetricValue]) -> list[NodeScore]:
    """Score a tree of ``Evaluation.nodes``; ``metric_values`` by metric and item. Returns one score a node, in the same
    order.
    """
    earned = dict.fromkeys((node.path for node in nodes), 0.0)
    available, whole, smallest = dict(earned), dict(earned), dict.fromkeys(earned, math.inf)
    parents = {node.path: node.parent for node in nodes}
    known: dict[str, MetricValue | None] = {}
    for node in nodes:
        if node.indicator is None:
            continue
        figure = metric_values.get((node.indicator.metric, node.indicator.item))
        known[node.path] = figure
        value = _available(figure, node.indicator.min_sample)
        found = None if value is None else points(node.indicator.norm, value)
        for path in _upwards(node.path, parents):
            whole[path] += node.share
            if found is not None and figure is not None:
                earned[path] += node.share * found
                available[path] += node.share
                smallest[path] = min(smallest[path], figure.sample_size)
    return [_scored(node, known.get(node.path), earned, available, whole, smallest) for node in nodes]


def _scored(
    node: Node,
    figure: MetricValue | None,
    earned: Mapping[str, float],
    available: Mapping[str, float],
    whole: Mapping[str, float],
    smallest: Mapping[str, float],
) -> NodeScore:
    path = node.path
    coverage = _clipped(available[path] / whole[path])
    covered = coverage >= LOWEST_COVERAGE - _ROUNDING
    value = _clipped(earned[path] / available[path]) if covered else None
    if figure is not None:
        return NodeScore(path, value, coverage, node.share, figure.value, figure.sample_size)
    return NodeScore(path, value, coverage, node.share, None, int(smallest[path]) if available[path] else 0)


def _available(figure: MetricValue | None, min_sample: int) -> float | None:
    if figure is None or figure.value is None or not math.isfinite(figure.value):
        return None
    return figure.value if figure.sample_size >= min_sample else None


def _upwards(path: str, parents: Mapping[str, str]) -> list[str]:
    """Return the node and all above it, the root with the empty path last."""
    found = [path]
    while path:
        path = parents[path]
        found.append(path)
    return found


def _rise(zero: float, one: float, value: float) -> float:
    return (value - zero) / (one - zero)


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))
