"""Runs one request on the engine, in a worker thread: reads the statement, checks it, executes it.

Results travel through an operating-system pipe. The engine itself writes it (`INTO OUTFILE '/proc/self/fd/N'`), so that
every output format is framed by the engine, a slow reader stops the query by back-pressure, and a result of any size
passes in the memory of one pipe. Rows of an INSERT are handed to the engine as the bytes that came, piece by piece.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from deploy.local.clickhouse import policy
from deploy.local.clickhouse.auth import User
from deploy.local.clickhouse.compression import Readable
from deploy.local.clickhouse.engine import Connection, Engine, QueryOutcome, quoted_identifier, quoted_string
from deploy.local.clickhouse.errors import EngineError
from deploy.local.clickhouse.grants import OWNER, Profile, rights
from deploy.local.clickhouse.native import framed, has_block_information
from deploy.local.clickhouse.request import ClickHouseRequest
from deploy.local.clickhouse.sessions import Session
from deploy.local.clickhouse.statement import Insert, Query, assignments, column_list, find_insert, read_query

__all__ = ["Job"]

_PIECE_BYTES = 2**20


@dataclass(slots=True)
class Job:
    """One request on its way through the engine.

    `write_descriptor` is the pipe's end that receives the result; the caller closes it when `run` has returned.
    `format_name` and `kind` are set before the first byte of a result is written.
    """

    engine: Engine
    request: ClickHouseRequest
    user: User
    body: Readable
    write_descriptor: int
    session: Session | None = None
    format_name: str = ""
    kind: str = ""
    cancellable: bool = False
    # What a query under way is found by; nobody else can know it, so nobody can have another's query cancelled.
    cancel_tag: str = ""

    def __post_init__(self) -> None:
        self.cancel_tag = f"{self.request.query_id}#{secrets.token_hex(8)}"

    def run(self) -> QueryOutcome:
        """Execute the request. Blocks. Raises EngineError."""
        self.format_name = self.request.format_name
        policy.check_settings(self.user, self.request.settings, self.request.database)
        # Who may change no setting cannot bring a kept connection to the next request: each has a fresh one.
        if self.session is None or rights()[self.user.name].readonly == 1:
            with self.engine.connection(self.user.name) as connection:
                self._prepare(connection)
                return self._execute(connection)
        return self._run_in_session(self.session)

    # --- the connection -------------------------------------------------------------------------------------------

    def _prepare(self, connection: Connection, session: Session | None = None) -> None:
        """Bring a fresh connection to database, settings, external tables and rights of this request, in that order."""
        database = self.request.database or (session.database if session is not None else "")
        steps = [f"USE {quoted_identifier(database)}"] if database else []
        settings = self._lasting_settings(session)
        settings |= {name: quoted_string(value) for name, value in self.request.settings.items()}
        settings.setdefault("log_comment", quoted_string(self.cancel_tag))
        settings.pop("readonly", None)
        steps.append("SET " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
        if self.request.external_tables:
            connection.run("; ".join(steps), "Null")
            steps = []
            self._load_external_tables(connection)
        steps.append(f"SET ROLE {quoted_identifier(self.user.name)}")
        # A session's connection outlives this request: there, policy alone makes a single request read-only.
        readonly = rights()[self.user.name].readonly
        if readonly or (self.request.read_only and self.session is None):
            steps.append(f"SET readonly = {readonly or 2}")
        connection.run("; ".join(steps), "Null")

    def _lasting_settings(self, session: Session | None) -> dict[str, str]:
        """What holds beyond one request, as SQL: the settings of the user's profile, and what SET did in the session."""
        profile = {name: quoted_string(value) for name, value in rights()[self.user.name].settings.items()}
        return profile | (session.settings if session is not None else {})

    def _load_external_tables(self, connection: Connection) -> None:
        for table in self.request.external_tables:
            name = quoted_identifier(table.name)
            structure = column_list(table.structure.encode("utf-8", "surrogateescape"))
            connection.run(f"CREATE TEMPORARY TABLE {name} (".encode() + structure + b") ENGINE = Memory", "Null")
            if table.data:
                connection.insert(f"INSERT INTO {name}".encode(), table.format_name, iter((table.data,)))

    def _run_in_session(self, session: Session) -> QueryOutcome:
        """A session keeps its connection once a statement has given it a state: SET, USE or a temporary table."""
        if self.request.external_tables:
            # They are made with rights that the session's connection has given up: a fresh one takes over its state.
            with self.engine.connection(self.user.name) as fresh:
                self._prepare(fresh, session)
                return self._execute(fresh)
        if session.connection is not None:
            return self._run_on_kept(session, session.connection)
        connection = self.engine.connect(self.user.name)
        try:
            self._prepare(connection)
            outcome = self._execute(connection, session)
        except BaseException:
            connection.close()
            raise
        if session.has_state:
            self._settle(session, connection, {*self.request.settings, "log_comment"} - {*session.settings, "readonly"})
            session.connection = connection
        else:
            connection.close()
        return outcome

    def _run_on_kept(self, session: Session, connection: Connection) -> QueryOutcome:
        settings = {name: value for name, value in self.request.settings.items() if name != "readonly"}
        settings.setdefault("log_comment", self.cancel_tag)
        if self.request.database:
            connection.run(f"USE {quoted_identifier(self.request.database)}", "Null")
        try:
            if settings:
                pairs = ", ".join(f"{name} = {quoted_string(value)}" for name, value in settings.items())
                connection.run(f"SET {pairs}", "Null")
            return self._execute(connection, session)
        finally:
            self._settle(session, connection, settings)

    def _settle(self, session: Session, connection: Connection, sent: Iterable[str]) -> None:
        """URL settings and the URL database hold for one request; the profile's and what SET and USE did stay."""
        lasting = self._lasting_settings(session)
        if restore := ", ".join(f"{name} = {lasting.get(name, 'DEFAULT')}" for name in sorted(sent)):
            connection.run(f"SET {restore}", "Null")
        if self.request.database and session.database:
            connection.run(f"USE {quoted_identifier(session.database)}", "Null")

    # --- the statement --------------------------------------------------------------------------------------------

    def _execute(self, connection: Connection, session: Session | None = None) -> QueryOutcome:
        statement, rest = self._read_statement()
        if isinstance(statement, Insert):
            return self._insert(connection, statement, rest)
        self.kind = statement.first_word
        if statement.format_name:
            self.format_name = statement.format_name
        report = connection.classify(statement.text)
        policy.check_query(self.user, statement, report, read_only=self.request.read_only)
        self.cancellable = report.kind == "READ_ONLY"
        if report.kind == "UNKNOWN" and self.user.profile is not Profile.OWNER:
            self._fail_to_parse(connection, statement)
        self._check_names(connection, statement.text)
        if report.kind == "READ_ONLY":
            return self._select(connection, statement)
        outcome = connection.run(statement.text, self.format_name, self.request.parameters)
        self._write(outcome.content)
        if session is not None:
            _remember(session, connection, statement)
        return outcome

    def _check_names(self, connection: Connection, sql: bytes) -> None:
        policy.check_names(self.user, connection, sql, self.request.parameters, self.engine.table_functions)

    def _fail_to_parse(self, connection: Connection, query: Query) -> NoReturn:
        """Give the engine's own syntax error, once a second parser call has confirmed that nothing would be run."""
        try:
            connection.syntax_tree(query.text, self.request.parameters)
        except EngineError:
            connection.run(query.text, "Null", self.request.parameters)
        raise EngineError(48, f"The engine cannot tell what this statement would do; send it as the user {OWNER}")

    def _select(self, connection: Connection, query: Query) -> QueryOutcome:
        if has_block_information(self.format_name, self.request.protocol_version):
            return self._select_blocks(connection, query)
        target = f"\nINTO OUTFILE '/proc/self/fd/{self.write_descriptor}' TRUNCATE FORMAT {self.format_name} "
        try:
            return connection.run(query.body + target.encode() + query.tail, self.format_name, self.request.parameters)
        except EngineError as error:
            if error.code != 62:
                raise
        # The statement itself is wrong, or does not take INTO OUTFILE: its own text gives the right message or result.
        outcome = connection.run(query.text, self.format_name, self.request.parameters)
        self._write(outcome.content)
        return outcome

    def _select_blocks(self, connection: Connection, query: Query) -> QueryOutcome:
        sql, version = query.body + query.tail, self.request.protocol_version

        def take(block: bytes, rows: int) -> None:
            self._write(framed(block, rows, version))

        if query.first_word in {"SELECT", "WITH", "FROM", ""}:
            return connection.blocks(sql, self.request.parameters, take)
        outcome = connection.run(sql, "Native", self.request.parameters)
        take(outcome.content, outcome.result_rows)
        return outcome

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(self.write_descriptor, view) :]

    def _insert(self, connection: Connection, insert: Insert, rows: Iterator[bytes]) -> QueryOutcome:
        self.kind = "INSERT"
        policy.check_insert(self.user, insert, read_only=self.request.read_only)
        checked = insert.head if insert.has_select else insert.head + b" VALUES"
        self._check_names(connection, checked)
        if insert.has_select:
            if any(piece.strip() for piece in rows):
                raise EngineError(48, "INSERT ... SELECT with rows in the request (input()) is not supported here")
            return connection.run(insert.head, "Null", self.request.parameters)
        if insert.format_name == "Values" and self.user.profile is not Profile.OWNER:
            # Rows in VALUES may be expressions, and an expression may read files: all but the owner send literals.
            connection.run(
                "SET input_format_values_interpret_expressions = 0, "
                "input_format_values_deduce_templates_of_expressions = 0",
                "Null",
            )
        if self.request.parameters:
            pairs = ", ".join(f"param_{name} = {quoted_string(text)}" for name, text in self.request.parameters.items())
            connection.run(f"SET {pairs}", "Null")
        return connection.insert(insert.head, insert.format_name, rows)

    def _read_statement(self) -> tuple[Query | Insert, Iterator[bytes]]:
        """The statement from URL and body, and the bytes of the rows that follow an INSERT."""
        limit = self.request.max_query_bytes
        head = self.request.query.encode("utf-8", "surrogateescape")
        if head:
            statement = find_insert(head)
            if statement is not None:
                tail = head[statement.data_start :]
                return statement, _chain(tail + b"\n" if tail.strip() else b"", self.body)
        body = _read_up_to(self.body, limit + 1 - len(head))
        text = head + b"\n" + body if head and body else head or body
        if not text.strip():
            raise EngineError(62, "Syntax error: failed at position 1 (end of query): . Empty query")
        statement = find_insert(text)
        if statement is not None:
            return statement, _chain(text[statement.data_start :], self.body)
        if len(text) > limit:
            raise EngineError(
                62,
                f"Syntax error: Max query size exceeded (can be increased with the `max_query_size` setting): "
                f"the query is longer than {limit} bytes",
            )
        return read_query(text), iter(())


def _read_up_to(source: Readable, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (piece := source.read(min(size, _PIECE_BYTES))):
        parts.append(piece)
        size -= len(piece)
    return b"".join(parts)


def _chain(first: bytes, source: Readable) -> Iterator[bytes]:
    if first:
        yield first
    while piece := source.read(_PIECE_BYTES):
        yield piece


def _remember(session: Session, connection: Connection, statement: Query) -> None:
    """Note what a statement changed in its session, so that later requests can be brought back to it."""
    if statement.first_word == "SET":
        session.has_state = True
        for name, value in assignments(statement.text).items():
            session.settings[name] = value.decode("utf-8", "surrogateescape")
    elif statement.first_word == "USE":
        session.has_state = True
        session.database = connection.run("SELECT currentDatabase()", "TSVRaw").content.decode().rstrip("\n")
    elif b"TEMPORARY" in statement.text[:200].upper():
        session.has_state = True
    if session.has_state and not session.database:
        session.database = "default"
