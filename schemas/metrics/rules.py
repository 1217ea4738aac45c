"""What a deployment decides about its metrics; the worker and ``classpulse verify`` must be told the same."""

import math
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["ENGAGEMENT_PARTS", "MetricRules"]

#: The parts of ``engagement_index``, in the order of its weights.
ENGAGEMENT_PARTS: Final = (
    "response_rate",
    "participation_breadth",
    "participation_gini",
    "interactions_per_student_minute",
)


@dataclass(frozen=True, slots=True)
class MetricRules:
    """``time_zone``: IANA name of the zone of days and weeks. ``engagement_weights``: one for each of ENGAGEMENT_PARTS.

    ``engagement_full_rate``: interactions per student and minute that count as full engagement.
    Raises ``ValueError`` for an unknown zone, for weights that are no four numbers from 0 up of which one is above 0, and
    for a rate that is not above 0.
    """

    time_zone: str = "Asia/Shanghai"
    engagement_weights: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)
    engagement_full_rate: float = 0.5

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone {self.time_zone!r}; give an IANA name such as Asia/Shanghai") from error
        weights = self.engagement_weights
        sound = all(math.isfinite(weight) and weight >= 0 for weight in weights)
        if len(weights) != len(ENGAGEMENT_PARTS) or not sound or sum(weights) <= 0:
            raise ValueError(f"give one weight from 0 up for each of {', '.join(ENGAGEMENT_PARTS)}, not all 0")
        if not (math.isfinite(self.engagement_full_rate) and self.engagement_full_rate > 0):
            raise ValueError("engagement_full_rate must be above 0 interactions per student and minute")
