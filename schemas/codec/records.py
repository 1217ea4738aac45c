"""What goes into the codec and what comes out of it: records, reasons, rejects, limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import polars as pl

#: A dead letter must stay readable in a table and in a header, so its explanation is cut to this many characters.
DETAIL_LIMIT_CHARS: Final = 500
#: A quoted value inside an explanation is cut to this many characters.
QUOTE_LIMIT_CHARS: Final = 80

#: Headers of the substitute, a record without a value, that stands where a record could not be read; the value is the
#: explanation. Only a record without a value is taken for one, so that nothing real can be hidden behind them.
OVERSIZED_HEADER: Final = "classpulse-oversized-batch"
UNREADABLE_HEADER: Final = "classpulse-unreadable"


class Record(Protocol):
    """One Kafka record; aiokafka's ``ConsumerRecord`` satisfies it.

    ``timestamp`` is in milliseconds since the epoch; negative when the record has none.
    """

    @property
    def key(self) -> bytes | None:
        """Must equal ``partitionkey``."""

    @property
    def value(self) -> bytes | None:
        """The event (structured mode) or its data (binary mode)."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Names and values, in order; a null value counts as absent."""

    @property
    def offset(self) -> int:
        """Place in the partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, or negative."""


class Reason(StrEnum):
    """Why a record is not an event. The text is part of the dead letter's contract."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    ENCODING = "encoding"
    JSON = "json"
    NESTING = "nesting"
    DUPLICATE_KEY = "duplicate_key"
    ENVELOPE = "envelope"
    CONTENT_TYPE = "content_type"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_VERSION = "unknown_version"
    WRONG_TOPIC = "wrong_topic"
    KEY = "key"
    DATA = "data"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_BEHIND = "clock_behind"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that is not an event.

    ``row`` is the index into the batch, ``field`` a path such as ``data.score`` or ``subject`` where one field is to
    blame, ``detail`` at most ``DETAIL_LIMIT_CHARS`` characters: what was expected and what came.
    """

    row: int
    reason: Reason
    field: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class ClockLimits:
    """How far an event's ``time`` may lie from the present.

    Earlier than ``earliest_us`` (microseconds since the epoch) is behind. Later than the record's own timestamp, or
    the present if that is earlier, by more than ``max_ahead_us`` is ahead; measuring from the record's timestamp
    makes a replay next month decide as the first reading did.
    """

    earliest_us: int
    max_ahead_us: int

    def latest_us(self, timestamp_ms: int, now_us: int) -> int:
        """Return the latest acceptable event time for a record stamped ``timestamp_ms``."""
        received_us = min(timestamp_ms * 1000, now_us) if timestamp_ms >= 0 else now_us
        return received_us + self.max_ahead_us


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded batch: ``events`` (columns: ``event_columns`` of the codec) in offset order, and ``rejects`` by row.

    The rows of the two together are the rows of the batch, each exactly once.
    """

    events: pl.DataFrame
    rejects: list[Reject]


def quote(value: object, limit_chars: int = QUOTE_LIMIT_CHARS) -> str:
    """Return ``value`` as it may stand in an explanation: shortened to ``limit_chars``, printable, encodable."""
    if isinstance(value, (str, bytes)):
        value = value[:limit_chars]
    elif isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    elif isinstance(value, int) and value.bit_length() > 256:
        return "a very large integer"
    text = ascii(value) if isinstance(value, bytes) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…"
