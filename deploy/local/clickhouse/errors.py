"""Every error the embedded ClickHouse server answers: code, name, text and HTTP status, as ClickHouse has them.

`EngineError` carries what ClickHouse itself would have said; `from_engine_text` reads it out of chDB's message.
`StackError` is for the process manager: it never travels over HTTP.
"""

from __future__ import annotations

import re

from schemas.errors import ClasspulseError

__all__ = ["EngineError", "StackError", "from_engine_text", "http_status"]

_PREFIX = re.compile(r"Code: (\d+)\. DB::(?:NetException|Exception|ErrnoException|ParsingException): ", re.DOTALL)
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)(?: \(version [^)]*(?:\([^)]*\))?\))?\s*\Z")
_VERSION = re.compile(r" \(version [0-9.]+(?: \([^)]*\))?\)")

NAMES: dict[int, str] = {
    46: "UNKNOWN_FUNCTION",
    48: "NOT_IMPLEMENTED",
    62: "SYNTAX_ERROR",
    72: "CANNOT_PARSE_NUMBER",
    73: "UNKNOWN_FORMAT",
    78: "UNKNOWN_TYPE_OF_QUERY",
    108: "NO_DATA_TO_INSERT",
    115: "UNKNOWN_SETTING",
    117: "INCORRECT_DATA",
    159: "TIMEOUT_EXCEEDED",
    164: "READONLY",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    236: "ABORTED",
    307: "TOO_MANY_BYTES",
    354: "ZLIB_INFLATE_FAILED",
    358: "INTO_OUTFILE_NOT_ALLOWED",
    372: "SESSION_NOT_FOUND",
    373: "SESSION_IS_LOCKED",
    374: "INVALID_SESSION_TIMEOUT",
    381: "HTTP_LENGTH_REQUIRED",
    452: "SETTING_CONSTRAINT_VIOLATION",
    497: "ACCESS_DENIED",
    516: "AUTHENTICATION_FAILED",
    1001: "STD_EXCEPTION",
}

# The table ClickHouse's HTTP handler uses; whatever is not named answers 500.
_STATUS_OF_CODES: dict[int, frozenset[int]] = {
    401: frozenset({194}),
    403: frozenset({192, 193, 497, 512, 516}),
    400: frozenset(
        {
            6,
            8,
            15,
            25,
            26,
            27,
            33,
            36,
            37,
            38,
            41,
            44,
            53,
            62,
            72,
            117,
            123,
            167,
            168,
            223,
            321,
            354,
            374,
            376,
            427,
            441,
            457,
            675,
            676,
        }
    ),
    404: frozenset({46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 139, 152, 336, 372, 511}),
    408: frozenset({159}),
    411: frozenset({381}),
    413: frozenset({229, 307}),
    501: frozenset({48}),
    503: frozenset({202, 209, 236, 439}),
}


class StackError(ClasspulseError):
    """A part of the embedded stack could not be started, stopped or read; the text names the log and the remedy."""


class EngineError(Exception):
    """One ClickHouse exception.

    Fields: `code` is ClickHouse's error number, `name` its symbolic name, `text` the message without the
    `Code: N. DB::Exception: ` prefix and without the name.
    """

    def __init__(self, code: int, text: str, name: str = "", *, status: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.name = name or NAMES.get(code, "UNKNOWN_EXCEPTION")
        self.text = text
        self.status = status if status is not None else http_status(code)

    def message(self, version: str) -> str:
        """The one-line form ClickHouse sends: `Code: 60. DB::Exception: ... (UNKNOWN_TABLE) (version 26.9.2.1)`."""
        return f"Code: {self.code}. DB::Exception: {self.text} ({self.name}) (version {version})"


def http_status(code: int) -> int:
    """The HTTP status ClickHouse answers with for one of its error codes (500 when it has no rule)."""
    for status, codes in _STATUS_OF_CODES.items():
        if code in codes:
            return status
    return 500


def from_engine_text(text: str, *, user_name: str = "default") -> EngineError:
    """Read code, name and message out of chDB's exception text.

    chDB runs every statement as its user `default`; the sender knows only `user_name`, so the text names that one.
    A text without a ClickHouse code becomes 1001 STD_EXCEPTION.
    """
    found = _PREFIX.search(text)
    if found is None:
        return EngineError(1001, text.strip() or "the engine failed without a message")
    code = int(found.group(1))
    body = _VERSION.sub("", text[found.end() :]).strip()
    nested = _PREFIX.match(body)
    if nested is not None and int(nested.group(1)) == code:
        body = body[nested.end() :]
    name = NAMES.get(code, "")
    while True:
        tail = _NAME.search(body)
        if tail is None:
            break
        name = tail.group(1)
        body = body[: tail.start()].rstrip()
        if body.endswith(f"({name})."):
            body = body[:-1]
    if body.startswith("default: "):
        body = f"{user_name}: {body.removeprefix('default: ')}"
    return EngineError(code, body, name)
