"""Waiting for a condition, in bounded time."""

import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["PATIENCE_SECONDS", "wait_until"]

PATIENCE_SECONDS: Final = 90.0


def wait_until(
    condition: Callable[[], Any], what: str, pause_seconds: float = 0.1, *, within_seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until ``condition()`` holds, asking after each pause; raises ``AssertionError`` when the time is over."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_seconds:.0f} s for: {what}"
        time.sleep(pause_seconds)
