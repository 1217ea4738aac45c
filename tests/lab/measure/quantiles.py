"""Quantiles of what was measured: of values with weights, and of a Prometheus histogram."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["SHARES", "histogram_quantile", "of_weighted", "summary_ms"]

#: What is told of a distribution, by name.
SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def of_weighted(values: Sequence[tuple[float, float]], share: float) -> float:
    """Return the least value that, with all below it, has at least ``share`` of the weight.

    ``values``: pairs of value and weight above 0. ``share``: above 0, at most 1. Raises ``ValueError`` for anything else.
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"no quantile {share} of {len(values)} values")
    ordered = sorted(values)
    wanted = share * math.fsum(weight for _, weight in ordered)
    seen = 0.0
    for value, weight in ordered:
        seen += weight
        # Weights are counts; what rounding takes from a sum of them is far less than one.
        if seen >= wanted - 1e-6:
            return value
    return ordered[-1][0]


def summary_ms(seconds: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Return p50, p95, p99 and max of weighted seconds, in ms to a tenth."""
    return {f"{name}_ms": round(1000 * of_weighted(seconds, share), 1) for name, share in SHARES.items()}


def histogram_quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return a quantile of a Prometheus histogram, straight within a bucket; the last finite bound if it is beyond.

    ``buckets``: cumulative counts by upper bound, infinity included. None if it is empty.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    below_bound = below_count = 0.0
    for bound in bounds:
        if buckets[bound] >= share * total:
            if math.isinf(bound):
                return below_bound
            within = buckets[bound] - below_count
            return below_bound + (bound - below_bound) * (share * total - below_count) / within
        below_bound, below_count = bound, buckets[bound]
    return below_bound
