"""The content type ClickHouse sends with each output format."""

from __future__ import annotations

__all__ = ["DEFAULT_FORMAT", "content_type"]

DEFAULT_FORMAT = "TabSeparated"

_JSON_DOCUMENTS = frozenset(
    {
        "JSON",
        "JSONCompact",
        "JSONStrings",
        "JSONCompactStrings",
        "JSONColumns",
        "JSONCompactColumns",
        "JSONColumnsWithMetadata",
        "JSONObjectEachRow",
    }
)
_BINARY = (
    "Native",
    "RowBinary",
    "Arrow",
    "Parquet",
    "ORC",
    "Avro",
    "MsgPack",
    "Protobuf",
    "CapnProto",
    "BSON",
    "Npy",
    "Null",
)
_BY_PREFIX: tuple[tuple[tuple[str, ...], str], ...] = (
    (("JSON", "NDJSON"), "application/x-ndjson; charset=UTF-8"),
    (("TabSeparated", "TSV"), "text/tab-separated-values; charset=UTF-8"),
    (("XML",), "application/xml; charset=UTF-8"),
    (("Markdown",), "text/markdown; charset=UTF-8"),
    (_BINARY, "application/octet-stream"),
)


def content_type(format_name: str) -> str:
    """The Content-Type header of a result in `format_name`; plain text for whatever has no rule of its own."""
    if format_name in _JSON_DOCUMENTS:
        return "application/json; charset=UTF-8"
    if format_name.startswith("CSV"):
        return f"text/csv; charset=UTF-8; header={'present' if 'WithNames' in format_name else 'absent'}"
    for prefixes, kind in _BY_PREFIX:
        if format_name.startswith(prefixes):
            return kind
    return "text/plain; charset=UTF-8"
