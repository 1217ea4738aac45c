"""Where one SQL statement's parts lie: its first word, its FORMAT clause, the data behind an INSERT.

Only places are found here; the engine alone decides what a statement means and whether it is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from deploy.local.clickhouse.errors import EngineError

__all__ = ["Insert", "Query", "Token", "assignments", "column_list", "find_insert", "read_query", "scan"]

_TOKEN = re.compile(
    rb"""
    (?P<space>(?:[\s\x00]|\xc2[\x85\xa0]|\xe2\x80[\x80-\x8f\xa8\xa9\xaf]|\xe2\x81[\x9f\xa0]|\xe3\x80\x80|\xef\xbb\xbf)+)
  | (?P<comment>--[^\n]*|//[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
  | (?P<string>'(?:[^'\\]|\\.|'')*'|\xe2\x80\x98.*?\xe2\x80\x99)
  | (?P<quoted>\xe2\x80\x9c.*?\xe2\x80\x9d|`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
  | (?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
  | (?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*)
  | (?P<number>[0-9][\w.]*)
  | (?P<semicolon>;)
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_TYPE_SIGNS = frozenset({b",", b"=", b"-"})
_MORE_THAN_TYPES = frozenset(
    {
        "DEFAULT",
        "MATERIALIZED",
        "ALIAS",
        "EPHEMERAL",
        "CODEC",
        "TTL",
        "STATISTICS",
        "SETTINGS",
        "COLLATE",
        "CONSTRAINT",
        "CHECK",
        "ASSUME",
        "INDEX",
        "PROJECTION",
        "PRIMARY",
        "FOREIGN",
        "AS",
        "ENGINE",
        "SELECT",
    }
)
_BLANKS_BEFORE_DATA = b" \t\f\v"


@dataclass(frozen=True, slots=True)
class Token:
    """One significant token (no blanks, no comments): its kind, text, place in bytes, and bracket depth."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    @property
    def word(self) -> str:
        """The upper-case keyword, or an empty string when this is no bare word."""
        return self.text.upper().decode("utf-8", "replace") if self.kind == "word" else ""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement without data of its own. `first_word` is upper case; `body` + `format_clause` + `tail` is its text.

    `format_name` is empty when the statement names no output format; `tail` is a SETTINGS clause behind FORMAT.
    """

    text: bytes
    first_word: str
    second_word: str
    body: bytes
    format_name: str
    tail: bytes
    writes_outfile: bool
    reads_infile: bool


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose rows follow it. `head` ends before FORMAT/VALUES; rows begin at `data_start` of the text."""

    head: bytes
    format_name: str
    data_start: int
    has_select: bool
    reads_infile: bool


def scan(sql: bytes, start: int = 0) -> Iterator[Token]:
    """The significant tokens of `sql`, lazily, so that the bytes of an INSERT's data are never looked at."""
    depth = 0
    for found in _TOKEN.finditer(sql, start):
        kind = found.lastgroup or "other"
        if kind == "tag":
            kind = "heredoc"
        if kind in {"space", "comment"}:
            continue
        if kind == "close":
            depth = max(0, depth - 1)
        yield Token(kind, found.group(), found.start(), found.end(), depth)
        if kind == "open":
            depth += 1


def find_insert(sql: bytes) -> Insert | None:
    """The INSERT in `sql` whose rows follow it, in the text or in the request body; None for any other statement."""
    tokens = scan(sql)
    first = next(tokens, None)
    if first is None or first.word not in {"INSERT", "WITH"}:
        return None
    if first.word == "WITH" and not _reaches_insert(tokens):
        return None
    return _insert(sql, tokens)


def _reaches_insert(tokens: Iterator[Token]) -> bool:
    """Read a WITH clause up to its `INSERT INTO`; False when the statement is a SELECT."""
    previous = ""
    for token in tokens:
        if token.depth == 0:
            if previous == "INSERT" and token.word == "INTO":
                return True
            if token.word == "SELECT" and previous not in {"AS", "WITH"}:
                return False
            previous = token.word
        else:
            previous = ""
    return False


def _insert(sql: bytes, tokens: Iterator[Token]) -> Insert | None:
    """The INSERT's parts when rows follow in the text (or may follow in the request body), else None."""
    last_target = _skip_insert_target(tokens)
    has_select = reads_infile = False
    previous: Token | None = None
    end = last_target.end if last_target is not None else len(sql)
    for token in tokens:
        after_dot = previous is not None and previous.text == b"."
        if token.depth == 0 and not after_dot:
            if token.kind == "semicolon":
                break
            if token.word == "VALUES" and not has_select:
                return Insert(sql[: token.start], "Values", token.end, has_select=False, reads_infile=reads_infile)
            if token.word in {"SELECT", "WITH"}:
                has_select = True
            if token.word == "INFILE" and previous is not None and previous.word == "FROM":
                reads_infile = True
            if previous is not None and previous.word == "FORMAT" and token.kind == "word":
                return Insert(
                    sql[: previous.start],
                    token.text.decode(),
                    _data_start(sql, token.end),
                    has_select=has_select,
                    reads_infile=reads_infile,
                )
        elif token.depth == 1 and token.word in {"SELECT", "WITH"}:
            has_select = True
        previous = token
        end = token.end
    if has_select:
        return None
    return Insert(sql[:end], "Values", len(sql), has_select=False, reads_infile=reads_infile)


def _skip_insert_target(tokens: Iterator[Token]) -> Token | None:
    """Read `[INTO] [TABLE] [FUNCTION] name`, so that a table named `format` is not taken for the keyword."""
    last: Token | None = None
    for token in tokens:
        last = token
        if token.word not in {"INTO", "TABLE", "FUNCTION"}:
            break
    return last


def _data_start(sql: bytes, after_format: int) -> int:
    """Rows begin after the format name, its blanks and one line break, or right after a semicolon."""
    place = after_format
    size = len(sql)
    if place < size and sql[place : place + 1] == b";":
        place += 1
    while place < size and sql[place] in _BLANKS_BEFORE_DATA:
        place += 1
    if sql[place : place + 1] == b"\r":
        place += 1
    if sql[place : place + 1] == b"\n":
        place += 1
    return place


def read_query(sql: bytes) -> Query:
    """The parts of the one statement in `sql`. Raises EngineError 62 when there is none, or more than one."""
    tokens = list(scan(sql))
    while tokens and tokens[-1].kind == "semicolon":
        tokens.pop()
    if not tokens:
        raise EngineError(62, "Empty query")
    for position, token in enumerate(tokens):
        if token.kind == "semicolon":
            rest = sql[tokens[position + 1].start :][:40].decode("utf-8", "replace")
            raise EngineError(
                62,
                f"Syntax error (Multi-statements are not allowed): failed at position {token.start + 1} "
                f"(end of query): ; {rest}. .",
            )
    end = tokens[-1].end
    top = [token for token in tokens if token.depth == 0]
    format_at = _format_clause(top)
    words = [token.word for token in tokens]
    if format_at is None:
        body, name, tail = sql[:end], "", b""
    else:
        body = sql[: top[format_at].start]
        name = top[format_at + 1].text.decode()
        tail = sql[top[format_at + 1].end : end]
    return Query(
        text=sql[:end],
        first_word=words[0] if words else "",
        second_word=words[1] if len(words) > 1 else "",
        body=body,
        format_name=name,
        tail=tail,
        writes_outfile=_adjacent(words, "INTO", "OUTFILE"),
        reads_infile=_adjacent(words, "FROM", "INFILE"),
    )


def _format_clause(top: list[Token]) -> int | None:
    """Index of the last top-level `FORMAT name` that ends the statement or stands before its SETTINGS."""
    for position in range(len(top) - 2, 0, -1):
        if top[position].word != "FORMAT" or top[position + 1].kind != "word":
            continue
        behind = top[position + 2] if position + 2 < len(top) else None
        if behind is None or behind.word == "SETTINGS":
            return position
    return None


def _adjacent(words: list[str], first: str, second: str) -> bool:
    return any(a == first and b == second for a, b in pairwise(words))


def column_list(structure: bytes) -> bytes:
    """A list of `name Type` pairs, rebuilt from its tokens so that nothing but names and types is in it.

    It is run with every right: comments, expressions (DEFAULT and its kin) and a bracket that closes what it did not
    open are refused. Raises EngineError 62.
    """
    depth = 0
    parts: list[bytes] = []
    for token in scan(structure):
        depth += (token.kind == "open") - (token.kind == "close")
        plain = token.kind in {"word", "quoted", "string", "number", "open", "close"} or token.text in _TYPE_SIGNS
        if depth < 0 or not plain or (token.depth == 0 and token.word in _MORE_THAN_TYPES):
            text = token.text[:50].decode("utf-8", "replace")
            raise EngineError(62, f"Syntax error in the structure of an external table, at: {text}")
        parts.append(token.text)
    if depth != 0 or not parts:
        raise EngineError(62, "Syntax error in the structure of an external table: it does not end")
    return b" ".join(parts)


def assignments(sql: bytes) -> dict[str, bytes]:
    """The `name = literal` pairs of a SET statement; a pair whose value is not one token is left out."""
    tokens = [token for token in scan(sql) if token.kind != "semicolon"][1:]
    pairs: dict[str, bytes] = {}
    for name, equals, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if name.kind == "word" and equals.text == b"=" and value.kind in {"word", "number", "string"}:
            pairs[name.text.decode("utf-8", "replace")] = value.text
    return pairs
