"""Attributes of a rejected record, as far as they can be read from headers and bytes that are no event. No I/O."""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Final

from schemas.codec.headers import PREFIX

__all__ = ["event_hash", "readable_attributes"]

#: In a value that is longer or no JSON the attributes are looked for in so many bytes: an envelope stands at the beginning.
SEARCHED_BYTES: Final = 65_536


def readable_attributes(
    headers: Sequence[tuple[str, bytes | None]], value: bytes | None, names: Sequence[str]
) -> list[str]:
    """Return the CloudEvents attributes of these names as text, from the headers or else the value; empty where unreadable.

    What is no text in UTF-8 is escaped.
    """
    named = {name.lower(): header for name, header in headers}
    in_headers = [named.get(f"{PREFIX}{name}") for name in names]
    in_value = _of_value(value or b"", names) if None in in_headers else [None] * len(names)
    texts = [
        header.decode("utf-8", "backslashreplace") if header is not None else text or ""
        for header, text in zip(in_headers, in_value, strict=True)
    ]
    # JSON can hold half a surrogate pair, which cannot be written.
    return [text.encode("utf-8", "backslashreplace").decode() for text in texts]


def event_hash(source: str, id: str) -> str:  # noqa: A002 - CloudEvents' name
    """Return what a dead letter is found by in the table: SHA-256 in hex; empty without ``source`` or ``id``."""
    return hashlib.sha256(f"{source}\n{id}".encode()).hexdigest() if source and id else ""


def _of_value(value: bytes, names: Sequence[str]) -> list[str | None]:
    """Return attributes from JSON, or from what looks like it."""
    try:
        content = json.loads(value) if len(value) <= SEARCHED_BYTES else None
    except (ValueError, RecursionError):
        content = None
    if content is None:
        return [_searched(value, name.encode()) for name in names]
    found = [content.get(name) if isinstance(content, dict) else None for name in names]
    return [text if isinstance(text, str) else None for text in found]


def _searched(value: bytes, name: bytes) -> str | None:
    found = re.search(rb'"%s"[ \t\r\n]{0,9}:[ \t\r\n]{0,9}"([^"\\]{0,1024})"' % name, value[:SEARCHED_BYTES])
    return found[1].decode("utf-8", "backslashreplace") if found else None
