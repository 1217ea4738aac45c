"""What the metrics of a research activity have in common; the package says what it means."""

from typing import Final

__all__ = ["EFFECTIVE_PERCENT", "PRESENCE_EVENTS"]

#: Who stays for this share of the minutes took part effectively; a whole number, so that the comparison is exact.
EFFECTIVE_PERCENT: Final = 80
#: The event types that tell of presence and of the scheduled time, as declarations name them: without the family.
PRESENCE_EVENTS: Final = ("activity.published", "participant.joined", "participant.left")
