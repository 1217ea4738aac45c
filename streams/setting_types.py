"""How the text of a setting becomes its value: the rules that hold for every setting of a kind.

Each function raises ``ValueError`` with a sentence that goes after the setting's name; no sentence holds a secret.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from unicodedata import category

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from schemas.events.pseudonym import KEY_MIN_BYTES
from sinks.clickhouse import address
from streams.kafka.access import servers

__all__ = [
    "ClickHouseUrl",
    "Database",
    "Key",
    "Milliseconds",
    "Name",
    "Positive",
    "Rate",
    "Seconds",
    "Secret",
    "Servers",
    "Text",
    "Time",
    "Weights",
    "secret_text",
]

#: Kafka and ClickHouse count in 32 bits; a day is longer than anything here should wait.
_LARGEST: Final = 2**31 - 1
_DAY_SECONDS: Final = 86_400
#: ClickHouse's dates reach from 1970 to 2149; a time inside an event may lie 366 days before the event's own.
_FIRST_TIME: Final = datetime(1972, 1, 1, tzinfo=UTC)
_LAST_TIME: Final = datetime(2100, 1, 1, tzinfo=UTC)


def secret_text(value: Any) -> Any:
    """Return a secret as it counts, wherever it comes from.

    Ends of lines after it and a byte order mark before it are dropped: editors, ``echo`` and secret stores add them. All
    else counts as it is; what would be another secret for the eye alone is rejected.
    """
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        return value
    text = text.removeprefix("\ufeff").rstrip("\r\n")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8") from None
    if text != text.strip():
        raise ValueError("it begins or ends with white space; remove it")
    if not all(character.isprintable() or category(character) == "Zs" for character in text):
        raise ValueError("it holds several lines, or characters that do not show; give one line of text")
    return SecretStr(text)


def _long_enough(key: SecretStr) -> SecretStr:
    size_bytes = len(key.get_secret_value().encode())
    if 0 < size_bytes < KEY_MIN_BYTES:
        raise ValueError(
            f"it has {size_bytes} bytes, at least {KEY_MIN_BYTES} are needed; `openssl rand -hex 32` makes a good one"
        )
    return key


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it holds control characters")
    if text != text.strip():
        raise ValueError("it begins or ends with white space; remove it")
    return text


def _servers(text: str) -> str:
    servers(text)
    return text


def _url(text: str) -> str:
    address.parse(text)
    return text


def _numbers(value: Any) -> Any:
    """Read ``1, 2`` as well as ``[1, 2]``."""
    if not isinstance(value, str):
        return value
    if not value.strip().startswith("["):
        return [part.strip() for part in value.split(",")]
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("give numbers, comma-separated, such as 0.25,0.25,0.25,0.25") from None


def _written_out(value: Any) -> Any:
    # A number would be read as seconds since 1970, and 2020 as the 1st of January 1970.
    if isinstance(value, str) and "-" not in value.strip()[1:]:
        raise ValueError("give a time such as 2020-01-01T00:00:00Z")
    return value


def _sensible(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("it needs a zone, such as 2020-01-01T00:00:00Z")
    if not _FIRST_TIME <= value <= _LAST_TIME:
        raise ValueError("give a time from 1972 to 2100")
    return value


#: May be empty.
Text = Annotated[str, AfterValidator(_plain)]
Name = Annotated[str, Field(min_length=1), AfterValidator(_plain)]
Database = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Servers = Annotated[str, AfterValidator(_servers)]
ClickHouseUrl = Annotated[str, AfterValidator(_url)]
Secret = Annotated[SecretStr, BeforeValidator(secret_text)]
Key = Annotated[SecretStr, BeforeValidator(secret_text), AfterValidator(_long_enough)]
Time = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(_sensible)]
Weights = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_numbers)]
Rate = Annotated[float, Field(gt=0, le=1_000)]
Seconds = Annotated[float, Field(gt=0, le=_DAY_SECONDS)]
Milliseconds = Annotated[int, Field(gt=0, le=_DAY_SECONDS * 1000)]
Positive = Annotated[int, Field(gt=0, le=_LARGEST)]
