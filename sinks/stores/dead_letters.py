"""Dead letters: what was rejected, with the reason, and the original bytes for replay.

The bytes go to the dead-letter topic, the reason also to the table ``dead_letters``, where the data quality of a school
is computed from, and with what ``classpulse received`` finds it by. The table holds no content: a rejected record may
carry a student's raw number.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

import polars as pl

from schemas.codec.attributes import event_hash, readable_attributes
from sinks.clickhouse.client import Warehouse

TABLE: Final = "dead_letters"
#: Our own headers begin with this; those of a dead letter that was replayed and rejected again are replaced.
OWN_PREFIX: Final = "classpulse-"
#: A replayed record says with this header which dead letter it comes from first. Rejected again, its dead letter says it
#: too: so replaying often does not multiply what is replayed.
REPLAYED_FROM: Final = f"{OWN_PREFIX}replayed-from"
LARGEST_PLACE_BYTES: Final = 300
#: What a dead letter keeps of its record; the record itself stays where the headers point. Together with our headers and
#: Kafka's framing this is below 1 MiB, the most that a producer sends and the topic takes, so that every dead letter can be
#: published: one that cannot be would stop its partition for ever.
LARGEST_VALUE_BYTES: Final = 900_000
LARGEST_KEY_BYTES: Final = 16_384
LARGEST_HEADERS_BYTES: Final = 65_536
MOST_HEADERS: Final = 100
LARGEST_DETAIL_CHARACTERS: Final = 500
#: A record's timestamp is the producer's word and any number of 64 bits; the table's type ends in 2299.
LATEST_TIMESTAMP_MS: Final = 7_258_118_400_000  # 2200-01-01
#: A field is a path of ours, or a header's name, which a producer may choose as long as it likes.
LARGEST_FIELD_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected record: where it was, why it was rejected, and what it was.

    ``kafka_key``, ``kafka_value`` and ``kafka_headers`` are what is published of it, whatever it was.
    """

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
    headers: Sequence[tuple[str, bytes | None]]

    @property
    def size_bytes(self) -> int:
        """What the record holds in memory, about."""
        headers_bytes = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers_bytes

    @property
    def kafka_key(self) -> bytes | None:
        """The key, or its beginning."""
        return self.key and self.key[:LARGEST_KEY_BYTES]

    @property
    def kafka_value(self) -> bytes | None:
        """The value, or its beginning; empty for a record without key and value, which no client sends."""
        if self.value is None:
            return b"" if self.key is None else None
        return self.value[:LARGEST_VALUE_BYTES]

    def kafka_headers(self) -> list[tuple[str, bytes | None]]:
        """Return the original headers, as far as they fit, preceded by ours, which begin with ``classpulse-``."""
        # What a replayed and again rejected record says of its first rejection is out of date.
        original = [(name, value) for name, value in self.headers if not name.startswith(OWN_PREFIX)]
        kept = _within_bounds(original)
        cut = [
            part
            for part, is_cut in (
                ("value", len(self.value or b"") > LARGEST_VALUE_BYTES),
                ("key", len(self.key or b"") > LARGEST_KEY_BYTES),
                ("headers", len(kept) < len(original)),
            )
            if is_cut
        ]
        own = {
            "reason": self.reason,
            "field": _encodable(self.field, LARGEST_FIELD_CHARACTERS),
            "detail": _encodable(self.detail, LARGEST_DETAIL_CHARACTERS),
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
            "timestamp-ms": str(self.timestamp_ms),
            "value-bytes": str(len(self.value or b"")),
            "truncated": ",".join(cut) or "false",
        }
        ours: list[tuple[str, bytes | None]] = [(OWN_PREFIX + name, text.encode()) for name, text in own.items()]
        origins = [(name, value) for name, value in self.headers if name == REPLAYED_FROM and value]
        return [*ours, *(origin for origin in origins[:1] if len(origin[1]) <= LARGEST_PLACE_BYTES), *kept]


def _within_bounds(headers: Sequence[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """Return the headers that fit, in their order; a large one does not displace the small ones after it."""
    kept: list[tuple[str, bytes | None]] = []
    left_bytes = LARGEST_HEADERS_BYTES
    for name, value in headers:
        size_bytes = len(name.encode()) + len(value or b"")
        if size_bytes <= left_bytes and len(kept) < MOST_HEADERS:
            left_bytes -= size_bytes
            kept.append((name, value))
    return kept


def _encodable(text: str, characters: int) -> str:
    """Return the beginning of ``text``; half a surrogate pair, which JSON can hold and UTF-8 cannot, is escaped."""
    return text[:characters].encode("utf-8", "backslashreplace").decode()


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
                "field": _encodable(letter.field, LARGEST_FIELD_CHARACTERS),
                "value_bytes": len(letter.value or b""),
                "event": event_hash(*readable_attributes(letter.headers, letter.value, ("source", "id"))),
                "recorded_at_us": min(max(letter.timestamp_ms, 0), LATEST_TIMESTAMP_MS) * 1000,
            }
            for letter in letters
        ]
        self._warehouse.insert(TABLE, pl.DataFrame(rows, schema_overrides={"position": pl.UInt64}))

    def count_between(self, topic: str, partition: int, positions: tuple[int, int]) -> int:
        """Return how many dead letters a partition has from the first position to before the second."""
        found = self._warehouse.query(
            "count the dead letters above the checkpoint",
            "SELECT toInt64(count()) AS letters FROM dead_letters FINAL WHERE topic = {topic:String} "
            "AND partition = {partition:UInt16} AND position >= {low:UInt64} AND position < {high:UInt64}",
            {"topic": topic, "partition": partition, "low": positions[0], "high": positions[1]},
        )
        return int(found.item())
