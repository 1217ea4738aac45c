"""ClickHouse's HTTP interface, byte by byte, as curl or a dashboard sees it."""

from __future__ import annotations

import json

import pytest

from .wire import Http

OUTPUT_FORMATS = {
    "TabSeparated": b"0\ta\n1\ta\n",
    "TSVWithNames": b"n\ts\n0\ta\n1\ta\n",
    "CSV": b'0,"a"\n1,"a"\n',
    "CSVWithNames": b'"n","s"\n0,"a"\n1,"a"\n',
    "JSONEachRow": b'{"n":0,"s":"a"}\n{"n":1,"s":"a"}\n',
    "JSONCompactEachRow": b'[0, "a"]\n[1, "a"]\n',
    "Values": b"(0,'a'),(1,'a')",
    "RowBinary": b"\x00" * 8 + b"\x01a\x01" + b"\x00" * 7 + b"\x01a",
    "TSVRaw": b"0\ta\n1\ta\n",
    "Null": b"",
}


def test_ping_answers_without_a_login(ch: Http) -> None:
    """Health checks need no user, and answer exactly what ClickHouse answers."""
    for path in ("/ping", "/", "/replicas_status"):
        answer = ch(method="GET", path=path, user=None)
        assert (answer.status, answer.body) == (200, b"Ok.\n")


def test_unknown_path_is_404_with_help(ch: Http) -> None:
    """A path ClickHouse has no handler for is answered with its help text."""
    answer = ch(method="GET", path="/nowhere", user=None)
    assert answer.status == 404
    assert answer.text.startswith("There is no handle /nowhere")


@pytest.mark.parametrize("format_name", OUTPUT_FORMATS)
@pytest.mark.parametrize("way", ["clause", "default_format", "header"])
def test_output_formats(ch: Http, format_name: str, way: str) -> None:
    """Every way to name a format gives the engine's bytes of that format, and says so in the header."""
    sql = "SELECT toUInt64(number) AS n, 'a' AS s FROM numbers(2)"
    if way == "clause":
        answer = ch(f"{sql} FORMAT {format_name} SETTINGS max_threads = 1")
    elif way == "default_format":
        answer = ch(sql, default_format=format_name)
    else:
        answer = ch(sql, headers={"X-ClickHouse-Format": format_name})
    assert (answer.status, answer.body) == (200, OUTPUT_FORMATS[format_name])
    assert answer.headers["x-clickhouse-format"] == format_name


def test_json_document_has_its_end(ch: Http) -> None:
    """A format with a frame around the rows is complete: rows, counters and closing brace."""
    document = json.loads(ch("SELECT number FROM numbers(100000) LIMIT 5", default_format="JSON").body)
    assert document["rows"] == 5
    assert document["rows_before_limit_at_least"] >= 5
    assert [row["number"] for row in document["data"]] == [0, 1, 2, 3, 4]


def test_every_output_format_of_the_engine(ch: Http) -> None:
    """No output format of the engine is refused by the server in between, except those that need a schema."""
    names = ch("SELECT name FROM system.formats WHERE is_output ORDER BY name").text.split()
    failed = {}
    for name in names:
        answer = ch(f"SELECT 1 AS a, 'x' AS b FORMAT {name}")
        if answer.status != 200:
            failed[name] = answer.text[:120]
    needing_more = {
        "AvroConfluent",
        "CapnProto",
        "GeoJSON",
        "Npy",
        "PNG",
        "Prometheus",
        "Protobuf",
        "ProtobufList",
        "ProtobufSingle",
        "Template",
    }
    assert set(failed) <= needing_more, failed


def test_query_in_url_body_or_both(ch: Http, table: str) -> None:
    """The query may stand in the URL, in the body, or half in each; then a line feed is put between."""
    assert ch(method="GET", query="SELECT 1").body == b"1\n"
    assert ch("SELECT 1").body == b"1\n"
    assert ch("+ 1", query="SELECT 1").body == b"2\n"
    assert ch("1,one\n", query=f"INSERT INTO {table} (id, name) FORMAT CSV").status == 200
    assert ch(f"INSERT INTO {table} (id, name) FORMAT CSV\n2,two\n").status == 200
    assert ch("(3, 'three')", query=f"INSERT INTO {table} (id, name) VALUES").status == 200
    assert ch(f"SELECT id, name FROM {table} ORDER BY id").body == b"1\tone\n2\ttwo\n3\tthree\n"


def test_get_cannot_write(ch: Http, table: str) -> None:
    """GET implies readonly, even for an admin."""
    for sql in (
        f"INSERT INTO {table} (id) VALUES (1)",
        "CREATE TABLE default.by_get (a Int8) ENGINE = Memory",
    ):
        answer = ch(method="GET", query=sql)
        assert (answer.status, answer.code) == (500, 164)
    assert ch(f"SELECT count() FROM {table}").body == b"0\n"


def test_query_parameters(ch: Http) -> None:
    """`param_*` values fill {name:Type} places, and are data, never SQL."""
    answer = ch("SELECT {n:UInt32} + 1, {s:String}", param_n=41, param_s="it's; DROP TABLE x --")
    assert answer.body == b"42\tit\\'s; DROP TABLE x --\n"
    assert ch("SELECT {n:UInt32}", param_n="x").status == 400


def test_settings_and_database_in_url(ch: Http) -> None:
    """Any setting of the engine is a URL parameter; an unknown one is error 115."""
    assert ch("SELECT getSetting('max_block_size')", max_block_size=123).body == b"123\n"
    assert ch("SELECT currentDatabase()", database="system").body == b"system\n"
    assert ch("SELECT currentDatabase()", headers={"X-ClickHouse-Database": "system"}).body == b"system\n"
    assert ch("SELECT 1", no_such_setting=1).code == 115
    assert ch("SELECT 1", database="no_such_database").code == 81
    limited = ch("SELECT number FROM numbers(100)", max_result_rows=10, max_block_size=10)
    assert limited.code == 396


def test_settings_do_not_leak_between_requests(ch: Http) -> None:
    """What one request sets is gone in the next."""
    before = ch("SELECT getSetting('max_block_size')").body
    ch("SELECT 1", max_block_size=77)
    ch("SET max_block_size = 78")
    assert ch("SELECT getSetting('max_block_size')").body == before


def test_response_headers(ch: Http) -> None:
    """The headers ClickHouse's clients read are there, with numbers as text."""
    answer = ch("SELECT number FROM numbers(1000)", query_id="my-query-7", wait_end_of_query=1)
    assert answer.headers["x-clickhouse-query-id"] == "my-query-7"
    assert answer.headers["x-clickhouse-server-display-name"]
    assert answer.headers["x-clickhouse-timezone"]
    assert answer.headers["content-type"].startswith("text/tab-separated-values")
    summary = json.loads(answer.headers["x-clickhouse-summary"])
    assert (summary["read_rows"], summary["result_rows"]) == ("1000", "1000")


def test_insert_summary(ch: Http, table: str) -> None:
    """The summary of an insert counts the rows written."""
    answer = ch("1\n2\n3\n", query=f"INSERT INTO {table} (id) FORMAT TSV")
    assert json.loads(answer.headers["x-clickhouse-summary"])["written_rows"] == "3"


def test_multi_statements_are_refused(ch: Http) -> None:
    """Two statements in one request are a syntax error; a semicolon at the end is not."""
    for sql in ("SELECT 1; SELECT 2", "SELECT 1;\n-- comment\nDROP TABLE x"):
        answer = ch(sql)
        assert (answer.status, answer.code) == (400, 62)
        assert "Multi-statements are not allowed" in answer.text
    assert ch("SELECT ';' ; -- end").body == b";\n"


def test_statement_with_comments_and_strings(ch: Http) -> None:
    """FORMAT is found only where it is a clause, not in comments, strings, names or subqueries."""
    assert ch("SELECT 'FORMAT JSON' AS `format`, /* FORMAT CSV */ 1 -- FORMAT XML").body == b"FORMAT JSON\t1\n"
    assert ch("SELECT 1 AS a FORMAT CSV;").body == b"1\n"
    assert ch("SELECT 1 AS a SETTINGS max_threads = 1 FORMAT JSONEachRow").body == b'{"a":1}\n'
    assert ch("SELECT $x$ ; FORMAT CSV $x$").body == b" ; FORMAT CSV \n"


def test_empty_and_headless_requests(ch: Http) -> None:
    """An empty query is a syntax error, and so is a bare expression, as on a server."""
    assert ch("").code == 62
    assert ch("  -- nothing\n").code == 62
    assert ch("1 + 1").code == 62


def test_results_of_statements_without_rows(ch: Http, table: str) -> None:
    """DDL and SET answer 200 with an empty body; SHOW, DESCRIBE, EXISTS and EXPLAIN answer rows."""
    assert (ch(f"ALTER TABLE {table} ADD COLUMN extra UInt8").body, ch("SET max_threads = 1").body) == (
        b"",
        b"",
    )
    assert ch(f"EXISTS TABLE {table}").body == b"1\n"
    assert b"extra\tUInt8" in ch(f"DESCRIBE TABLE {table}").body
    assert b"ReadFrom" in ch("EXPLAIN SELECT 1").body
    assert b"CREATE TABLE" in ch(f"SHOW CREATE TABLE {table}").body


def test_insert_select_and_input_data_error(ch: Http, table: str) -> None:
    """INSERT ... SELECT runs in the engine; broken rows are a 400 with nothing written."""
    assert ch(f"INSERT INTO {table} (id) SELECT number FROM numbers(10)").status == 200
    broken = ch("1\nnot a number\n", query=f"INSERT INTO {table} (id) FORMAT TSV")
    assert (broken.status, broken.code) == (400, 27)
    assert ch(f"SELECT count() FROM {table}").body == b"10\n"


def test_large_url_and_large_query(ch: Http) -> None:
    """A query of 200 kB passes in the URL; one above max_query_size is refused by name of the setting."""
    text = "SELECT length('" + "x" * 200_000 + "')"
    assert ch(method="GET", query=text).body == b"200000\n"
    refused = ch("SELECT length('" + "x" * 300_000 + "')")
    assert refused.status == 400
    assert "max_query_size" in refused.text
    assert ch("SELECT length('" + "x" * 300_000 + "')", max_query_size=1_000_000).body == b"300000\n"


def test_head_request_has_no_body(ch: Http) -> None:
    """HEAD is answered like GET, without the body."""
    answer = ch(method="HEAD", query="SELECT 1")
    assert (answer.status, answer.body) == (200, b"")


def test_post_without_length_is_411(ch: Http) -> None:
    """A POST that neither gives its length nor is chunked is refused, as ClickHouse does."""
    import socket

    with socket.create_connection((ch.host, ch.port), 10) as raw:
        raw.sendall(b"POST /?query=SELECT+1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = raw.makefile("rb").readline()
    assert b" 403 " in head or b" 411 " in head or b" 401 " in head


def test_transport_parameters_are_tolerated(ch: Http) -> None:
    """Parameters that steer the transport are not taken for settings."""
    answer = ch(
        "SELECT 1",
        quota_key="k",
        client_protocol_version=54405,
        buffer_size=1024,
        wait_end_of_query=1,
        role="r",
        send_progress_in_http_headers=1,
        http_headers_progress_interval_ms=10000,
        cancel_http_readonly_queries_on_client_close=1,
    )
    assert answer.body == b"1\n"
