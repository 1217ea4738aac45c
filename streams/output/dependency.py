"""What a process waits for, said once: a line in the log when it goes, a line when it is back, and meanwhile a sentence."""

import logging
import threading
import time
from typing import Final

#: What comes back and goes again within this time is flapping: then its next absence is said only if it lasts.
CALM_SECONDS: Final = 60.0
LASTING_SECONDS: Final = 5.0


class Dependency:
    """One thing that may be away; any thread may tell.

    ``back`` is what the log says when it is there again, such as "ClickHouse answers". An absence shorter than
    ``patience_seconds`` is not said at all.
    """

    def __init__(self, log: logging.Logger, back: str, *, patience_seconds: float = 0.0) -> None:
        self._log = log
        self._back = back
        self._patience_seconds = patience_seconds
        self._guard = threading.Lock()
        self._away_since = 0.0
        self._said = False
        self._back_at = -CALM_SECONDS
        #: What is waited for, for people; None while nothing is.
        self.problem: str | None = None

    def away(self, problem: str, reason: object = "") -> None:
        """It is away, or still is; ``reason`` is for the log alone, where it is said once."""
        with self._guard:
            now_seconds = time.monotonic()
            if self.problem is None:
                self._away_since = now_seconds
            self.problem = problem
            flapping = now_seconds - self._back_at < CALM_SECONDS
            if self._said or now_seconds - self._away_since < max(self._patience_seconds, LASTING_SECONDS * flapping):
                return
            self._said = True
        self._log.warning("%s%s", problem, f": {reason}" if str(reason) else "")

    def back(self) -> None:
        """It is there."""
        if self.problem is None:
            return
        with self._guard:
            now_seconds = time.monotonic()
            said, self._said, self.problem = self._said, False, None
            self._back_at = now_seconds
        if said:
            self._log.info("%s, after %.1f s", self._back, now_seconds - self._away_since)
