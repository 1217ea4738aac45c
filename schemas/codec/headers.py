"""The two content modes of CloudEvents on Kafka, told apart by a record's headers.

Source: CloudEvents Kafka protocol binding 1.0.2, section 3. Header names are compared without regard to case.

* *structured*: ``content-type: application/cloudevents+json``, or no ``ce_*`` header at all;
* *binary*: ``ce_*`` headers; ``content-type`` absent or a media type of JSON.

Media types are read as ``schemas.codec.media_types`` says, here and in the attribute ``datacontenttype``.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from schemas.codec import media_types
from schemas.codec.records import Reason, quote

PREFIX: Final = "ce_"
STRUCTURED_MEDIA_TYPE: Final = "application/cloudevents+json"
DATA_MEDIA_TYPE: Final = "application/json"
_STRUCTURED: Final = re.compile(media_types.STRUCTURED)
_JSON: Final = re.compile(media_types.JSON)
#: Other formats of CloudEvents, and batches of them: structured modes that are not accepted, whatever they end in.
_EVENT_FORMATS: Final = "application/cloudevents"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one sequence of header names keeps the attributes.

    ``attributes`` are (attribute, index into the headers); ``repeated`` is a ``ce_*`` name given twice;
    ``content_types`` are the indices of the ``content-type`` headers.
    """

    attributes: tuple[tuple[str, int], ...]
    repeated: str | None
    content_types: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HeaderFault:
    """Headers from which no content mode can be told."""

    reason: Reason
    field: str
    detail: str


# Bounded because a producer chooses the names; a fleet of devices uses a handful of sequences.
@lru_cache(maxsize=1024)
def layout(names: tuple[str, ...]) -> Layout:
    """Return the layout of headers called ``names``, in that order."""
    attributes: dict[str, int] = {}
    content_types: list[int] = []
    repeated: str | None = None
    for index, name in enumerate(names):
        lower = name.lower()
        if lower == "content-type":
            content_types.append(index)
        elif lower.startswith(PREFIX):
            if lower[len(PREFIX) :] in attributes:
                repeated = repeated or lower
            attributes[lower[len(PREFIX) :]] = index
    return Layout(tuple(attributes.items()), repeated, tuple(content_types))


@lru_cache(maxsize=1024)
def _media_type(content_type: bytes) -> str | None:
    """Return which of the two accepted media types ``content_type`` is, or None; any type of JSON is the data's."""
    try:
        text = content_type.decode("ascii")
    except UnicodeDecodeError:
        return None
    if len(text) > media_types.LENGTH_LIMIT:
        return None
    if _STRUCTURED.fullmatch(text):
        return STRUCTURED_MEDIA_TYPE
    if _JSON.fullmatch(text) and not text.strip().lower().startswith(_EVENT_FORMATS):
        return DATA_MEDIA_TYPE
    return None


def is_binary(found: Layout, values: tuple[bytes | None, ...]) -> bool | HeaderFault:
    """Return True for binary mode, False for structured mode, or what is wrong with the headers.

    ``values`` are the headers' values in the order of the names ``found`` was made from; a null value counts as absent.
    """
    if len(found.content_types) > 1:
        return HeaderFault(Reason.CONTENT_TYPE, "content-type", "expected one content-type header, got several")
    content_type = values[found.content_types[0]] if found.content_types else None
    if content_type is not None:
        media = _media_type(content_type)
        if media == STRUCTURED_MEDIA_TYPE:
            return False
        if media is None:
            expected = f"{STRUCTURED_MEDIA_TYPE}, {DATA_MEDIA_TYPE} or another media type of JSON, in UTF-8"
            detail = f"expected {expected}, got {quote(content_type)}"
            return HeaderFault(Reason.CONTENT_TYPE, "content-type", detail)
    if found.repeated is not None:
        return HeaderFault(Reason.ENVELOPE, found.repeated, f"expected one {found.repeated} header, got several")
    return bool(found.attributes)
