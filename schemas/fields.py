"""The field types every event model is built from, each with its bounds.

Only constraints that can be checked on a whole column at once are used here: type, pattern, length, range, choice.
That keeps the columnar codec and these models one contract (see ``schemas/codec.py``).
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

#: RFC 3339 with a zone, years 1970 to 2199 (what ClickHouse's DateTime64(6) holds with room to spare).
#: ``[0-9]`` because ``\d`` also matches other scripts' digits; no leap second.
RFC3339_PATTERN = (
    r"^(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
#: No white space and no control characters; any script is welcome.
IDENTIFIER_PATTERN = r"^[^\x00-\x20\x7f]+$"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp_us(text: str) -> int:
    """Return microseconds since the epoch for RFC 3339 ``text``; digits beyond microseconds are cut off.

    Raises ``ValueError`` for a date that does not exist, such as 30 February.
    """
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def _real_date(text: str) -> str:
    timestamp_us(text)
    return text


Timestamp = Annotated[
    str,
    StringConstraints(pattern=RFC3339_PATTERN, max_length=35),
    AfterValidator(_real_date),
    Field(json_schema_extra={"format": "date-time"}),
]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=IDENTIFIER_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
DurationMs = Annotated[int, Field(ge=0, le=86_400_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]
Grade = Annotated[int, Field(ge=1, le=12)]
Identifiers = Annotated[list[Identifier], Field(max_length=500)]

#: Where a digital tool or a resource comes from: the four levels of the platforms (国家, 市, 区, 校).
Platform = Literal["national", "municipal", "district", "school"]

#: Fields that name students; the worker replaces their values by a keyed hash before anything is stored.
STUDENT_FIELDS = frozenset({"student_id", "roster", "students"})
