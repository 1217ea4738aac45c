"""Rows on their way in: every format the clients use, exact, fast, and all or nothing."""

from __future__ import annotations

import io
import socket
from base64 import b64encode
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .wire import OWNER, Http

ROWS = 20_000


def _arrow() -> pa.Table:
    return pa.table(
        {
            "id": pa.array(range(ROWS), pa.uint64()),
            "name": pa.array([f"名字-{number}" for number in range(ROWS)]),
            "score": pa.array([None if number % 3 else number / 4 for number in range(ROWS)], pa.float64()),
        }
    )


def _encoded(name: str) -> bytes:
    table = _arrow()
    sink = io.BytesIO()
    if name == "ArrowStream":
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    elif name == "Arrow":
        with pa.ipc.new_file(sink, table.schema) as file_writer:
            file_writer.write_table(table)
    elif name == "Parquet":
        pq.write_table(table, sink)
    elif name == "JSONEachRow":
        frame = pl.from_arrow(table)
        if not isinstance(frame, pl.DataFrame):
            raise TypeError(frame)
        frame.write_ndjson(sink)
    elif name == "CSVWithNames":
        frame = pl.from_arrow(table)
        if not isinstance(frame, pl.DataFrame):
            raise TypeError(frame)
        frame.write_csv(sink, null_value="\\N")
    return sink.getvalue()


@pytest.mark.parametrize("name", ["Arrow", "ArrowStream", "Parquet", "JSONEachRow", "CSVWithNames"])
@pytest.mark.parametrize("in_url", [True, False], ids=["query in URL", "query in body"])
def test_input_formats(ch: Http, table: str, name: str, in_url: bool) -> None:
    """Every format arrives exactly, with the statement in the URL or in front of the rows."""
    sql, data = f"INSERT INTO {table} (id, name, score) FORMAT {name}", _encoded(name)
    answer = ch(data, query=sql) if in_url else ch(f"{sql}\n".encode() + data)
    assert answer.status == 200, answer.text
    sums = ch(f"SELECT count(), sum(id), countIf(score IS NULL), sum(score), max(length(name)) FROM {table}").body
    nulls = sum(1 for number in range(ROWS) if number % 3)
    total = sum(number / 4 for number in range(ROWS) if number % 3 == 0)
    assert sums == f"{ROWS}\t{ROWS * (ROWS - 1) // 2}\t{nulls}\t{total}\t12\n".encode()


def test_native_round_trip(ch: Http, table: str) -> None:
    """Native bytes the server gives out can be given back, and are the same rows."""
    data = ch("SELECT number AS id, toString(number) AS name FROM numbers(150000) FORMAT Native").body
    assert ch(f"INSERT INTO {table} (id, name) FORMAT Native\n".encode() + data).status == 200
    assert ch(f"SELECT count(), sum(id), uniqExact(name) FROM {table}").body == b"150000\t11249925000\t150000\n"


def test_chunked_insert(ch: Http, table: str) -> None:
    """A body of unknown length, sent in chunks cut anywhere, is one insert and one part."""
    user = b64encode(f"{OWNER}:{ch.info.users[OWNER]}".encode()).decode()
    sql = quote(f"INSERT INTO {table} (id) FORMAT TSV")
    rows = b"".join(b"%d\n" % number for number in range(10_000))
    with socket.create_connection((ch.host, ch.port), 10) as raw:
        raw.sendall(
            f"POST /?query={sql} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\n"
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        )
        for start in range(0, len(rows), 1_777):
            piece = rows[start : start + 1_777]
            raw.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        raw.sendall(b"0\r\n\r\n")
        answer = raw.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert ch(f"SELECT count(), uniqExact(_part) FROM {table}").body == b"10000\t1\n"


def test_client_that_leaves_mid_body_writes_nothing(ch: Http, table: str) -> None:
    """An insert whose sender disappears before the end of its body leaves no row."""
    user = b64encode(f"{OWNER}:{ch.info.users[OWNER]}".encode()).decode()
    sql = quote(f"INSERT INTO {table} (id) FORMAT TSV")
    with socket.create_connection((ch.host, ch.port), 10) as raw:
        raw.sendall(
            f"POST /?query={sql} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {user}\r\n"
            "Content-Length: 5000000\r\n\r\n".encode()
            + b"1\n" * 1_500_000
        )
    # The next insert on the same table shows that nothing of the first one is pending.
    assert ch("7\n", query=f"INSERT INTO {table} (id) FORMAT TSV").status == 200
    assert ch(f"SELECT count(), sum(id) FROM {table}").body == b"1\t7\n"


def test_large_insert_is_streamed(ch: Http, table: str) -> None:
    """An insert far larger than the pieces it is read in is complete."""
    count = 1_000_000
    rows = b"".join(b"%d\tsome text that makes the row longer\n" % number for number in range(count))
    assert ch(rows, query=f"INSERT INTO {table} (id, name) FORMAT TSV").status == 200
    assert ch(f"SELECT count(), sum(id) FROM {table}").body == f"{count}\t{count * (count - 1) // 2}\n".encode()


def test_insert_settings_reach_the_engine(ch: Http) -> None:
    """A deduplication token sent as a URL parameter, or in a SETTINGS clause, works as on a server."""
    name = "default.dedup"
    ch(f"DROP TABLE IF EXISTS {name} SYNC")
    ch(f"CREATE TABLE {name} (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100")
    for _ in range(2):
        ch(
            "1\n",
            query=f"INSERT INTO {name} FORMAT TSV",
            insert_deduplication_token="one",
            insert_deduplicate=1,
        )
        ch(f"INSERT INTO {name} SETTINGS insert_deduplication_token = 'two', insert_deduplicate = 1 FORMAT TSV\n2\n")
    assert ch(f"SELECT groupArray(id) FROM (SELECT id FROM {name} ORDER BY id)").body == b"[1,2]\n"
    ch(f"DROP TABLE {name} SYNC")


def test_insert_into_odd_names(ch: Http) -> None:
    """Tables named like keywords, quoted or not, with data behind a comment, are found."""
    ch("CREATE TABLE IF NOT EXISTS default.format (values UInt8, `a b` String) ENGINE = Memory")
    assert ch("INSERT INTO default.format (values, `a b`) /* FORMAT CSV */ VALUES (1, 'VALUES ;')").status == 200
    assert ch("INSERT INTO default.`format` FORMAT CSV\n2,x").status == 200
    assert ch("SELECT * FROM default.format ORDER BY values").body == b"1\tVALUES ;\n2\tx\n"
    ch("DROP TABLE default.format SYNC")


def test_insert_into_unknown_table_or_column(ch: Http, table: str) -> None:
    """The engine's own codes come back: 60 for a table, 16 for a column."""
    assert ch("1\n", query="INSERT INTO default.nowhere FORMAT TSV").code == 60
    assert ch("1\n", query=f"INSERT INTO {table} (nothing) FORMAT TSV").code == 16
    assert ch("1\n", query=f"INSERT INTO {table} (id) FORMAT NoSuchFormat").code == 73


def test_infile_is_refused(ch: Http, table: str) -> None:
    """Nobody loads a file of the server's machine through INSERT ... FROM INFILE."""
    assert ch(f"INSERT INTO {table} (name) FROM INFILE '/etc/hostname' FORMAT LineAsString").code == 78


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1", "252"),
        ("ADD CONSTRAINT small CHECK id < 10", "469"),
    ],
)
@pytest.mark.parametrize("name", ["Arrow", "JSONEachRow"])
def test_an_insert_the_table_refuses_is_an_error(ch: Http, table: str, change: str, code: str, name: str) -> None:
    """What fails when the rows are already read (too many parts, a constraint) is answered, never swallowed."""
    assert ch(f"INSERT INTO {table} (id, name, score) VALUES (1, 'a', 1)").status == 200
    assert ch(f"SYSTEM STOP MERGES {table}").status == 200
    assert ch(f"ALTER TABLE {table} {change}").status == 200
    answer = ch(_encoded(name), query=f"INSERT INTO {table} (id, name, score) FORMAT {name}")
    assert (answer.status, answer.headers["x-clickhouse-exception-code"]) == (500, code), answer.text
    assert "spool" not in answer.text
    assert ch(f"SELECT count() FROM {table}").text == "1\n"
