"""The circuit breaker of a partition: when most of what comes is rejected, pause the partition and raise an alert.

A producer's bad release would otherwise divert everything to the dead letters before anybody looks. After each pause one
batch is let through as a trial: a good one closes the circuit, a bad one doubles the pause.
"""

from dataclasses import dataclass
from typing import Final

from streams.pipeline.states import CircuitState, move

#: Fewer records than this open no circuit; twice as many are remembered, older ones with less and less weight.
RECENT_RECORDS: Final = 1_000
FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 300.0


@dataclass(slots=True)
class Breaker:
    """The recent records of one partition; ``share`` of them rejected opens the circuit, 0 switches it off."""

    share: float
    state: CircuitState = CircuitState.CLOSED
    _records: float = 0.0
    _rejected: float = 0.0
    _pause_seconds: float = 0.0
    _until_seconds: float = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether the partition is paused now."""
        return self.state is CircuitState.OPEN

    @property
    def is_closed(self) -> bool:
        """Whether records are let through. If not, those that are in Kafka wait; there may be none."""
        return self.state is CircuitState.CLOSED

    @property
    def rejected_share(self) -> float:
        """Rejected among the recent records, 0 to 1."""
        return self._rejected / self._records if self._records else 0.0

    def admits(self, records: int, rejected: int, now_seconds: float) -> bool:
        """Take note of a batch of at least one record and return whether to apply it.

        A trial is applied whatever it brings; ask ``is_paused`` afterwards.
        """
        self._records += records
        self._rejected += rejected
        scale = min(1.0, 2 * RECENT_RECORDS / self._records)
        self._records, self._rejected = self._records * scale, self._rejected * scale
        on_trial = self.state is CircuitState.HALF_OPEN
        if on_trial and rejected < self.share * records:
            self.state = move(self.state, CircuitState.CLOSED)
            self._pause_seconds, self._records, self._rejected = 0.0, float(records), float(rejected)
            return True
        bad = self._records >= RECENT_RECORDS and self._rejected >= self.share * self._records
        if self.share and (bad or on_trial):
            self.state = move(self.state, CircuitState.OPEN)
            self._pause_seconds = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, self._pause_seconds * 2))
            self._until_seconds = now_seconds + self._pause_seconds
        return on_trial or not self.is_paused

    def pause_is_over(self, now_seconds: float) -> bool:
        """Return True once when the pause has ended, and let the next batch through."""
        if not self.is_paused or now_seconds < self._until_seconds:
            return False
        self.state = move(self.state, CircuitState.HALF_OPEN)
        return True
