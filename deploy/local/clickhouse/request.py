"""One HTTP request, read as ClickHouse reads it: what is the query, what are settings, what is transport."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.local.clickhouse.errors import EngineError
from deploy.local.clickhouse.formats import DEFAULT_FORMAT

__all__ = ["ClickHouseRequest", "ExternalTable", "parse"]

# URL parameters that steer the transport; everything else is a setting of the engine.
_TRANSPORT = frozenset(
    {
        "query",
        "query_id",
        "user",
        "password",
        "database",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "compress",
        "decompress",
        "enable_http_compression",
        "buffer_size",
        "wait_end_of_query",
        "quota_key",
        "client_protocol_version",
        "role",
        "stacktrace",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "add_http_cors_header",
        "cancel_http_readonly_queries_on_client_close",
    }
)
_FORMAT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*\Z")
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
_EXTERNAL_SUFFIXES = ("_structure", "_types", "_format")
_LONGEST_SESSION_SECONDS = 3_600
_DEFAULT_SESSION_SECONDS = 60
_LARGEST_BUFFER_BYTES = 16 * 2**20
_LARGEST_QUERY_BYTES = 64 * 2**20
_DEFAULT_QUERY_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """A table sent along with a query (multipart form): column structure, format and the bytes of its rows."""

    name: str
    structure: str
    format_name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ClickHouseRequest:
    """What a request asks for. Sizes in bytes, times in seconds; `settings` are names and text values.

    `read_only` is True for GET and HEAD, which ClickHouse never lets write, and when the request itself asks for it.
    """

    method: str
    query: str
    query_id: str
    database: str
    format_name: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    external_structures: Mapping[str, Mapping[str, str]]
    session_id: str
    session_timeout_seconds: int
    session_must_exist: bool
    close_session: bool
    wait_end_of_query: bool
    buffer_bytes: int
    max_query_bytes: int
    protocol_version: int
    compress_response: bool
    compress_blocks: bool
    decompress_blocks: bool
    accept_encoding: str
    content_encoding: str
    external_tables: tuple[ExternalTable, ...] = field(default=())

    @property
    def read_only(self) -> bool:
        """True when this request may not change anything, whoever sends it."""
        return self.method in {"GET", "HEAD"} or self.settings.get("readonly", "0").strip() not in {"", "0"}


def parse(
    method: str,
    url_parameters: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    *,
    multipart: bool = False,
) -> ClickHouseRequest:
    """Read method, URL parameters and headers; only a multipart request can carry external tables.

    Raises EngineError: 115 for an impossible setting name, 374 for a bad session timeout.
    """
    values = dict(url_parameters)
    query = "\n".join(value for name, value in url_parameters if name == "query")
    format_name = headers.get("X-ClickHouse-Format") or values.get("default_format") or DEFAULT_FORMAT
    external = _external(values) if multipart else {}
    settings: dict[str, str] = {}
    for name, value in values.items():
        if name in _TRANSPORT or name.startswith("param_") or _is_external(name, external):
            continue
        if not _SETTING_NAME.match(name):
            raise EngineError(115, f"Unknown setting '{name[:100]}'.")
        settings[name] = value
    return ClickHouseRequest(
        method=method,
        query=query,
        query_id=values.get("query_id") or str(uuid.uuid4()),
        database=headers.get("X-ClickHouse-Database") or values.get("database", ""),
        format_name=_format_name(format_name),
        settings=settings,
        parameters={name.removeprefix("param_"): value for name, value in values.items() if name.startswith("param_")},
        external_structures=external,
        session_id=values.get("session_id", ""),
        session_timeout_seconds=_session_timeout(values.get("session_timeout")),
        session_must_exist=_flag(values.get("session_check", "0")),
        close_session=_flag(values.get("close_session", "0")),
        wait_end_of_query=_flag(values.get("wait_end_of_query", "0")),
        buffer_bytes=_bounded(values.get("buffer_size"), 0, _LARGEST_BUFFER_BYTES),
        max_query_bytes=_bounded(settings.get("max_query_size"), _DEFAULT_QUERY_BYTES, _LARGEST_QUERY_BYTES),
        protocol_version=_bounded(values.get("client_protocol_version"), 0, 2**31),
        compress_response=_flag(values.get("enable_http_compression", "0")),
        compress_blocks=_flag(values.get("compress", "0")),
        decompress_blocks=_flag(values.get("decompress", "0")),
        accept_encoding=headers.get("Accept-Encoding", ""),
        content_encoding=headers.get("Content-Encoding", "").strip().lower(),
    )


def _format_name(value: str) -> str:
    if not _FORMAT_NAME.match(value):
        raise EngineError(73, f"Unknown format {value[:50]}.")
    return value


def _flag(value: str) -> bool:
    return value.strip().lower() not in {"", "0", "false"}


def _bounded(value: str | None, default: int, largest: int) -> int:
    if value is None or not value.strip().isdigit() or int(value) == 0:
        return default
    return min(int(value), largest)


def _session_timeout(value: str | None) -> int:
    if value is None:
        return _DEFAULT_SESSION_SECONDS
    if not value.strip().isdigit():
        raise EngineError(374, f"Invalid session timeout: '{value[:50]}'")
    seconds = int(value)
    if seconds > _LONGEST_SESSION_SECONDS:
        raise EngineError(
            374,
            f"Session timeout '{seconds}' is larger than max_session_timeout: {_LONGEST_SESSION_SECONDS}. "
            "Maximum session timeout could be modified in configuration file.",
        )
    return seconds


def _external(values: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """External tables announced by `NAME_structure` or `NAME_types`, with their `NAME_format` if given."""
    tables: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        for suffix in ("_structure", "_types"):
            table = name.removesuffix(suffix)
            if name.endswith(suffix) and table and not name.startswith("param_"):
                tables.setdefault(table, {})[suffix.removeprefix("_")] = value
    for table, parts in tables.items():
        if f"{table}_format" in values:
            parts["format"] = _format_name(values[f"{table}_format"])
    return tables


def _is_external(name: str, external: Mapping[str, Mapping[str, str]]) -> bool:
    return any(name.endswith(suffix) and name.removesuffix(suffix) in external for suffix in _EXTERNAL_SUFFIXES)
