"""Logins, the three profiles, and every way out of the readonly profile that was thought of."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from deploy.local.clickhouse.grants import rights
from deploy.local.stack.passwords import clickhouse_passwords
from deploy.local.stack.stack import StackInfo

from .wire import OWNER, READER, WRITER, Http

ESCAPES = {
    "insert": ("INSERT INTO {table} (id) VALUES (9)", 164),
    "insert behind a comment": ("/* x */ -- y\n INSERT INTO {table} (id) VALUES (9)", 164),
    "insert select": ("INSERT INTO {table} (id) SELECT 9", 164),
    "ddl": ("CREATE TABLE default.escaped (a Int8) ENGINE = Memory", 164),
    "drop": ("DROP TABLE {table}", 164),
    "alter": ("ALTER TABLE {table} DELETE WHERE 1", 164),
    "optimize": ("OPTIMIZE TABLE {table} FINAL", 164),
    "system": ("SYSTEM STOP MERGES", 164),
    "kill": ("KILL QUERY WHERE 1", 497),
    "multi-statement": ("SELECT 1; DROP TABLE {table}", 62),
    "readonly off by clause": ("SELECT 1 SETTINGS readonly = 0", 164),
    "readonly off by SET": ("SET readonly = 0", 164),
    "another role": ("SET ROLE embedded_owner", 497),
    "all roles": ("SET ROLE ALL", 497),
    "default role": ("SET DEFAULT ROLE embedded_owner TO default", 497),
    "another user": ("EXECUTE AS default SELECT 1", 497),
    "file table": ("SELECT * FROM file('/etc/passwd', LineAsString)", 497),
    "file as a table name": ("SELECT * FROM '/etc/passwd'", 497),
    "file function": ("SELECT file('/etc/passwd')", 497),
    "file function, quoted": ("SELECT `file`('/etc/passwd')", 497),
    "file function, escaped": ("SELECT \"\\x66ile\"('/etc/passwd')", 497),
    "file function, commented": ("SELECT file /* */ ('/etc/passwd')", 497),
    "file function, as a value": ("SELECT arrayMap(file, ['/etc/passwd'])", 497),
    "file function, aliased": ("WITH file AS f SELECT arrayMap(f, ['/etc/passwd'])", 497),
    "file function, in a subquery": ("SELECT * FROM (SELECT file('/etc/passwd') AS x) WHERE x != ''", 497),
    "file function, explained": ("EXPLAIN SELECT file('/etc/passwd')", 497),
    "url": ("SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a Int8')", 497),
    "remote": ("SELECT * FROM remote('127.0.0.1', 'system', 'one')", 497),
    "sqlite": ("SELECT * FROM sqlite('{target}', 'y')", 497),
    "executable": ("SELECT * FROM executable('x.sh', TSV, 'a String')", 497),
    "python": ("SELECT * FROM Python(self)", 497),
    "python, other case": ("SELECT * FROM pYTHON(self)", 497),
    "python, described": ("DESCRIBE TABLE python(self)", 497),
    "file, described": ("DESC file('/etc/passwd')", 497),
    "lake, described": ("DESCRIBE TABLE icebergLocal('/etc')", 497),
    "url, described in an explanation": ("EXPLAIN QUERY TREE SELECT * FROM url('http://127.0.0.1:1/', CSV)", 497),
    "outfile": ("SELECT 1 INTO OUTFILE '{target}'", 358),
    "outfile behind a comment": ("SELECT 1 INTO/**/OUTFILE '{target}'", 358),
    "infile": ("INSERT INTO {table} (name) FROM INFILE '/etc/passwd' FORMAT LineAsString", 78),
    "backup": ("BACKUP TABLE {table} TO File('{target}')", 164),
    "users": ("SELECT * FROM system.users", 497),
    "schema file": ("SELECT 1 SETTINGS format_schema = '/etc/passwd'", 452),
    "schema file, quoted": ("SELECT 1 SETTINGS `format_schema` = '/etc/passwd'", 452),
    "output schema": (
        "SELECT 1 AS a FORMAT Protobuf SETTINGS output_format_schema = '{target}'",
        452,
    ),
    "another dialect": ("SELECT 1 SETTINGS dialect = 'prql'", 452),
    "temporary table": ("CREATE TEMPORARY TABLE x (a Int8)", 164),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_reader_cannot_escape(ch: Http, table: str, name: str, tmp_path: Path) -> None:
    """A reader's attempt is refused with ClickHouse's code, and nothing has changed."""
    ch(f"INSERT INTO {table} (id) VALUES (1)")
    sql, code = ESCAPES[name]
    target = tmp_path / "escape"
    answer = ch(sql.format(table=table, target=target), user=READER)
    assert answer.code == code, answer.text
    assert "root:" not in answer.text
    assert not target.exists()
    assert ch(f"SELECT groupArray(id) FROM {table}").body == b"[1]\n"


def test_reader_cannot_escape_by_parameters(ch: Http) -> None:
    """URL settings and query parameters open no door either."""
    assert ch("SELECT 1", user=READER, readonly=0).code == 164
    assert ch("SELECT 1", user=READER, readonly="2; SET ROLE ALL").code == 72
    for name in ("max_threads = 1; SET ROLE ALL; SET max_threads", "max_threads=1,readonly"):
        assert ch("SELECT 1", user=READER, path=f"/?{urlencode({name: 1})}").code == 115
    assert ch("DROP TABLE x", user=READER, max_threads="1'; SET ROLE ALL; SET max_threads = '1").code == 27
    assert ch("SELECT 1", user=READER, format_schema="/etc/passwd").code == 452
    assert ch("from x", user=READER, dialect="prql", allow_experimental_prql_dialect=1).code == 452
    answer = ch("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", user=READER, param_f="file")
    assert answer.status != 200
    assert ch("DROP TABLE x", user=READER, database="default`; SET ROLE ALL; USE `default").code == 81
    assert ch("DROP TABLE x", user=READER, database="default", role="embedded_owner").code == 164
    assert ch("SET max_threads = 1", user=READER, session_id="escape").status == 200
    assert ch("SET readonly = 0", user=READER, session_id="escape").code == 164
    assert ch("SET ROLE ALL", user=READER, session_id="escape").code == 497
    assert ch("CREATE TABLE default.escaped (a Int8) ENGINE = Memory", user=READER, session_id="escape").code == 164


@pytest.mark.parametrize(
    "structure",
    [
        "a String) ENGINE = Memory AS SELECT file('/etc/passwd') --",
        "a String DEFAULT file('/etc/passwd')",
        "a String ALIAS file('/etc/passwd')",
        "a String /*",
        "a String) ENGINE = File(CSV, '/etc/passwd') /* (",
        "a Int8); SET ROLE ALL; CREATE TABLE default.escaped (a Int8",
        "a Int8, INDEX i file('/etc/passwd') TYPE minmax",
        "",
    ],
)
def test_reader_cannot_escape_by_external_tables(ch: Http, structure: str) -> None:
    """The structure of an external table holds names and types, nothing that is run."""
    sent = (
        b'--b\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\n1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT * FROM x\r\n--b--\r\n'
    )
    answer = ch(sent, user=READER, headers={"Content-Type": "multipart/form-data; boundary=b"}, x_structure=structure)
    assert (answer.status, answer.code) == (400, 62), answer.text
    assert b"root:" not in answer.body
    assert ch("EXISTS TABLE default.escaped").body == b"0\n"


def test_formats_are_names(ch: Http) -> None:
    """A format sent beside the query cannot carry SQL."""
    for name in ("TSV SETTINGS readonly = 0", "TSV; DROP TABLE x", "TSV\nINTO OUTFILE 'x'"):
        assert ch("SELECT 1", user=READER, default_format=name).code == 73


@pytest.mark.parametrize("table", ["metric_rows"], indirect=True)
def test_writer_values_are_literals(ch: Http, table: str) -> None:
    """Rows of a writer's INSERT ... VALUES are not evaluated, so they cannot read files."""
    sql = f"INSERT INTO {table} (id, name) VALUES"
    assert ch(f"{sql} (1, 'it''s'), (2, 'b')", user=WRITER).status == 200
    for row in ("(3, file('/etc/passwd'))", "(3, concat('x', file('/etc/passwd')))"):
        assert ch(f"{sql} {row}", user=WRITER).code == 344
        locked = "input_format_values_interpret_expressions"
        assert ch(f"{sql} {row}", user=WRITER, path=f"/?{locked}=1").code == 452
        assert ch(f"INSERT INTO {table} (id, name) SETTINGS {locked} = 1 VALUES {row}", user=WRITER).code == 452
    assert ch(f"SELECT groupArray(name) FROM (SELECT name FROM {table} ORDER BY id)").body == b"['it\\'s','b']\n"


def test_no_table_function_reaches_outside(ch: Http) -> None:
    """Every table function of the engine is either harmless or denied to a reader, read or described."""
    harmless = {
        "SQLStandardValues",
        "generateRandom",
        "generateSeries",
        "generate_series",
        "null",
        "numbers",
        "numbers_mt",
        "primes",
        "values",
        "view",
        "viewIfPermitted",
        "zeros",
        "zeros_mt",
    }
    names = set(ch("SELECT name FROM system.table_functions").text.split())
    assert len(names) > 50
    allowed = set()
    for name in names - harmless:
        for arguments in ("'/etc/passwd'", "'/etc', 'passwd'", "'/etc/passwd', 'LineAsString', 'a String'"):
            for verb in ("SELECT * FROM", "DESCRIBE TABLE"):
                answer = ch(f"{verb} {name}({arguments})", user=READER, max_execution_time=2)
                assert b"root:" not in answer.body
                if answer.status == 200:
                    allowed.add(name)
    assert allowed == set()


def test_nobody_reads_the_servers_variables(ch: Http) -> None:
    """The table function Python() of the library does not exist here, not even for an admin."""
    for name in ("Python", "python", "`Python`", '"\\x50ython"'):
        assert ch(f"SELECT * FROM {name}(self)").code == 46


def test_reader_reads_and_sets_harmless_settings(ch: Http, table: str) -> None:
    """Reading, SHOW, EXPLAIN, and settings that change no right work for a reader."""
    for sql in (
        f"SELECT count() FROM {table}",
        "SHOW TABLES FROM classpulse",
        f"DESCRIBE {table}",
        "EXPLAIN SELECT 1",
        "SELECT 1 SETTINGS max_threads = 1",
        "SELECT name FROM system.tables LIMIT 1",
        "EXISTS TABLE classpulse.v1_x",
        "WITH 1 AS a SELECT a",
        "SELECT * FROM numbers(3)",
        "SELECT 'file(1)'",
        "SELECT replaceRegexpOne('a', '\\\\w', 'b')",
    ):
        answer = ch(sql, user=READER, max_execution_time=10)
        assert answer.status == 200, (sql, answer.text)


def test_a_profile_bounds_what_nobody_asked_for(ch: Http) -> None:
    """The limits of production's profiles hold for a query, for a session, and after a request that asked for another."""
    limit = "SELECT getSetting('max_result_rows')"
    assert ch(limit, user=READER).body == b"1000000\n"
    assert ch("SET max_block_size = 1000", user=READER, session_id="bounded").status == 200
    assert ch(limit, user=READER, session_id="bounded", max_result_rows=10).body == b"10\n"
    assert ch(limit, user=READER, session_id="bounded").body == b"1000000\n"
    assert ch("SELECT number FROM numbers(1000001)", user=READER, wait_end_of_query=1).code == 396
    assert ch(limit, user="classpulse_vendor", session_id="vendor").status == 200
    assert ch(limit, user="classpulse_vendor", max_result_rows=10).code == 164


def test_reader_calls_views_with_parameters_whatever_else_the_text_says(ch: Http) -> None:
    """A view of the contract is read and described like a table, also beside the word file; no function hides behind it."""
    view = "classpulse.v1_files"
    ch(f"CREATE OR REPLACE VIEW {view} AS SELECT {{a:String}} AS a")
    for sql in (f"SELECT a AS profile FROM {view}(a = 'x')", f"DESCRIBE TABLE {view}(a = 'x')"):
        assert ch(sql, user=READER).status == 200, sql
        assert ch(sql.replace("classpulse.", ""), user=READER, database="classpulse").status == 200, sql
    for sql in (f"SELECT * FROM {view}(a = file('/etc/passwd'))", f"SELECT file(a) FROM {view}(a = '/etc/passwd')"):
        assert ch(sql, user=READER).code == 497, sql
    ch(f"DROP VIEW {view}")


def test_a_user_that_came_later_gets_a_password(tmp_path: Path) -> None:
    """Passwords made by an earlier version stay, and the new user is added to both files."""
    (tmp_path / "credentials.json").write_text(json.dumps({OWNER: "a", WRITER: "b", READER: "c"}), encoding="utf-8")
    (tmp_path / "users.json").write_text("{}", encoding="utf-8")
    passwords = clickhouse_passwords(tmp_path)
    assert (passwords[OWNER], passwords[WRITER], passwords[READER]) == ("a", "b", "c")
    assert set(passwords) == set(rights())
    assert passwords == json.loads((tmp_path / "credentials.json").read_text(encoding="utf-8"))
    assert all(name in (tmp_path / "users.json").read_text(encoding="utf-8") for name in rights())
    before = (tmp_path / "users.json").read_bytes()
    assert clickhouse_passwords(tmp_path) == passwords
    assert (tmp_path / "users.json").read_bytes() == before


def test_reader_gets_the_same_syntax_error_as_an_admin(ch: Http) -> None:
    """A statement that does not parse is a syntax error at the same place for everybody."""
    for sql in ("SELEC 1", "SELECT FROM WHERE", "SELECT 'file' FROM ("):
        answers = [ch(sql, user=user) for user in (OWNER, READER)]
        assert [(answer.status, answer.code) for answer in answers] == [(400, 62), (400, 62)]
        places = [answer.text.split("failed at position ")[1].split(" ")[0] for answer in answers]
        assert places[0] == places[1]


@pytest.mark.parametrize("table", ["metric_rows"], indirect=True)
def test_writer_inserts_and_reads_but_has_no_ddl(ch: Http, table: str, tmp_path: Path) -> None:
    """A writer's INSERT works; DDL, files and roles are 497 ACCESS_DENIED."""
    assert ch("1\n", query=f"INSERT INTO {table} (id) FORMAT TSV", user=WRITER).status == 200
    assert ch(f"INSERT INTO {table} (id) SELECT 2", user=WRITER).status == 200
    assert ch(f"SELECT sum(id) FROM {table}", user=WRITER).body == b"3\n"
    for sql in (
        "CREATE TABLE default.w (a Int8) ENGINE = Memory",
        f"DROP TABLE {table}",
        f"TRUNCATE TABLE {table}",
        f"ALTER TABLE {table} ADD COLUMN z Int8",
        f"ALTER TABLE {table} DELETE WHERE 1",
        "CREATE DATABASE w",
        "SET ROLE embedded_owner",
        "SYSTEM FLUSH LOGS",
        "KILL QUERY WHERE 1",
        f"INSERT INTO {table} (name) SELECT * FROM file('/etc/hostname', LineAsString)",
        f"INSERT INTO FUNCTION file('{tmp_path / 'escape'}', CSV, 'a Int8') VALUES (1)",
        f"INSERT INTO {table} (name) SELECT file('/etc/hostname')",
    ):
        answer = ch(sql, user=WRITER)
        assert (answer.status, answer.code) == (403, 497), (sql, answer.text)
        assert answer.text.startswith(f"Code: 497. DB::Exception: {WRITER}: Not enough privileges.")


def test_ways_to_log_in(ch: Http, running: StackInfo) -> None:
    """X-ClickHouse headers, Basic authorization and URL parameters all work; two at once do not."""
    password = running.users[READER]
    basic = {"Authorization": "Basic " + b64encode(f"{READER}:{password}".encode()).decode()}
    assert ch("SELECT 1", user=READER).body == b"1\n"
    assert ch("SELECT 1", user=None, headers=basic).body == b"1\n"
    by_url = ch("SELECT 1", user=None, path=f"/?user={READER}&password={quote(password)}")
    assert by_url.body == b"1\n"
    mixed = ch("SELECT 1", user=READER, headers=basic)
    assert (mixed.status, mixed.code) == (403, 516)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-ClickHouse-User": OWNER, "X-ClickHouse-Key": "wrong"},
        {"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "x"},
        {"X-ClickHouse-User": OWNER},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer abc"},
        {"Authorization": "Basic " + b64encode(b"no-colon").decode()},
    ],
)
def test_wrong_logins(ch: Http, headers: dict[str, str]) -> None:
    """A wrong login is 403 with code 516, and the answer says nothing about which part was wrong."""
    answer = ch("SELECT 1", user=None, headers=headers)
    assert (answer.status, answer.code) == (403, 516)


def test_no_login_is_asked_for_one(ch: Http) -> None:
    """A request without any login is 401 with a challenge, so that browsers and tools ask."""
    answer = ch("SELECT 1", user=None)
    assert (answer.status, answer.code) == (401, 516)
    assert answer.headers["www-authenticate"].startswith("Basic")


def test_passwords_are_stored_as_hashes_in_private_files(running: StackInfo) -> None:
    """users.json holds no password, both files are readable by their owner alone, and no log has one."""
    users = running.folder / "users.json"
    credentials = running.folder / "credentials.json"
    for path in (users, credentials):
        assert path.stat().st_mode & 0o077 == 0
    stored = users.read_text()
    logs = "".join(path.read_text() for path in (running.folder / "logs").iterdir())
    for password in json.loads(credentials.read_text()).values():
        assert password not in stored
        assert password not in logs
        assert password not in repr(running)
