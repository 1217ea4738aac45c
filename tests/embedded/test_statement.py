"""Finding the parts of a statement, held to the engine's own reading of the same text."""

from __future__ import annotations

import pytest

from deploy.local.clickhouse.errors import EngineError
from deploy.local.clickhouse.statement import assignments, find_insert, read_query

from .wire import Http

QUERIES = [
    "SELECT 1 // FORMAT CSV\n",
    "SELECT 1 # ; FORMAT CSV\n",
    "SELECT 1 /* a ; /* b */ c */",
    "SELECT 13;\u00a0",
    "\ufeffSELECT 1\u200b",
    "SELECT 'a''b;', $a$;$a$, ‘;'’, \"x\" FROM (SELECT 1 AS x)",
    "SELECT 1 AS “a;'b”",
    "SELECT 1 AS format",
    "WITH insert AS (SELECT 13 AS n) SELECT * FROM insert",
    "WITH 13 AS insert SELECT insert",
    "(SELECT 1) UNION ALL (SELECT 1)",
    "FROM system.one SELECT 1",
    "SELECT/*c*/1 SETTINGS/**/max_threads=1",
    "SELECT 1 FORMAT\n/* x */\nTSV // end",
    "SELECT [1, 2][1], map('a', 1)['a'], (1, 2).1",
    "SELECT 1 FORMAT TSV SETTINGS max_threads = 1;;",
    "SELECT 1 INTERSECT SELECT 1",
    "SHOW TABLES FROM system LIKE 'one' FORMAT TSV",
    "EXPLAIN SYNTAX SELECT 1 FORMAT TSV",
    "SELECT -1--1\n",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_same_result_through_the_pipe_and_through_the_engine(ch: Http, sql: str) -> None:
    """A query gives 200 in TSV by its own text and by default format: nothing was cut at the wrong place."""
    plain = ch(sql)
    assert plain.status == 200, plain.text
    assert ch(sql, wait_end_of_query=1).body == plain.body


def test_parts_of_a_query() -> None:
    """FORMAT and what follows it are told apart from the body."""
    query = read_query(b"select 1 as format from t settings a = 1 format JSON settings b = 2;")
    assert (query.body, query.format_name, query.tail) == (
        b"select 1 as format from t settings a = 1 ",
        "JSON",
        b" settings b = 2",
    )
    assert (query.first_word, query.second_word) == ("SELECT", "")
    assert read_query(b"SELECT 1 INTO/**/OUTFILE 'x'").writes_outfile


@pytest.mark.parametrize("sql", [b"", b" -- x\n", b";", b"SELECT 1; SELECT 2"])
def test_not_exactly_one_statement(sql: bytes) -> None:
    """No statement, or two, is a syntax error."""
    with pytest.raises(EngineError) as caught:
        read_query(sql)
    assert caught.value.code == 62


@pytest.mark.parametrize(
    ("sql", "head", "format_name", "rows"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2", b"INSERT INTO t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV 1,2", b"INSERT INTO t ", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV\r\n\n1", b"INSERT INTO t ", "CSV", b"\n1"),
        (b"insert into db.values (values) values (1)", b"insert into db.values (values) ", "Values", b" (1)"),
        (b"INSERT INTO format FORMAT TSV\nFORMAT CSV", b"INSERT INTO format ", "TSV", b"FORMAT CSV"),
        (b"INSERT INTO t SETTINGS a = 1 VALUES (';')", b"INSERT INTO t SETTINGS a = 1 ", "Values", b" (';')"),
        (b"WITH 1 AS y INSERT INTO t FORMAT TSV\nx;\n", b"WITH 1 AS y INSERT INTO t ", "TSV", b"x;\n"),
        (b"INSERT INTO t", b"INSERT INTO t", "Values", b""),
    ],
)
def test_parts_of_an_insert(sql: bytes, head: bytes, format_name: str, rows: bytes) -> None:
    """Statement, format and rows of an INSERT are found by ClickHouse's rule for where the rows begin."""
    insert = find_insert(sql)
    assert insert is not None
    assert (insert.head, insert.format_name, sql[insert.data_start :]) == (head, format_name, rows)


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT 'INSERT INTO t VALUES'",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t (a) WITH 1 AS x SELECT x",
        b"WITH insert AS (SELECT 1) SELECT 2",
        b"INSERT INTO t (a) (SELECT 1)",
    ],
)
def test_statements_without_rows_of_their_own(sql: bytes) -> None:
    """What only looks like an INSERT of rows is left to the engine as it is."""
    assert find_insert(sql) is None


def test_assignments_of_a_set_statement() -> None:
    """The pairs of a SET are read as literals."""
    assert assignments(b"SET a = 1, b = 'x, c = 2', d = true") == {"a": b"1", "b": b"'x, c = 2'", "d": b"true"}
