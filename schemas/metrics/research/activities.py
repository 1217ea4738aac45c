"""What the metrics of a research activity have in common; the package says what it means."""

from typing import Final

from schemas.events.consistency import LONGEST_ACTIVITY_US
from schemas.metrics.metric import MINUTE_US

__all__ = ["EFFECTIVE_PERCENT", "LONGEST_ACTIVITY_US", "MARGIN_US", "PRESENCE_EVENTS"]

#: Presence so long before and after the scheduled time still counts.
MARGIN_US: Final = 30 * MINUTE_US

#: Who stays for this share of the minutes took part effectively; a whole number, so that the comparison is exact.
EFFECTIVE_PERCENT: Final = 80
#: The event types that tell of presence and of the scheduled time, as declarations name them: without the family.
PRESENCE_EVENTS: Final = ("activity.published", "participant.joined", "participant.left")
