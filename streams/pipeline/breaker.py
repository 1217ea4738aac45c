"""The circuit breaker of a partition: when most of what comes is refused, hold the offsets and raise an alert.

A producer's bad release would otherwise divert everything to the dead letters before anybody looks. An open circuit lets
one batch through after each pause, as a trial: a good one closes it, a bad one doubles the pause.
"""

from dataclasses import dataclass
from typing import Final

#: Fewer records than this open no circuit; twice as many are remembered, older ones with less and less weight.
RECENT_RECORDS: Final = 1_000
FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 300.0


@dataclass(slots=True)
class Breaker:
    """The recent records of one partition; ``share`` of them refused opens the circuit, 0 switches it off."""

    share: float
    _records: float = 0.0
    _refused: float = 0.0
    _pause_seconds: float = 0.0
    _until_seconds: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open: paused, or on trial. That holds back what is in Kafka, which may be nothing."""
        return self._pause_seconds > 0

    @property
    def refused_share(self) -> float:
        """Refused among the recent records, 0 to 1."""
        return self._refused / self._records if self._records else 0.0

    def holds(self) -> bool:
        """Whether records are held back now."""
        return self._until_seconds is not None

    def admits(self, records: int, refused: int, now_seconds: float) -> bool:
        """Take note of a batch of at least one record and return whether to apply it.

        A trial is applied whatever it brings; ask ``holds`` afterwards.
        """
        self._records += records
        self._refused += refused
        scale = min(1.0, 2 * RECENT_RECORDS / self._records)
        self._records, self._refused = self._records * scale, self._refused * scale
        on_trial = self.is_open
        if on_trial and refused < self.share * records:
            self._pause_seconds, self._records, self._refused = 0.0, float(records), float(refused)
            return True
        bad = self._records >= RECENT_RECORDS and self._refused >= self.share * self._records
        if self.share and (bad or on_trial):
            longer = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, self._pause_seconds * 2))
            self._pause_seconds, self._until_seconds = longer, now_seconds + longer
        return on_trial or not self.holds()

    def pause_is_over(self, now_seconds: float) -> bool:
        """Return True once when the pause has ended, and let the next batch through."""
        if self._until_seconds is None or now_seconds < self._until_seconds:
            return False
        self._until_seconds = None
        return True
