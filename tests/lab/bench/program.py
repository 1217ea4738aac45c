"""What a measured program is told and what it answers. Nothing but the standard library: peers live in other environments.

A program reads one topic from its beginning, in a group of its own, until it has seen ``--events`` records or
``--seconds`` have passed, prints one line of JSON with what it measured, and ends.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from typing import NoReturn

__all__ = ["Stopwatch", "Task"]

_CLOCK_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Task:
    """What to read, and where to stop. ``partitions``: of the topic; ``fetch_max_bytes``: as the worker is set."""

    bootstrap: str
    topic: str
    partitions: int
    group: str
    events: int
    seconds: float
    fetch_max_bytes: int

    @classmethod
    def from_command_line(cls) -> "Task":
        """Read the options; every program has the same."""
        parser = argparse.ArgumentParser()
        parser.add_argument("--bootstrap", required=True)
        parser.add_argument("--topic", required=True)
        parser.add_argument("--partitions", type=int, required=True)
        parser.add_argument("--group", required=True)
        parser.add_argument("--events", type=int, required=True)
        parser.add_argument("--seconds", type=float, required=True)
        parser.add_argument("--fetch-max-bytes", type=int, required=True)
        return cls(**vars(parser.parse_args()))

    def arguments(self) -> list[str]:
        """Return the options of a program's command line."""
        return [
            "--bootstrap",
            self.bootstrap,
            "--topic",
            self.topic,
            "--partitions",
            str(self.partitions),
            "--group",
            self.group,
            "--events",
            str(self.events),
            "--seconds",
            str(self.seconds),
            "--fetch-max-bytes",
            str(self.fetch_max_bytes),
        ]


class Stopwatch:
    """Counts records, and ends the process with the answer once there are enough or the time is over.

    Time begins with ``start``, or else with the first ``count``; what that first one counts is then not measured, since
    nobody knows how long it took.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._began = 0.0
        self._cpu_began = 0.0
        self._seen = 0
        self._before = 0
        self._look_at = 0

    def start(self) -> None:
        """Begin to measure."""
        self._cpu_began, self._began = time.process_time(), time.perf_counter()

    def count(self, events: int = 1) -> None:
        """Count records that are done with."""
        self._seen += events
        if not self._began:
            self.start()
            self._before = self._seen
        if self._seen >= self._task.events:
            self.finish()
        if self._seen >= self._look_at:
            self._look_at = self._seen + _CLOCK_EVERY
            if time.perf_counter() - self._began >= self._task.seconds:
                self.finish()

    def finish(self) -> NoReturn:
        """Print the answer and end. At once: how a library leaves its group is not what is measured."""
        answer = {
            "events": self._seen - self._before,
            "seconds": time.perf_counter() - self._began,
            "cpu_seconds": time.process_time() - self._cpu_began,
        }
        # Not through sys.stdout, in whose place Faust puts its log; on a line of its own, since Faust has moved the cursor.
        os.write(1, f"\n{json.dumps(answer)}\n".encode())
        os._exit(0)
