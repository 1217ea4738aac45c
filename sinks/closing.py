"""When a row of ``metric_rows`` closes: the end of its window, and the time in which evidence for it may still come."""

from typing import Final

from schemas.metrics.catalogue import METRICS

__all__ = ["CLOSES_AT"]

_LATER: Final = {metric.name: metric.evidence_us for metric in METRICS if metric.evidence_us}

#: An expression on the row ``f``.
CLOSES_AT: Final = (
    f"addMicroseconds(f.window_end, transform(toString(f.metric), {list(_LATER)}, {list(_LATER.values())}, toInt64(0)))"
)
