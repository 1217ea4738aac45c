"""A record's bytes and headers to its attributes and data, read as strictly as JSON is written; no rule of the models."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, NoReturn

from schemas.codec.headers import HeaderFault, is_binary, layout
from schemas.codec.records import OVERSIZED_HEADER, UNREADABLE_HEADER, Reason, Record, quote
from schemas.events.envelope import Envelope

#: Deeper JSON is rejected: no event of the catalogue is deeper than 3, and a parser's stack is finite.
DEPTH_LIMIT: Final = 64
#: Every bounded integer field has fewer digits than this.
DIGITS_LIMIT: Final = 100
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


class Fault(NamedTuple):
    """One reason why a record is not an event; the fields are those of :class:`Reject`."""

    reason: Reason
    field: str | None
    detail: str


class Rejected(Exception):  # noqa: N818 - a verdict on the input, caught by ``schemas.codec.validate``
    """A fault behind which nothing can be read."""

    def __init__(self, reason: Reason, field: str | None, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, field, detail)


class JsonObject(dict[str, Any]):
    """A JSON object that remembers which keys were given more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) != len(pairs):
            times = Counter(key for key, _ in pairs)
            self.repeated = [key for key in self if times[key] > 1]


def read(record: Record, max_value_bytes: int) -> tuple[dict[str, Any], Any, bool]:
    """Return the attributes, the data, and whether both came in the value (structured mode)."""
    if record.value is None:
        reject_substitute(record.headers)
    text = _text(record.value, max_value_bytes)
    attributes = _header_attributes(record.headers)
    content = _json(text)
    if attributes is not None:
        return attributes, content, False
    if not isinstance(content, JsonObject):
        raise Rejected(Reason.ENVELOPE, None, f"expected a JSON object with an event in it, got {quote(content)}")
    return content, content.get("data"), True


def reject_substitute(headers: Sequence[tuple[str, bytes]] | None) -> None:
    """Reject a record that stands for one that could not be read, with the explanation that it carries."""
    for name, content in headers or ():
        if name == OVERSIZED_HEADER:
            raise Rejected(Reason.TOO_LARGE, None, _explanation(content))
        if name == UNREADABLE_HEADER:
            raise Rejected(Reason.ENCODING, None, _explanation(content))


def _explanation(content: bytes | None) -> str:
    # A producer can send such a header as well, with anything in it.
    return (content or b"").decode("utf-8", "backslashreplace")


def _text(value: bytes | None, max_value_bytes: int) -> str:
    if not value:
        raise Rejected(Reason.EMPTY, None, "expected an event, got a record without a value")
    if len(value) > max_value_bytes:
        raise Rejected(Reason.TOO_LARGE, None, f"expected at most {max_value_bytes} bytes, got {len(value)}")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        near = quote(value[max(0, error.start - 10) : error.start + 10])
        raise Rejected(
            Reason.ENCODING, None, f"expected UTF-8, got another byte at position {error.start}, near {near}"
        ) from None


def _header_attributes(headers: Sequence[tuple[str, bytes]] | None) -> dict[str, str | None] | None:
    """Return the attributes in the headers (binary mode), or None for structured mode."""
    names = tuple(name for name, _ in headers or ())
    values: tuple[bytes | None, ...] = tuple(value for _, value in headers or ())
    found = layout(names)
    binary = is_binary(found, values)
    if isinstance(binary, HeaderFault):
        raise Rejected(binary.reason, binary.field, binary.detail)
    if not binary:
        return None
    attributes: dict[str, str | None] = {}
    for attribute, index in found.attributes:
        if attribute not in Envelope.model_fields:
            continue
        value = values[index]
        try:
            attributes[attribute] = None if value is None else value.decode("utf-8")
        except UnicodeDecodeError:
            detail = f"expected UTF-8 in the header ce_{attribute}, got {quote(value)}"
            raise Rejected(Reason.ENCODING, attribute, detail) from None
    return attributes


def _json(text: str) -> Any:
    if text.count("{") + text.count("[") > DEPTH_LIMIT:
        _check_depth(text)
    try:
        return json.loads(text, object_pairs_hook=JsonObject, parse_int=_integer, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        near = quote(text[max(0, error.pos - 10) : error.pos + 30])
        detail = f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}; near {near}"
        raise Rejected(Reason.JSON, None, detail) from None


def _integer(digits: str) -> int:
    """Return an integer; one that no field can hold is cut short, since Python rejects more than 4,300 digits."""
    return int(digits[:DIGITS_LIMIT])


def _reject_constant(name: str) -> NoReturn:
    raise Rejected(Reason.JSON, None, f"{name} is not JSON; leave the field out or send null")


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in re.findall(r"[][{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_LIMIT:
            raise Rejected(Reason.NESTING, None, f"expected at most {DEPTH_LIMIT} levels of nesting, got more")
