"""What a statement of a user may do, beyond what the engine's own roles already refuse.

The roles stop writing, DDL and every table function that reaches outside (file, url, remote, ...). Left over are the
things a role does not govern in an embedded engine: the scalar function `file`, INTO OUTFILE, FROM INFILE, `Python()`,
taking another role, settings that name files, and the tables of `system` that show what others do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from deploy.local.clickhouse.auth import User
from deploy.local.clickhouse.engine import HARMLESS_TABLE_FUNCTIONS, Classification, Connection, quoted_string
from deploy.local.clickhouse.errors import EngineError
from deploy.local.clickhouse.grants import READABLE_SYSTEM_TABLES, Profile, rights
from deploy.local.clickhouse.statement import Insert, Query, scan

__all__ = ["check_insert", "check_names", "check_query", "check_settings"]

_CONTEXT_WORDS = frozenset({"SET", "USE"})
_ROLE_WORDS = frozenset({"ROLE", "DEFAULT"})
# Settings whose value is a path the engine would read or write, or that change the language the checks here read.
_LOCKED_SETTINGS = frozenset(
    {
        "dialect",
        "allow_experimental_prql_dialect",
        "allow_experimental_kusto_dialect",
        "input_format_values_interpret_expressions",
        "input_format_values_deduce_templates_of_expressions",
        "format_schema",
        "format_schema_source",
        "output_format_schema",
        "format_schema_message_name",
        "input_format_record_errors_file_path",
        "errors_output_format",
        "format_template_row",
        "format_template_resultset",
        "format_template_row_format",
        "format_template_resultset_format",
    }
)
# Names in the engine's syntax tree. chDB's table function Python reads variables of this process: nobody may call it.
_PYTHON_NAME = re.compile(rb"^\s*(?:Function|Identifier) python(?: |\(|$)", re.MULTILINE | re.IGNORECASE)
_FILE_NAMES = re.compile(
    rb"^\s*(?:Function|Identifier) (?:file|python|executable|filesystem)(?: |\(|$)", re.MULTILINE | re.IGNORECASE
)
# A name without its database could mean a system table after USE, which is therefore refused.
_SYSTEM_TABLE = re.compile(rb"^\s*(?:(?:Table)?Identifier `?system`?\.`?|(Use)Query `?system)(\w*)", re.MULTILINE)
_TABLE_FUNCTION = re.compile(rb"^\s*TableExpression[^\n]*\n\s+Function (?:\w+\.)?(\w+)", re.MULTILINE)
# A view with parameters is called like a table function; the engine has none of such a name.
_CONTRACT_VIEW = re.compile(rb"(?:vendor_)?v[1-9][0-9]*_[a-z0-9_]+")
_HARMLESS_TABLE_FUNCTIONS = frozenset(name.encode() for name in HARMLESS_TABLE_FUNCTIONS)
# Asking for the tree costs a millisecond: only a text in which such a name could stand, in any spelling, is worth it.
_SUSPECT = re.compile(rb"file|python|executable|system|\\", re.IGNORECASE)
_PYTHON_SUSPECT = re.compile(rb"python|\\", re.IGNORECASE)
# These look at the structure of a table function before they ask for the right to read it.
_DESCRIBES = re.compile(rb"\b(?:DESCRIBE|DESC|EXPLAIN)\b[^(]*\(", re.IGNORECASE)


def check_settings(user: User, settings: Mapping[str, str], database: str) -> None:
    """Refuse the settings and the database of a request that a user may not have. Raises EngineError 164, 452 or 497."""
    _check_locked_settings(user, settings)
    if settings and rights()[user.name].readonly == 1:
        raise EngineError(164, f"Cannot modify '{min(settings)}' setting in readonly mode.")
    if database == "system" and user.profile is not Profile.OWNER:
        raise _not_allowed(user, "USE system; name its tables with their database")
    wanted = settings.get("readonly", "").strip()
    if wanted and wanted not in {"0", "1", "2"}:
        raise EngineError(72, f"Cannot parse the value of the setting readonly: {quoted_string(wanted[:50])}")
    if wanted == "0" and user.profile is Profile.READONLY:
        raise EngineError(164, "Cannot modify 'readonly' setting in readonly mode.")


def _check_locked_settings(user: User, names: Iterable[str]) -> None:
    if user.profile is Profile.OWNER:
        return
    for name in names:
        if name.lower() in _LOCKED_SETTINGS:
            raise EngineError(452, f"Setting {name} should not be changed.")


def check_query(user: User, query: Query, classification: Classification, *, read_only: bool) -> None:
    """Refuse what the engine would let through. Raises EngineError 62, 78, 164, 358, 452 or 497."""
    if classification.statement_count > 1:
        raise EngineError(62, "Syntax error (Multi-statements are not allowed): failed at the end of the first query.")
    if query.writes_outfile or (classification.kind == "CONTROL" and query.first_word in {"SELECT", "WITH", "FROM"}):
        raise EngineError(358, "INTO OUTFILE is not allowed")
    if query.reads_infile:
        raise _infile()
    _check_role_change(user, query)
    # What the engine cannot parse is not run for a reader; it gets its syntax error from the caller.
    writes = classification.kind not in {"READ_ONLY", "UNKNOWN"} and query.first_word not in _CONTEXT_WORDS
    if writes and read_only:
        raise EngineError(
            164,
            f"{user.name}: Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
            "You should use method POST for modifying queries.",
        )
    if writes and user.profile is Profile.READONLY:
        raise EngineError(164, f"{user.name}: Cannot execute query in readonly mode.")
    _check_locked_settings(user, _names(query.text))


def _names(sql: bytes) -> Iterator[str]:
    """Every name in a statement, without its quotes; behind SET or SETTINGS an escaped name stands for any."""
    setting = False
    for token in scan(sql):
        setting = setting or token.word in {"SET", "SETTINGS"}
        if token.kind == "word":
            yield token.text.decode("utf-8", "replace")
        elif token.kind == "quoted":
            escaped = setting and b"\\" in token.text
            yield "format_schema" if escaped else token.text[1:-1].decode("utf-8", "replace")


def _check_role_change(user: User, query: Query) -> None:
    if (query.first_word, query.second_word) == ("SHOW", "PROCESSLIST") and user.profile is not Profile.OWNER:
        raise _not_allowed(user, "SELECT ON system.processes")
    takes_role = query.first_word == "SET" and query.second_word in _ROLE_WORDS
    if takes_role or query.first_word in {"EXECUTE", "KILL"}:
        if user.profile is Profile.OWNER and not takes_role:
            return
        needed = "KILL QUERY" if query.first_word == "KILL" else "ROLE ADMIN"
        raise _not_allowed(user, f"{needed} ON *.*")


def check_insert(user: User, insert: Insert, *, read_only: bool) -> None:
    """Refuse an INSERT by a reader, over GET, or from a file of the server. Raises EngineError 78 or 164."""
    if insert.reads_infile:
        raise _infile()
    _check_locked_settings(user, _names(insert.head))
    if read_only:
        raise EngineError(
            164,
            f"{user.name}: Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
            "You should use method POST for modifying queries.",
        )
    if user.profile is Profile.READONLY:
        raise EngineError(164, f"{user.name}: Cannot execute query in readonly mode.")


def check_names(
    user: User, connection: Connection, sql: bytes, parameters: Mapping[str, str], table_functions: frozenset[str]
) -> None:
    """Refuse functions that read the server's files or variables, however they are quoted or escaped.

    The names come from the engine's own syntax tree; it is asked for only when the text could contain one.
    Raises EngineError 46 or 497.
    """
    owner = user.profile is Profile.OWNER
    suspect, forbidden = (_PYTHON_SUSPECT, _PYTHON_NAME) if owner else (_SUSPECT, _FILE_NAMES)
    values = "\n".join(parameters.values()).encode("utf-8", "surrogateescape")
    if not owner and b"Identifier" in sql and suspect.search(values):
        raise _not_allowed(user)
    calls = not owner and (_DESCRIBES.search(sql) is not None or _calls_one_of(sql, table_functions))
    if not calls and not suspect.search(sql):
        return
    tree = connection.syntax_tree(sql, parameters)
    if forbidden.search(tree):
        if owner:
            raise EngineError(46, "Unknown table function Python.", "UNKNOWN_FUNCTION")
        raise _not_allowed(user)
    called = {name for name in _TABLE_FUNCTION.findall(tree) if not _CONTRACT_VIEW.fullmatch(name)}
    if not owner and not called <= _HARMLESS_TABLE_FUNCTIONS:
        raise _not_allowed(user)
    for use, name in _SYSTEM_TABLE.findall(tree) if not owner else ():
        if use or name.decode() not in READABLE_SYSTEM_TABLES:
            raise _not_allowed(user, f"SELECT ON system.{name.decode() or '*'}")


def _calls_one_of(sql: bytes, names: frozenset[str]) -> bool:
    """True when one of the names stands before a bracket: some table functions act before they ask for the right to."""
    name = ""
    for token in scan(sql):
        if token.text == b"(" and name in names:
            return True
        name = token.text.strip(b'`"').decode("utf-8", "replace").lower() if token.kind in {"word", "quoted"} else ""
    return False


def _not_allowed(user: User, grant: str = "READ ON FILE") -> EngineError:
    text = f"{user.name}: Not enough privileges. To execute this query, it's necessary to have the grant {grant}."
    return EngineError(497, text)


def _infile() -> EngineError:
    return EngineError(78, "Query has infile and was send directly to server")
