"""What the path is told about time and size."""

from dataclasses import dataclass, field

from schemas.metrics.rules import MetricRules


@dataclass(frozen=True, slots=True)
class Rules:
    """Times in microseconds; ``cache_max_rows`` bounds the event cache of each family."""

    out_of_orderness_us: int
    idle_us: int
    cache_max_rows: int
    metrics: MetricRules = field(default_factory=MetricRules)
    #: Rejected share of a partition's recent records that opens its circuit; 0 switches that off.
    breaker_share: float = 0.0
    #: A write begins once so many records wait, or the oldest has waited so long.
    flush_max_rows: int = 60_000
    flush_interval_seconds: float = 0.5
