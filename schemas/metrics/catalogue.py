"""Every metric that leaves, declared once: name, formula, windows, unit, source, and how it merges.

The documents, the views, the contract tests and the column lists are made from here. A group of metrics has one relative
path, ``Metric.path``, in four trees: ``schemas/metrics`` declares it, ``streams/core`` computes it, ``sinks/sql/verify``
recomputes it from the stored events for ``classpulse verify``, and ``tests/oracle`` computes it by plain loops.
"""

from typing import Final

from schemas.metrics.classroom import course, engagement, hands, participation, questions, students, talk, waiting
from schemas.metrics.metric import Metric
from schemas.metrics.prep import plans, prep_time
from schemas.metrics.research import feedback, meetings, participants

__all__ = ["CATALOGUE_VERSION", "METRICS", "ROW_KEY", "ROW_METRIC", "modules_of"]

#: Raised by one whenever a formula changes its meaning; stored in every row.
CATALOGUE_VERSION: Final = 3

METRICS: Final[tuple[Metric, ...]] = (
    *talk.METRICS,
    *waiting.METRICS,
    *questions.METRICS,
    *participation.METRICS,
    *hands.METRICS,
    *course.METRICS,
    *engagement.METRICS,
    *students.METRICS,
    *prep_time.METRICS,
    *plans.METRICS,
    *meetings.METRICS,
    *feedback.METRICS,
    *participants.METRICS,
)

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
