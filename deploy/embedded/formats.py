"""The content type ClickHouse sends with each output format."""

from __future__ import annotations

__all__ = ["DEFAULT_FORMAT", "content_type"]

DEFAULT_FORMAT = "TabSeparated"

_JSON_DOCUMENTS = frozenset(
    {"JSON", "JSONCompact", "JSONStrings", "JSONCompactStrings", "JSONColumns", "JSONCompactColumns",
     "JSONColumnsWithMetadata", "JSONObjectEachRow"}
)  # fmt: skip
_BINARY_PREFIXES = (
    "Native", "RowBinary", "Arrow", "Parquet", "ORC", "Avro", "MsgPack", "Protobuf", "CapnProto", "BSON", "Npy", "Null",
)  # fmt: skip


def content_type(format_name: str) -> str:
    """The Content-Type header of a result in `format_name`; plain text for whatever has no rule of its own."""
    if format_name in _JSON_DOCUMENTS:
        return "application/json; charset=UTF-8"
    if format_name.startswith("JSON") or format_name == "NDJSON":
        return "application/x-ndjson; charset=UTF-8"
    if format_name.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    if format_name.startswith("CSV"):
        header = "present" if "WithNames" in format_name else "absent"
        return f"text/csv; charset=UTF-8; header={header}"
    if format_name == "XML":
        return "application/xml; charset=UTF-8"
    if format_name == "Markdown":
        return "text/markdown; charset=UTF-8"
    if format_name.startswith(_BINARY_PREFIXES):
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"
