"""Dead letters as they are read back: what one says, where its record was, and which of them are meant. No I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Final, Protocol, Self
from zoneinfo import ZoneInfo

from schemas.codec.attributes import readable_attributes
from schemas.codec.headers import PREFIX as ATTRIBUTE_PREFIX
from schemas.events.event_types import FAMILIES, PREFIX, SUFFIX
from sinks.stores.dead_letters import OWN_PREFIX, REPLAYED_FROM

#: The topics whose records can be replayed; a dead letter that names another is not ours.
TOPICS: Final = tuple(family.topic for family in FAMILIES)
#: What is shown of an attribute that was read from rejected bytes: these may be of any length.
LONGEST_ATTRIBUTE_CHARACTERS: Final = 256

_POSITION: Final = re.compile(r"(?P<topic>[A-Za-z0-9._-]{1,249})/(?P<partition>[0-9]{1,9})@(?P<offset>[0-9]{1,18})")
_AGO: Final = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhdw])")
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


@dataclass(frozen=True, slots=True)
class RecordPosition:
    """One record of Kafka, written ``classpulse.classroom/3@1841``: topic, partition, offset."""

    topic: str
    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a position; raises ``ValueError`` that says how one is written."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError("a position is written TOPIC/PARTITION@OFFSET, such as classpulse.classroom/3@1841")
        return cls(found["topic"], int(found["partition"]), int(found["offset"]))

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


class KafkaRecord(Protocol):
    """What is needed of aiokafka's ``ConsumerRecord``."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True)
class PublishedDeadLetter:
    """A dead letter.

    ``position`` is where the rejected record was, ``dead_letter_position`` where the dead letter is. ``rejected_ms`` is the
    dead letter's own timestamp, ``recorded_ms`` the record's, both in milliseconds since the epoch. ``headers`` are the
    record's own. ``replayed_from`` is where its first dead letter is, if it was replayed and rejected again; empty
    otherwise. ``value_bytes`` is the record's size; of ``value``, ``key`` and ``headers``, those in ``truncated`` are
    incomplete.
    """

    position: RecordPosition
    dead_letter_position: RecordPosition
    rejected_ms: int
    recorded_ms: int | None
    reason: str
    field: str
    detail: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    value_bytes: int
    truncated: frozenset[str]
    replayed_from: str

    @property
    def source(self) -> str:
        """CloudEvents source, as far as it can be read; empty otherwise."""
        return self._attributes[0]

    @property
    def type(self) -> str:
        """CloudEvents type, as far as it can be read; empty otherwise."""
        return self._attributes[1]

    @property
    def short_type(self) -> str:
        """The type as the catalogue names it: ``classroom.answer.submitted``; one that it does not have, in full."""
        return self.type.removeprefix(PREFIX).removesuffix(SUFFIX)

    def without_content(self) -> "PublishedDeadLetter":
        """Return what a list shows of it, which is small: no content, source and type kept as headers."""
        attributes = [(f"{ATTRIBUTE_PREFIX}{name}", getattr(self, name).encode()) for name in ("source", "type")]
        return replace(self, key=None, value=None, headers=attributes)

    @property
    def origin(self) -> str:
        """Where the first dead letter of this event is: this one, or the one that was replayed and rejected again."""
        return self.replayed_from or str(self.dead_letter_position)

    @property
    def identity(self) -> int:
        """Equal for two dead letters of one record, as a crash can leave them; not for records of a recreated topic."""
        return hash((self.position, self.key, self.value))

    @property
    def event_identity(self) -> int:
        """Equal for the dead letters of one record and of its replays.

        The content is part of it, since a producer may send our headers too.
        """
        return hash((self.origin, self.key, self.value))

    @cached_property
    def _attributes(self) -> tuple[str, str]:
        source, kind = readable_attributes(self.headers, self.value, ("source", "type"))
        return source[:LONGEST_ATTRIBUTE_CHARACTERS], kind[:LONGEST_ATTRIBUTE_CHARACTERS]


def read_dead_letter(record: KafkaRecord) -> PublishedDeadLetter | None:
    """Return the dead letter that a record of the dead-letter topic is, or None if it is none of ours."""
    own = {name: value for name, value in record.headers if name.startswith(OWN_PREFIX) and value is not None}

    def text(name: str) -> str:
        return own[OWN_PREFIX + name].decode("utf-8", "backslashreplace")

    try:
        truncated = text("truncated")
        recorded = own.get(f"{OWN_PREFIX}timestamp-ms")
        return PublishedDeadLetter(
            position=RecordPosition.parse(f"{text('topic')}/{text('partition')}@{text('offset')}"),
            dead_letter_position=RecordPosition(record.topic, record.partition, record.offset),
            rejected_ms=record.timestamp,
            recorded_ms=None if recorded is None else int(recorded),
            reason=text("reason"),
            field=text("field"),
            detail=text("detail"),
            key=record.key,
            value=record.value,
            headers=[(name, value) for name, value in record.headers if not name.startswith(OWN_PREFIX)],
            value_bytes=int(text("value-bytes")),
            # Dead letters of earlier versions say only whether the value was cut.
            truncated=frozenset(truncated.replace("true", "value").replace("false", "").split(",")) - {""},
            replayed_from=own.get(REPLAYED_FROM, b"").decode("utf-8", "backslashreplace"),
        )
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant: all that satisfy every condition given; an empty condition is satisfied by each.

    ``since_ms`` and ``until_ms`` bound the dead letter's own timestamp, the second exclusively. A pattern may hold ``*``.
    A position is that of the rejected record or of the dead letter.
    """

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    positions: frozenset[RecordPosition] = frozenset()

    @property
    def is_everything(self) -> bool:
        """Whether nothing was asked for in particular."""
        return self == Selection()

    def __contains__(self, letter: PublishedDeadLetter) -> bool:
        # The source and the type come last: to know them, the value is parsed.
        return (
            (self.since_ms is None or letter.rejected_ms >= self.since_ms)
            and (self.until_ms is None or letter.rejected_ms < self.until_ms)
            and (not self.positions or letter.position in self.positions or letter.dead_letter_position in self.positions)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.position.topic in self.topics)
            and _any(self._patterns["fields"], letter.field)
            and (not self.sources or _any(self._patterns["sources"], letter.source))
            and (not self.types or _any(self._patterns["types"], letter.type, letter.short_type))
        )

    @cached_property
    def _patterns(self) -> dict[str, list[re.Pattern[str]]]:
        return {
            name: [re.compile(re.escape(pattern).replace(r"\*", ".*"), re.DOTALL) for pattern in getattr(self, name)]
            for name in ("fields", "sources", "types")
        }


def _any(patterns: Sequence[re.Pattern[str]], *texts: str) -> bool:
    return not patterns or any(pattern.fullmatch(text) for pattern in patterns for text in texts)


def moment_ms(text: str, now_ms: int, zone: ZoneInfo) -> int:
    """Return milliseconds since the epoch for ``2h`` (ago; s, m, h, d, w) or an ISO 8601 time.

    A time without a zone is one of ``zone``. Raises ``ValueError`` that says what is understood.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return max(0, now_ms - int(ago["count"]) * _UNIT_MS[ago["unit"]])
    try:
        moment = datetime.fromisoformat(text.strip())
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        return max(0, int(aware.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise ValueError("expected so long ago, such as 30m, 2h or 3d, or a time such as 2026-11-16T08:05") from None
