"""What is wrong with a value, in plain words: Pydantic's errors for people who send events."""

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.codec import media_types
from schemas.codec.records import quote
from schemas.events.envelope import DATASCHEMA_PATTERN
from schemas.events.fields import IDENTIFIER_PATTERN, LABEL_PATTERN, RFC3339_PATTERN

_PATTERNS: Final = {
    IDENTIFIER_PATTERN: "text without white space, control characters or characters that nobody sees",
    LABEL_PATTERN: "text without control characters",
    media_types.JSON: "a media type of JSON in UTF-8, such as application/json",
    RFC3339_PATTERN: "a time from 1970 to 2148 with its zone, such as 2026-11-16T08:05:12.345+08:00",
    DATASCHEMA_PATTERN: "a URI that ends in its version, such as urn:classpulse:classroom.answer.submitted:1.0",
    r"^[0-9]{1,18}$": "1 to 18 digits",
}
_EXPECTED: Final = {
    "string_type": "text",
    "string_unicode": "text in valid Unicode",
    "int_type": "a whole number, written without a fraction",
    "int_parsing_size": "a whole number of a sensible size",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "an array",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "too_long": "at most {max_length} items",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
}


def explanations(error: ValidationError, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each wrong field, after ``prefix``, and what is wrong with it."""
    for part in error.errors(include_url=False):
        path = prefix + ".".join(map(str, part["loc"]))
        if part["type"] == "missing":
            yield path, f"{path}: required, but missing"
        else:
            yield path, f"{path}: expected {_expected(part)}, got {_got(part)}"


def _expected(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if error["type"] == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return _PATTERNS.get(pattern, f"text that matches {pattern}")
    if error["type"] == "value_error":
        return str(context["error"])
    template = _EXPECTED.get(error["type"])
    return template.format(**context) if template else f"something else ({error['msg']})"


def _got(error: ErrorDetails) -> str:
    value = error["input"]
    if isinstance(value, str) and error["type"] in {"string_too_long", "string_too_short"}:
        return f"{len(value)}"
    if isinstance(value, list) and error["type"] == "too_long":
        return f"{len(value)}"
    return "null" if value is None else quote(value)
