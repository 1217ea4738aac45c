"""Dead letters: what was refused, with the reason, and the original bytes for replay.

The bytes go to the dead-letter topic, the reason also to the table ``dead_letters``, where the data quality of a school
is computed from. The table holds no content: a refused record may carry a student's raw number.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

import polars as pl

from sinks.warehouse import Warehouse

TABLE: Final = "dead_letters"
#: A longer value is cut in the dead-letter topic; the record itself stays where the headers point.
LARGEST_VALUE_BYTES: Final = 900_000
LARGEST_DETAIL_CHARACTERS: Final = 500
_OWN_PREFIX: Final = "classpulse-"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record: where it was, why it was refused, and what it was."""

    topic: str
    partition: int
    position: int
    offset: int
    timestamp_ms: int
    reason: str
    field: str
    detail: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]

    def kafka_headers(self) -> list[tuple[str, bytes]]:
        """Return the original headers, preceded by ours, which begin with ``classpulse-``."""
        size = len(self.value or b"")
        own = {
            "reason": self.reason,
            "field": self.field,
            "detail": self.detail[:LARGEST_DETAIL_CHARACTERS],
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
            "value-bytes": str(size),
            "truncated": "true" if size > LARGEST_VALUE_BYTES else "false",
        }
        ours = [(_OWN_PREFIX + name, text.encode()) for name, text in own.items()]
        # What a replayed and again refused record says of its first refusal is out of date.
        return ours + [(name, value) for name, value in self.headers if not name.startswith(_OWN_PREFIX)]


class DeadLetterTopic(Protocol):
    """Where the bytes go."""

    def publish(self, letters: Sequence[DeadLetter]) -> Future[None]:
        """Begin to publish; the future is done once the broker has all of them, or holds the error."""


class DeadLetterStore:
    """The table ``dead_letters``."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def insert(self, letters: Sequence[DeadLetter]) -> None:
        """Record why and where; the content stays in the topic."""
        if not letters:
            return
        rows = [
            {
                "topic": letter.topic,
                "partition": letter.partition,
                "position": letter.position,
                "reason": letter.reason,
                "field": letter.field,
                "value_bytes": len(letter.value or b""),
                "recorded_at_us": letter.timestamp_ms * 1000,
            }
            for letter in letters
        ]
        self._warehouse.insert(TABLE, pl.DataFrame(rows, schema_overrides={"position": pl.UInt64}))
