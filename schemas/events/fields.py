"""The field types every event model is built from, each with its bounds.

Only constraints that can be checked on a whole column at once are used here: type, pattern, length, range, choice.
That keeps the columnar codec and these models one contract (see ``schemas/codec/decode.py``).
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, AllowInfNan, Field, StringConstraints

from schemas.events.characters import CONTROLS, UNSEEN, others

#: RFC 3339 with a zone, in years whose dates ClickHouse's ``Date`` holds in every zone (it ends on 2149-06-06).
#: ``[0-9]`` because ``\d`` also matches other scripts' digits.
RFC3339_PATTERN = (
    r"^(19[7-9][0-9]|20[0-9]{2}|21[0-3][0-9]|214[0-8])-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
#: Bounds the digits of a fraction, of which RFC 3339 allows any number.
TIME_LIMIT_CHARS = 128
#: How far any other time of an event may lie from its ``time``, before or after.
TIME_REACH_DAYS = 366
TIME_REACH_US = TIME_REACH_DAYS * 86_400 * 1_000_000
#: Text that identifies something: any script, but nothing that nobody sees.
IDENTIFIER_PATTERN = f"^{others(UNSEEN)}+$"
#: Text for people: anything but control characters.
LABEL_PATTERN = f"^{others(CONTROLS)}+$"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_PLACE = slice(17, 19)


def timestamp_us(text: str) -> int:
    """Return microseconds since the epoch for RFC 3339 ``text``; digits beyond microseconds are cut off.

    A leap second is counted as the second after it, as POSIX does: it has a place of its own in no clock of the platform,
    and the event in it happened. Raises ``ValueError``, whose text says what was expected, for a date that does not exist,
    such as 30 February, and for a leap second where none can be.
    """
    is_leap = text[_SECOND_PLACE] == "60"
    plain = f"{text[:17]}59{text[19:]}" if is_leap else text
    try:
        moment = datetime.fromisoformat(plain.upper())
    except ValueError:
        message = "a date that exists"
        raise ValueError(message) from None
    if is_leap:
        moment = moment.astimezone(UTC) + timedelta(seconds=1)
        if (moment.day, moment.hour, moment.minute, moment.second) != (1, 0, 0, 0):
            message = "seconds from 00 to 59, but for a leap second at the end of a month in UTC"
            raise ValueError(message)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _real_time(text: str) -> str:
    timestamp_us(text)
    return text


Timestamp = Annotated[
    str,
    StringConstraints(pattern=RFC3339_PATTERN, max_length=TIME_LIMIT_CHARS),
    AfterValidator(_real_time),
    Field(json_schema_extra={"format": "date-time"}),
]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=IDENTIFIER_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=LABEL_PATTERN)]
Share = Annotated[float, Field(ge=0.0, le=1.0), AllowInfNan(allow_inf_nan=False)]
DurationMs = Annotated[int, Field(ge=0, le=86_400_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Grade = Annotated[int, Field(ge=1, le=12)]
Identifiers = Annotated[list[Identifier], Field(max_length=500)]

#: Where a digital tool or a resource comes from: the four levels of the platforms (国家, 市, 区, 校).
Platform = Literal["national", "municipal", "district", "school"]

#: Fields that name students; the worker replaces their values by a keyed hash before anything is stored.
STUDENT_FIELDS = frozenset({"student_id", "roster", "students"})
