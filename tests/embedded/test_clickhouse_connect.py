"""clickhouse-connect, unmodified, sync and async, against the embedded server."""

from __future__ import annotations

import datetime as dt
import decimal
import ipaddress
import uuid
from typing import Any

import clickhouse_connect
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from .wire import OWNER, READER, WRITER, Http

UTC = dt.UTC
NAIVE = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 (the client gives UTC without a zone)
VALUES: dict[str, list[Any]] = {
    "Bool": [True, False],
    "Int8": [-128, 127],
    "UInt64": [0, 2**64 - 1],
    "Int128": [-(2**127), 2**127 - 1],
    "UInt256": [0, 2**256 - 1],
    "Float32": [1.5, -0.25],
    "Float64": [3.141592653589793, -1e300],
    "String": ["", "名字 \t\n\\ 'x'"],
    "FixedString(4)": [b"abcd", b"\x00\x01\x02\x03"],
    "Nullable(String)": [None, "x"],
    "LowCardinality(String)": ["a", "b"],
    "LowCardinality(Nullable(String))": [None, "b"],
    "Date": [dt.date(1970, 1, 1), dt.date(2026, 7, 1)],
    "Date32": [dt.date(1950, 1, 1), dt.date(2100, 1, 1)],
    "DateTime('UTC')": [NAIVE, dt.datetime(1970, 1, 1)],  # noqa: DTZ001 (the client gives UTC without a zone)
    "DateTime64(3, 'UTC')": [NAIVE + dt.timedelta(milliseconds=678), NAIVE],
    "Decimal(18, 4)": [decimal.Decimal("12345.6789"), decimal.Decimal("-0.0001")],
    "UUID": [uuid.UUID(int=1), uuid.uuid5(uuid.NAMESPACE_DNS, "x")],
    "IPv4": [ipaddress.IPv4Address("10.0.0.1"), ipaddress.IPv4Address("127.0.0.1")],
    "IPv6": [ipaddress.IPv6Address("::1"), ipaddress.IPv6Address("2001:db8::1")],
    "Enum8('a' = 1, 'b' = 2)": ["a", "b"],
    "Array(UInt32)": [[], [1, 2, 3]],
    "Array(Nullable(String))": [[None], ["x", None]],
    "Map(String, Int64)": [{}, {"a": 1, "b": -2}],
    "Tuple(Int8, String)": [(1, "a"), (2, "b")],
    "Tuple(x Int8, y Array(String))": [{"x": 1, "y": []}, {"x": 2, "y": ["a"]}],
    "JSON": [{"a": 1}, {"a": 2, "b": {"c": "x"}}],
    "Variant(Int64, String)": [5, "x"],
}


@pytest.mark.parametrize("type_name", VALUES)
def test_type_round_trip(client: Client, type_name: str) -> None:
    """A value of every type inserted through Native comes back the same."""
    client.command("DROP TABLE IF EXISTS default.types SYNC")
    client.command(f"CREATE TABLE default.types (id UInt8, v {type_name}) ENGINE = MergeTree ORDER BY id")
    values = VALUES[type_name]
    client.insert("default.types", [[place, value] for place, value in enumerate(values)], column_names=["id", "v"])
    got = [row[0] for row in client.query("SELECT v FROM default.types ORDER BY id").result_rows]
    assert got == values


def test_client_discovers_the_server(client: Client) -> None:
    """Version, time zone and settings are read from the server as from any other."""
    assert str(client.server_version).split(".")[0].isdigit()
    assert str(client.server_tz) in {"UTC", "Etc/UTC"}
    assert "max_threads" in client.server_settings
    assert client.ping()
    assert client.min_version("24.1")


def test_protocol_version_probe(client: Client) -> None:
    """The client's probe for block information gets the answer of a server."""
    assert client.protocol_version == 54405


def test_query_results_carry_summary_and_types(client: Client) -> None:
    """Rows, columns, types and the summary of a query."""
    result = client.query("SELECT number AS n, toString(number) AS s FROM numbers(3)")
    assert result.result_rows == [(0, "0"), (1, "1"), (2, "2")]
    assert result.column_names == ("n", "s")
    assert [column.name for column in result.column_types] == ["UInt64", "String"]
    assert int(result.summary["read_rows"]) == 3
    assert result.query_id


def test_low_cardinality_and_many_blocks(client: Client) -> None:
    """A result of many blocks, with dictionaries in them, is read completely."""
    result = client.query(
        "SELECT number, toLowCardinality(toString(number % 3)) FROM numbers(200000)",
        settings={"max_block_size": 1000},
    )
    assert result.row_count == 200_000
    assert {row[1] for row in result.result_rows} == {"0", "1", "2"}


def test_columns_of_an_empty_result(client: Client, table: str) -> None:
    """LIMIT 0 gives column names and types; an empty table gives no rows."""
    assert client.query(f"SELECT * FROM {table} LIMIT 0").column_names == ("id", "name", "at", "score")
    assert client.query(f"SELECT * FROM {table}").result_rows == []


def test_parameters_server_and_client_side(client: Client) -> None:
    """Both ways of binding parameters, quotes and line breaks included."""
    text = "it's \\ a\nnew\tline"
    assert client.query("SELECT {s:String}, {n:Int32}", {"s": text, "n": -5}).first_row == (text, -5)
    assert client.query("SELECT %(s)s", {"s": text}).first_row == (text,)
    assert client.query("SELECT {a:Array(String)}", {"a": ["x", "it's"]}).first_row == (["x", "it's"],)
    assert client.query("SELECT {d:DateTime}", {"d": NAIVE}).result_rows[0][0].year == 2026
    names = {"d": "system", "t": "one"}
    assert client.query("SELECT * FROM {d:Identifier}.{t:Identifier} LIMIT 1", names).row_count == 1


def test_insert_summary_and_row_count(client: Client, table: str) -> None:
    """The summary of an insert tells how many rows were written."""
    summary = client.insert(table, [[1, "a"], [2, "b"]], column_names=["id", "name"])
    assert summary.written_rows == 2
    assert client.command(f"SELECT count() FROM {table}") == 2


def test_commands(client: Client) -> None:
    """command() gives scalars, lists and summaries as from a server."""
    assert client.command("SELECT 5") == 5
    assert client.command("SELECT 'a', 'b'") == ["a", "b"]
    assert str(client.command("SHOW CREATE DATABASE system")).startswith("CREATE DATABASE system")
    client.command("SET max_threads = 2")
    assert client.command("SELECT 1", settings={"max_threads": 1}) == 1


@pytest.mark.parametrize("compress", [True, False, "gzip", "lz4", "zstd"])
def test_compression(ch: Http, compress: bool | str) -> None:
    """Every compression the client knows, in both directions."""
    with ch.client(compress=compress) as one:
        one.command("CREATE OR REPLACE TABLE default.packed (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
        rows = [[number, "x" * 20] for number in range(50_000)]
        one.insert("default.packed", rows, column_names=["n", "s"])
        assert one.query("SELECT * FROM default.packed ORDER BY n").result_rows[-1] == (49_999, "x" * 20)
        assert one.query("SELECT sum(n) FROM default.packed").first_row == (49_999 * 25_000,)
        one.command("DROP TABLE default.packed SYNC")


def test_frames_and_arrow(client: Client, table: str) -> None:
    """pandas, NumPy, Arrow and Polars, in and out."""
    frame = pd.DataFrame({"id": range(1000), "name": [f"n{number}" for number in range(1000)]})
    client.insert_df(table, frame)
    assert client.query_df(f"SELECT id, name FROM {table} ORDER BY id")["name"].tolist() == frame["name"].tolist()
    assert client.query_np(f"SELECT id FROM {table}").shape == (1000, 1)
    arrow = client.query_arrow(f"SELECT id, name FROM {table} ORDER BY id")
    client.command(f"TRUNCATE TABLE {table}")
    client.insert_arrow(table, pa.table({"id": pa.array(range(500), pa.uint64()), "name": ["x"] * 500}))
    assert client.command(f"SELECT count() FROM {table}") == 500
    assert arrow.num_rows == 1000
    polars = client.query_df_arrow(f"SELECT id FROM {table}", dataframe_library="polars")
    assert polars.shape == (500, 1)


def test_streams(client: Client) -> None:
    """Block, row, frame and Arrow streams read a large result to its end."""
    sql = "SELECT number, toString(number) FROM numbers(500000)"
    with client.query_row_block_stream(sql) as stream:
        assert sum(len(block) for block in stream) == 500_000
    with client.query_rows_stream(sql) as rows:
        assert sum(1 for _ in rows) == 500_000
    with client.query_df_stream(sql) as frames:
        assert sum(len(frame) for frame in frames) == 500_000
    with client.query_arrow_stream(sql) as batches:
        assert sum(batch.num_rows for batch in batches) == 500_000


def test_abandoned_stream_frees_the_session(client: Client) -> None:
    """A stream that is not read to its end does not block what the client does next."""
    with client.query_row_block_stream("SELECT number FROM numbers(10000000)") as stream:
        next(iter(stream))
    assert client.query("SELECT 1").first_row == (1,)


def test_error_in_the_middle_of_a_stream(client: Client) -> None:
    """An error after the first bytes reaches the reader of the stream with ClickHouse's message."""
    sql = "SELECT number, throwIf(number = 3000000, 'boom at three million') FROM numbers(10000000)"
    with (
        pytest.raises(StreamFailureError, match="boom at three million"),
        client.query_row_block_stream(sql, settings={"max_block_size": 10_000, "max_threads": 1}) as stream,
    ):
        for _ in stream:
            pass


def test_errors_carry_code_and_name(client: Client) -> None:
    """A failed query is a DatabaseError with the server's code and symbolic name."""
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT * FROM default.there_is_no_such_table")
    assert (caught.value.code, caught.value.name) == (60, "UNKNOWN_TABLE")
    with pytest.raises(DatabaseError, match="SYNTAX_ERROR"):
        client.query("SELECT FROM WHERE")


def test_raw_query_and_raw_insert(client: Client, table: str) -> None:
    """Raw bytes in the format asked for, in and out."""
    client.raw_insert(table, ["id", "name"], b"1,a\n2,b\n", fmt="CSV")
    client.raw_insert(table, ["id", "name"], (part for part in (b"3,c\n", b"4,d\n")), fmt="CSV")
    assert client.raw_query(f"SELECT id, name FROM {table} ORDER BY id", fmt="CSV") == (b'1,"a"\n2,"b"\n3,"c"\n4,"d"\n')
    with client.raw_stream("SELECT number FROM numbers(100000)", fmt="TSV") as stream:
        assert stream.read().count(b"\n") == 100_000


def test_external_data(client: Client) -> None:
    """A table sent along with a query can be joined."""
    data = ExternalData(file_name="names.csv", data=b"1,one\n2,two\n", fmt="CSV", structure=["n UInt64", "s String"])
    sql = "SELECT s FROM numbers(5) AS x JOIN names AS y ON x.number = y.n ORDER BY n"
    assert client.query(sql, external_data=data).result_rows == [("one",), ("two",)]


def test_external_data_for_a_reader(ch: Http) -> None:
    """A reader may send external tables as well: they change nothing."""
    data = ExternalData(file_name="n.tsv", data=b"7\n", fmt="TSV", structure=["n UInt64"])
    with ch.client(READER) as reader:
        assert reader.query("SELECT n FROM n", external_data=data).first_row == (7,)


def test_form_encoded_parameters(ch: Http) -> None:
    """Query and parameters sent as a multipart form."""
    with ch.client(form_encode_query_params=True) as one:
        long_list = [str(number) for number in range(5_000)]
        sql = "SELECT length({a:Array(String)}), {s:String}"
        assert one.query(sql, {"a": long_list, "s": "x'y"}).first_row == (5_000, "x'y")


def test_session_keeps_settings_and_temporary_tables(ch: Http) -> None:
    """A session keeps SET, USE and temporary tables; another session sees none of them."""
    with ch.client(session_id="mine") as mine, ch.client() as other:
        mine.command("SET max_block_size = 321")
        mine.command("CREATE TEMPORARY TABLE kept (a UInt8)")
        mine.insert("kept", [[1], [2]], column_names=["a"], column_type_names=["UInt8"])
        assert mine.query("SELECT sum(a), getSetting('max_block_size') FROM kept").first_row == (3, 321)
        one_off = mine.query("SELECT getSetting('max_block_size')", settings={"max_block_size": 5}).first_row
        assert one_off == (5,)
        assert mine.query("SELECT getSetting('max_block_size')").first_row == (321,)
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            other.query("SELECT * FROM kept")
        assert other.query("SELECT getSetting('max_block_size')").first_row != (321,)


def test_read_only_request_in_a_session_does_not_lock_the_session(ch: Http) -> None:
    """A SET sent by GET is kept; the next POST of the session may write."""
    assert ch(method="GET", query="SET max_block_size = 55", session_id="by-get").status == 200
    assert ch("CREATE OR REPLACE TABLE default.by_get (a Int8) ENGINE = Memory", session_id="by-get").status == 200
    assert ch(method="GET", query="DROP TABLE default.by_get", session_id="by-get").code == 164
    assert ch("DROP TABLE default.by_get SYNC", session_id="by-get").status == 200


def test_time_zones(client: Client) -> None:
    """Column and session time zones travel as from a server."""
    value = client.query("SELECT toDateTime64('2026-01-01 12:00:00', 3, 'Asia/Shanghai')").result_rows[0][0]
    assert value.utcoffset() == dt.timedelta(hours=8)
    result = client.query("SELECT toDateTime(0)", settings={"session_timezone": "Asia/Tokyo"}, query_tz="UTC")
    assert result.result_rows[0][0].astimezone(UTC) == dt.datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("table", ["metric_rows"], indirect=True)
def test_writer_and_reader_through_the_client(ch: Http, table: str) -> None:
    """The product's own users work through the client: the worker inserts, the reader reads."""
    with ch.client(WRITER) as writer, ch.client(READER) as reader:
        writer.insert(table, [[1, "a"]], column_names=["id", "name"])
        assert reader.query(f"SELECT id, name FROM {table}").result_rows == [(1, "a")]
        with pytest.raises(DatabaseError) as denied:
            writer.command(f"DROP TABLE {table}")
        assert denied.value.code == 497
        with pytest.raises(DatabaseError) as read_only:
            reader.insert(table, [[1, "a"]], column_names=["id", "name"], column_type_names=["UInt64", "String"])
        assert read_only.value.code == 164


async def _async_client(ch: Http) -> AsyncClient:
    return await clickhouse_connect.get_async_client(
        host=ch.host, port=ch.port, username=OWNER, password=ch.info.users[OWNER]
    )


def test_async_client(ch: Http, table: str) -> None:
    """The async client inserts, queries, streams, and sees errors; many queries at once."""
    import asyncio

    async def scenario() -> None:
        client = await _async_client(ch)
        try:
            await client.insert(table, [[number, "x"] for number in range(1000)], column_names=["id", "name"])
            results = await asyncio.gather(*(client.query(f"SELECT sum(id), {n} FROM {table}") for n in range(30)))
            assert [result.first_row for result in results] == [(499_500, n) for n in range(30)]
            async with await client.query_row_block_stream("SELECT number FROM numbers(300000)") as stream:
                total = 0
                async for block in stream:
                    total += len(block)
            assert total == 300_000
            with pytest.raises(DatabaseError) as caught:
                await client.query("SELECT * FROM default.there_is_no_such_table")
            assert caught.value.code == 60
            arrow = await client.query_arrow(f"SELECT id FROM {table}")
            assert arrow.num_rows == 1000
            await client.insert_arrow(table, pa.table({"id": pa.array([1], pa.uint64()), "name": ["y"]}))
            assert await client.command(f"SELECT count() FROM {table}") == 1001
        finally:
            await client.close()

    asyncio.run(scenario())
