"""Every metric that leaves, declared once: name, formula, windows, unit, source, and how it merges.

The documents, the views, the contract tests and the column lists are made from here. The stream computes a metric in
``streams/core``; ``classpulse verify`` recomputes it from the stored events in SQL of its own.
"""

from typing import Final

from schemas.metrics.classroom_all import CLASSROOM_METRICS
from schemas.metrics.metric import Metric
from schemas.metrics.prep_all import PREP_METRICS
from schemas.metrics.research_all import RESEARCH_METRICS

__all__ = ["CATALOGUE_VERSION", "METRICS", "ROW_KEY", "ROW_METRIC", "modules_of"]

#: Raised by one whenever a formula changes its meaning; stored in every row.
CATALOGUE_VERSION: Final = 2

METRICS: Final[tuple[Metric, ...]] = (*CLASSROOM_METRICS, *PREP_METRICS, *RESEARCH_METRICS)

#: Columns of ``metric_rows`` that identify a row, then those that carry its metric.
ROW_KEY: Final = ("metric", "window", "key", "item", "slot")
ROW_METRIC: Final = ("window_start", "window_end", "value", "numerator", "denominator", "sample_size", "parts")


def modules_of(family: str) -> dict[str, list[str]]:
    """Return the names of the family's metrics by the module that computes them."""
    found: dict[str, list[str]] = {}
    for metric in METRICS:
        if metric.family == family:
            found.setdefault(metric.module, []).append(metric.name)
    return found
