"""Event-time progress of one partition.

The watermark is ``latest event time seen - out-of-orderness``: after it has passed an instant, no on-time event before
that instant is expected. It never goes back. A partition without events holds nothing up: after ``idle_us`` without a
record the watermark follows the clock at that distance. A late event is never dropped; it revises what was written.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watermark:
    """``max_time_us`` is the latest event time seen, ``value_us`` the watermark; both 0 before the first event."""

    max_time_us: int = 0
    value_us: int = 0

    def seen(self, time_us: int, out_of_orderness_us: int) -> "Watermark":
        """Return the watermark after an event of ``time_us``."""
        latest = max(self.max_time_us, time_us)
        return Watermark(latest, max(self.value_us, latest - out_of_orderness_us))

    def idle(self, now_us: int, idle_us: int) -> "Watermark":
        """Return the watermark after ``idle_us`` without a record, at ``now_us``."""
        return Watermark(self.max_time_us, max(self.value_us, now_us - idle_us))
