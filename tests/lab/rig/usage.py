"""What the kernel says of a running process: CPU time, memory, the cores it may use."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Memory", "cpu_seconds", "memory", "pin", "rate_per_second"]

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process: now, and the most it ever was."""

    resident_bytes: int
    peak_bytes: int


def cpu_seconds(pid: int) -> float:
    """Return user and system time of all threads of a process; raises ``OSError`` if it has ended."""
    # The name of a program may hold spaces and brackets; what follows its last bracket has fixed places.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def memory(pid: int) -> Memory:
    """Return the memory of a process; raises ``OSError`` if it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    sizes = {name: int(text.split()[0]) * _KIB for name, _, text in (line.partition(":") for line in lines) if "kB" in text}
    return Memory(sizes["VmRSS"], sizes["VmHWM"])


def pin(pid: int, cores: Collection[int]) -> None:
    """Let every thread of a process run on these cores alone; raises ``OSError`` if it has ended."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:
            continue  # a thread that has just ended


def rate_per_second(count: float, seconds: float) -> float:
    """Return ``count / seconds``; raises ``ValueError`` for a time in which nothing can be measured."""
    if seconds <= 0:
        raise ValueError(f"{count:g} in {seconds:g} s is no rate; measure for longer, with more --events")
    return count / seconds
