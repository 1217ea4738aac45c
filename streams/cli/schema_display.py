"""What ``classpulse schema check`` prints: a block for each rejected event, and a summary."""

import shutil
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from schemas.check import REMEDIES, Verdict
from schemas.codec.records import ClockLimits, Reason, quote
from schemas.codec.validate_read import Fault

__all__ = ["Tally", "as_object", "block", "limits"]

#: Whole for every id and type that may be one.
_NAME_LIMIT_CHARS = 300


@dataclass
class Tally:
    """How many events there were, and how many were rejected for each reason."""

    accepted: int = 0
    rejected: int = 0
    events: Counter[Reason] = field(default_factory=Counter)
    faults: Counter[Reason] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one event."""
        self.accepted += verdict.accepted
        self.rejected += not verdict.accepted
        self.faults.update(fault.reason for fault in verdict.faults)
        # In the order of the faults, so that reasons of equal counts are listed in the same order at every run.
        self.events.update(dict.fromkeys((fault.reason for fault in verdict.faults), 1))

    def summary(self) -> str:
        """Return the counts: of all, then by reason, the most frequent first."""
        head = f"{counted(self.accepted + self.rejected, 'event')}: {self.accepted} accepted, {self.rejected} rejected"
        rows = [
            f"  {reason:<15} in {counted(events, 'event')}, {counted(self.faults[reason], 'fault')}"
            for reason, events in self.events.most_common()
        ]
        return "\n".join([head, *rows])


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def block(verdict: Verdict) -> str:
    """Return which event it is, and by reason every fault of it and what to do.

    What was sent is quoted, so that no terminal obeys it.
    """
    told = [f"event {verdict.event}", f"line {verdict.line}"]
    for name, value in (("id", verdict.id), ("type", verdict.type)):
        if value is not None:
            told.append(f"{name} {quote(value, _NAME_LIMIT_CHARS)}")
    lines = [_wrapped(f"Rejected for {counted(len(verdict.faults), 'fault')}: {', '.join(told)}", "")]
    for reason, faults in groupby(verdict.faults, key=attrgetter("reason")):
        lines.append(f"  {reason}")
        lines += [_wrapped(f"- {_told(fault)}", "    ") for fault in faults]
        lines.append(_wrapped(f"  {REMEDIES[reason]}", "    "))
    return "\n".join(lines) + "\n"


def _told(fault: Fault) -> str:
    named = fault.field is None or fault.detail.startswith(f"{fault.field}:")
    return fault.detail if named else f"{fault.field}: {fault.detail}"


def _wrapped(text: str, indent: str) -> str:
    """Return ``text`` within the width of a terminal, whole in a pipe, where programs look for it."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    return textwrap.fill(
        text, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False
    )


def as_object(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict for programs; ``faults`` is empty where the event is accepted."""
    return {
        "event": verdict.event,
        "line": verdict.line,
        "accepted": verdict.accepted,
        "id": verdict.id,
        "type": verdict.type,
        "faults": [{**fault._asdict(), "remedy": REMEDIES[fault.reason]} for fault in verdict.faults],
    }


def limits(clock: ClockLimits, now_us: int) -> str:
    """Return which event times are accepted if an event is sent now, and what sets that."""
    return (
        f"Accepted times: from {_shown(clock.earliest_us)} (CLASSPULSE_EARLIEST_TIME)\n"
        f"  to {clock.max_ahead_us // 1_000_000} s after now, {_shown(now_us)} (CLASSPULSE_MAX_AHEAD_SECONDS)"
    )


def _shown(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
