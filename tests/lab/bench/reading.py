"""One measurement, and what several of them say together. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ProductReading", "Reading", "median_rate", "ratio", "spread"]

_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """``events`` in ``seconds``, for which the process took ``cpu_seconds`` of all its threads; None: not known."""

    events: int
    seconds: float
    cpu_seconds: float | None = None

    @property
    def events_per_second(self) -> float:
        """The rate."""
        return self.events / self.seconds

    @property
    def cpu_us_per_event(self) -> float | None:
        """CPU time of one event, in microseconds."""
        return None if self.cpu_seconds is None else self.cpu_seconds / self.events * _MICRO

    def to_json(self) -> dict[str, Any]:
        """Return what a round's metrics show."""
        cpu = self.cpu_us_per_event
        return {
            "events": self.events,
            "seconds": round(self.seconds, 4),
            "events_per_second": round(self.events_per_second, 1),
            "cpu_us_per_event": None if cpu is None else round(cpu, 3),
        }


@dataclass(frozen=True, slots=True)
class ProductReading:
    """One round of classpulse. ``reading``: from readiness to the stored checkpoint; CPU is the worker's.

    ``startup_seconds``: from the start of the process to readiness. ``differences``: what verification found, None where
    the round was not verified. ``consumed`` and the others are what the checkpoints say, ``accounts_balance`` whether
    they are what the simulator expects.
    """

    reading: Reading
    startup_seconds: float
    clickhouse_cpu_seconds: float
    peak_memory_bytes: int
    consumed: int
    stored: int
    duplicates: int
    dead_letters: int
    metric_rows: int
    accounts_balance: bool
    differences: int | None = None

    @property
    def clickhouse_cpu_us_per_event(self) -> float:
        """CPU time of the database for one event, in microseconds; what it is asked by the measurement included."""
        return self.clickhouse_cpu_seconds / self.reading.events * _MICRO

    def to_json(self) -> dict[str, Any]:
        """Return what a round's metrics show."""
        return {
            **self.reading.to_json(),
            "clickhouse_cpu_us_per_event": round(self.clickhouse_cpu_us_per_event, 3),
            "startup_seconds": round(self.startup_seconds, 2),
            "peak_memory_bytes": self.peak_memory_bytes,
            "stored": self.stored,
            "duplicates": self.duplicates,
            "dead_letters": self.dead_letters,
            "metric_rows": self.metric_rows,
            "accounts_balance": self.accounts_balance,
            "verify_differences": self.differences,
        }


def median_rate(readings: Sequence[Reading]) -> float:
    """Return the median of the rates; raises ``statistics.StatisticsError`` where there are none."""
    return statistics.median(reading.events_per_second for reading in readings)


def spread(readings: Sequence[Reading]) -> float:
    """Return how far the fastest and the slowest round lie apart, as a share of the median."""
    rates = [reading.events_per_second for reading in readings]
    return (max(rates) - min(rates)) / statistics.median(rates)


def ratio(classpulse: float, other: float) -> float:
    """Return how many times as fast classpulse is, to three significant digits."""
    return float(f"{classpulse / other:.3g}")
