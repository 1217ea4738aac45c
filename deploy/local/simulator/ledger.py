"""The exact account of a run: what the workers must store, drop as duplicate, or put to the dead letters."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Literal, NamedTuple

Outcome = Literal["stored", "duplicate", "dead_letter"]
#: Every reason a record can be a dead letter for; the worker uses the same names.
REASONS = (
    "empty",
    "too_large",
    "encoding",
    "json",
    "nesting",
    "duplicate_key",
    "envelope",
    "content_type",
    "unknown_type",
    "unknown_version",
    "wrong_topic",
    "key",
    "data",
    "clock_ahead",
    "clock_behind",
)


class Produced(NamedTuple):
    """One Kafka record and what must become of it.

    ``timestamp_ms`` is the arrival, and the record's timestamp. ``reason`` is set for dead letters alone.
    ``headers`` may be shared between records: read it, never change it.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int
    outcome: Outcome
    reason: str | None = None


def source_and_id(record: Produced) -> tuple[str, str]:
    """Return the identity of a valid record, structured or binary, read without the product's codec."""
    headers = dict(record.headers)
    if "ce_id" in headers:
        return headers["ce_source"].decode(), headers["ce_id"].decode()
    event = json.loads(record.value or b"")
    return event["source"], event["id"]


class Ledger:
    """Counts records by topic and outcome. Invariant: ``produced == stored + duplicates + dead_letters``."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Outcome, str | None]] = Counter()

    def add(self, record: Produced) -> None:
        """Count one record."""
        self._counts[record.topic, record.outcome, record.reason] += 1

    @property
    def produced(self) -> int:
        """All records."""
        return self._counts.total()

    @property
    def stored(self) -> int:
        """Records that must be stored: the first arrival of each valid event."""
        return self._with_outcome("stored")

    @property
    def duplicates(self) -> int:
        """Records whose event has arrived before."""
        return self._with_outcome("duplicate")

    @property
    def dead_letters(self) -> int:
        """Records that must go to the dead letters."""
        return self._with_outcome("dead_letter")

    @property
    def dead_letters_by_reason(self) -> dict[str, int]:
        """Dead letters by reason, in the order of ``REASONS``."""
        totals = Counter[str | None]()
        for (_, outcome, reason), count in self._counts.items():
            if outcome == "dead_letter":
                totals[reason] += count
        return {reason: totals[reason] for reason in REASONS if totals[reason]}

    @property
    def by_topic(self) -> dict[str, dict[str, int]]:
        """For each topic: produced, stored, duplicates, dead_letters."""
        topics: dict[str, dict[str, int]] = {}
        for (topic, outcome, _), count in sorted(self._counts.items(), key=lambda item: item[0][0]):
            row = topics.setdefault(topic, {"produced": 0, "stored": 0, "duplicates": 0, "dead_letters": 0})
            row["produced"] += count
            row[outcome if outcome == "stored" else f"{outcome}s"] += count
        return topics

    def to_json(self) -> dict[str, Any]:
        """Return the account as JSON-serialisable data."""
        return {
            "produced": self.produced,
            "stored": self.stored,
            "duplicates": self.duplicates,
            "dead_letters": self.dead_letters,
            "dead_letters_by_reason": self.dead_letters_by_reason,
            "by_topic": self.by_topic,
        }

    def _with_outcome(self, outcome: Outcome) -> int:
        return sum(count for (_, given, _), count in self._counts.items() if given == outcome)
