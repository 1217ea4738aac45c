"""The clocks of the worker, passed to whatever asks for the time, so that a test can turn them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall-clock time in microseconds since the epoch, and monotonic time in seconds since some instant."""

    wall_us: Callable[[], int]
    monotonic_seconds: Callable[[], float]


SYSTEM_CLOCK: Final = Clock(lambda: time.time_ns() // 1000, time.monotonic)
