"""The chDB engine of this process: its configuration, its roles, and one short-lived connection a request.

chDB allows one engine a process and any number of connections to it. A connection has its own settings, database and
temporary tables, costs about 0.3 ms, and runs beside the others; so every request gets a fresh one and nothing can
leak from one request into the next. What a user may do is enforced by the engine's own roles (`SET ROLE`), to which
the connection is restricted before it sees the request's statement.
"""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from deploy.local.clickhouse.errors import EngineError, StackError, from_engine_text
from deploy.local.clickhouse.grants import rights
from deploy.local.clickhouse.statement import scan

__all__ = [
    "HARMLESS_TABLE_FUNCTIONS",
    "Classification",
    "Connection",
    "Engine",
    "QueryOutcome",
    "quoted_identifier",
    "quoted_string",
]

# A server has these off; the library, made for a command line, has them on.
_SERVER_DEFAULTS = {"implicit_select": "0", "allow_introspection_functions": "0"}

# Table functions that make rows out of nothing but their arguments.
HARMLESS_TABLE_FUNCTIONS = frozenset(
    {
        "numbers",
        "numbers_mt",
        "zeros",
        "zeros_mt",
        "values",
        "null",
        "primes",
        "generateRandom",
        "generateSeries",
        "generate_series",
    }
)
_EXPLAIN = b"EXPLAIN AST "
_POSITION = re.compile(r"position (\d+)")
_SPOOL_FILE = re.compile(r"\s*\(in file/uri [^)]*\)")


@dataclass(frozen=True, slots=True)
class QueryOutcome:
    """What one statement did. Rows and bytes read from storage and written; `content` is its (small) result."""

    content: bytes
    read_rows: int
    read_bytes: int
    result_rows: int
    result_bytes: int
    written_rows: int
    written_bytes: int
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class Classification:
    """The engine's own opinion of a text. `kind` is READ_ONLY, MUTATING, CONTROL, ... or UNKNOWN."""

    kind: str
    statement_count: int


def quoted_string(value: str) -> str:
    """A ClickHouse string literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def quoted_identifier(name: str) -> str:
    """A ClickHouse identifier in backquotes."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


class Connection:
    """One chDB connection. Used by one thread at a time. Every method raises EngineError with ClickHouse's code."""

    def __init__(self, inner: Any, user_name: str, spool: Path) -> None:
        self._inner = inner
        self._user_name = user_name
        self._spool = spool

    def run(self, sql: bytes | str, format_name: str, parameters: Mapping[str, str] | None = None) -> QueryOutcome:
        """Run a statement to its end; blocks, without the interpreter lock."""
        try:
            result = self._inner.query(sql, format_name, params=dict(parameters or {}))
            return QueryOutcome(
                content=result.bytes(),
                read_rows=result.storage_rows_read(),
                read_bytes=result.storage_bytes_read(),
                result_rows=result.rows_read(),
                result_bytes=result.bytes_read(),
                written_rows=result.rows_written(),
                written_bytes=result.bytes_written(),
                elapsed_seconds=result.elapsed(),
            )
        except RuntimeError as error:
            raise from_engine_text(str(error), user_name=self._user_name) from None

    def blocks(self, sql: bytes, parameters: Mapping[str, str], take: Callable[[bytes, int], None]) -> QueryOutcome:
        """Run a SELECT and hand each block of its result, in Native format, to `take(block, rows)`.

        The query is cancelled when `take` raises.
        """
        outcome = QueryOutcome(b"", 0, 0, 0, 0, 0, 0, 0.0)
        try:
            stream = self._inner.send_query(sql, "Native", params=dict(parameters))
            while (chunk := self._inner.streaming_fetch_result(stream)).rows_read():
                outcome = replace(
                    outcome,
                    read_rows=outcome.read_rows + chunk.storage_rows_read(),
                    read_bytes=outcome.read_bytes + chunk.storage_bytes_read(),
                    result_rows=outcome.result_rows + chunk.rows_read(),
                    result_bytes=outcome.result_bytes + chunk.bytes_read(),
                    elapsed_seconds=outcome.elapsed_seconds + chunk.elapsed(),
                )
                try:
                    take(chunk.bytes(), chunk.rows_read())
                except BaseException:
                    self._inner.streaming_cancel_query(stream)
                    raise
        except RuntimeError as error:
            raise from_engine_text(str(error), user_name=self._user_name) from None
        return outcome

    def insert(self, head: bytes, format_name: str, pieces: Iterator[bytes]) -> QueryOutcome:
        """Insert encoded rows; nothing is inserted when `pieces` raises.

        They go through a file: what the engine's own streaming insert says of a full disk, too many parts or a violated
        constraint is nothing at all.
        """
        settings = next((token.start for token in scan(head) if token.depth == 0 and token.word == "SETTINGS"), len(head))
        try:
            with tempfile.NamedTemporaryFile(dir=self._spool) as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                source = f" FROM INFILE {quoted_string(file.name)} COMPRESSION 'none' ".encode()
                sql = head[:settings] + source + head[settings:] + f" FORMAT {format_name}".encode()
                outcome = self.run(sql, "Null")
        except EngineError as error:
            raise EngineError(error.code, _SPOOL_FILE.sub("", error.text), error.name) from None
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise EngineError(243, "No space left for the rows of the request", "NOT_ENOUGH_SPACE") from error
        rows, size = outcome.written_rows, outcome.written_bytes
        return replace(outcome, read_rows=rows, read_bytes=size, result_rows=rows, result_bytes=size)

    def syntax_tree(self, sql: bytes, parameters: Mapping[str, str]) -> bytes:
        """The engine's syntax tree of a statement, one node a line; a syntax error names the place in `sql`."""
        try:
            return self.run(_EXPLAIN + sql, "TSVRaw", parameters).content
        except EngineError as error:
            text = _POSITION.sub(lambda found: f"position {int(found.group(1)) - len(_EXPLAIN)}", error.text)
            raise EngineError(error.code, text, error.name) from None

    def classify(self, sql: bytes) -> Classification:
        """What the engine's parser makes of `sql`; nothing is run."""
        try:
            report = self._inner.classify_query(sql)
        except (RuntimeError, ValueError):
            return Classification("UNKNOWN", 0)
        return Classification(report["query_class"].name, int(report["statement_count"]))

    def close(self) -> None:
        """Give the connection back, with its temporary tables and settings."""
        self._inner.close()


class Engine:
    """The one engine of this process.

    Fields after `open`: `version`, `timezone`, `display_name`, and `table_functions`,
    the lower-case names of those that read more than their arguments.
    """

    def __init__(self, folder: Path, *, display_name: str, max_memory_bytes: int) -> None:
        self._folder = folder
        self._spool = folder / "spool"
        self._max_memory_bytes = max_memory_bytes
        self._library: Any = None
        self._root: Any = None
        self._lock = threading.Lock()
        self.display_name = display_name
        self.version = ""
        self.timezone = ""
        self.table_functions: frozenset[str] = frozenset()

    def open(self) -> None:
        """Start the engine on its folder. Raises StackError when the folder cannot be used."""
        if set(str(self._folder)) & set("?&#%"):
            raise StackError(f"the data folder {self._folder} must not contain any of ? & # %; choose another")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(self._spool, ignore_errors=True)  # of a process that was killed
        self._spool.mkdir(mode=0o700)
        config = self._write_configuration()
        # Loading the library takes half a second and 700 MB: only a server that opens an engine pays for it.
        self._library = import_module("chdb._chdb")
        # The process has its own SIGTERM handling; the library must not replace it.
        self._library.set_signal_handlers_enabled(0)
        try:
            self._root = self._library.connect(f"{self._folder / 'data'}?config-file={config}")
            text = self._root.query("SELECT version(), timezone()", "TabSeparated").bytes().decode()
            names = self._root.query("SELECT name FROM system.table_functions", "TabSeparated").bytes().decode()
        except RuntimeError as error:
            raise StackError(f"the engine cannot open {self._folder}: {error}") from error
        self.version, self.timezone = text.strip().split("\t")
        self.table_functions = frozenset(name.lower() for name in names.split() if name not in HARMLESS_TABLE_FUNCTIONS)

    @contextmanager
    def connection(self, user_name: str) -> Iterator[Connection]:
        """A fresh connection, closed at the end."""
        connection = self.connect(user_name)
        try:
            yield connection
        finally:
            connection.close()

    def connect(self, user_name: str) -> Connection:
        """A fresh connection with every right; take its user's role before a user's statement runs on it."""
        with self._lock:
            if self._root is None:
                raise EngineError(236, "The server is shutting down")
        try:
            return Connection(self._library.connect(str(self._folder / "data")), user_name, self._spool)
        except RuntimeError as error:
            raise from_engine_text(str(error), user_name=user_name) from None

    def close(self) -> None:
        """Flush and stop the engine; later connections are refused."""
        with self._lock:
            root, self._root = self._root, None
        if root is not None:
            root.close()

    def _write_configuration(self) -> Path:
        roles = "".join(
            f"<{name}><grants>{''.join(f'<query>{escape(grant)}</query>' for grant in one.grants)}</grants></{name}>"
            for name, one in rights().items()
        )
        defaults = "".join(f"<{name}>{value}</{name}>" for name, value in _SERVER_DEFAULTS.items())
        users = (
            f"<clickhouse><profiles><default>{defaults}</default></profiles><quotas><default/></quotas>"
            f"<roles>{roles}</roles><users><default><password></password><networks><ip>::/0</ip></networks>"
            "<profile>default</profile><quota>default</quota>"
            f"<grants><query>GRANT {', '.join(rights())}</query></grants></default></users></clickhouse>\n"
        )
        users_path = self._folder / "engine-users.xml"
        users_path.write_text(users, encoding="utf-8")
        config = (
            f"<clickhouse><users_config>{escape(str(users_path))}</users_config>"
            f"<display_name>{escape(self.display_name)}</display_name>"
            f"<max_server_memory_usage>{self._max_memory_bytes}</max_server_memory_usage></clickhouse>\n"
        )
        config_path = self._folder / "engine-config.xml"
        config_path.write_text(config, encoding="utf-8")
        return config_path
