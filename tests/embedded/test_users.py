"""Logins, the three profiles, and every way out of the readonly profile that was thought of."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from deploy.embedded.stack import StackInfo

from .wire import ADMIN, READER, WRITER, Http

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
    "another role": ("SET ROLE embedded_admin", 497),
    "all roles": ("SET ROLE ALL", 497),
    "default role": ("SET DEFAULT ROLE embedded_admin TO default", 497),
    "another user": ("EXECUTE AS default SELECT 1", 497),
    "file table": ("SELECT * FROM file('/etc/passwd', LineAsString)", 497),
    "file as a table name": ("SELECT * FROM '/etc/passwd'", 497),
    "file function": ("SELECT file('/etc/passwd')", 497),
    "file function, quoted": ("SELECT `file`('/etc/passwd')", 497),
    "file function, escaped": ('SELECT "\\x66ile"(\'/etc/passwd\')', 497),
    "file function, commented": ("SELECT file /* */ ('/etc/passwd')", 497),
    "file function, as a value": ("SELECT arrayMap(file, ['/etc/passwd'])", 497),
    "file function, aliased": ("WITH file AS f SELECT arrayMap(f, ['/etc/passwd'])", 497),
    "file function, in a subquery": ("SELECT * FROM (SELECT file('/etc/passwd') AS x) WHERE x != ''", 497),
    "file function, explained": ("EXPLAIN SELECT file('/etc/passwd')", 497),
    "url": ("SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a Int8')", 497),
    "remote": ("SELECT * FROM remote('127.0.0.1', 'system', 'one')", 497),
    "sqlite": ("SELECT * FROM sqlite('/tmp/x', 'y')", 497),
    "executable": ("SELECT * FROM executable('x.sh', TSV, 'a String')", 497),
    "python": ("SELECT * FROM Python(self)", 497),
    "outfile": ("SELECT 1 INTO OUTFILE '/tmp/classpulse-escape'", 358),
    "outfile behind a comment": ("SELECT 1 INTO/**/OUTFILE '/tmp/classpulse-escape'", 358),
    "infile": ("INSERT INTO {table} (name) FROM INFILE '/etc/passwd' FORMAT LineAsString", 78),
    "backup": ("BACKUP TABLE {table} TO File('/tmp/classpulse-escape')", 164),
    "users": ("SELECT * FROM system.users", 497),
    "schema file": ("SELECT 1 SETTINGS format_schema = '/etc/passwd'", 452),
    "schema file, quoted": ("SELECT 1 SETTINGS `format_schema` = '/etc/passwd'", 452),
    "output schema": ("SELECT 1 AS a FORMAT Protobuf SETTINGS output_format_schema = '/tmp/classpulse-escape'", 452),
    "temporary table": ("CREATE TEMPORARY TABLE x (a Int8)", 164),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_reader_cannot_escape(ch: Http, table: str, name: str) -> None:
    """A reader's attempt is refused with ClickHouse's code, and nothing has changed."""
    ch(f"INSERT INTO {table} (id) VALUES (1)")
    sql, code = ESCAPES[name]
    answer = ch(sql.format(table=table), user=READER)
    assert answer.code == code, answer.text
    assert "root:" not in answer.text
    assert not Path("/tmp/classpulse-escape").exists()
    assert ch(f"SELECT groupArray(id) FROM {table}").body == b"[1]\n"


def test_reader_cannot_escape_by_parameters(ch: Http) -> None:
    """URL settings and query parameters open no door either."""
    assert ch("SELECT 1", user=READER, readonly=0).code == 164
    assert ch("SELECT 1", user=READER, readonly="2; SET ROLE ALL").code == 72
    for name in ("max_threads = 1; SET ROLE ALL; SET max_threads", "max_threads=1,readonly"):
        assert ch("SELECT 1", user=READER, **{name: 1}).code == 115
    assert ch("DROP TABLE x", user=READER, max_threads="1'; SET ROLE ALL; SET max_threads = '1").code == 27
    assert ch("SELECT 1", user=READER, format_schema="/etc/passwd").code == 452
    answer = ch("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", user=READER, param_f="file")
    assert answer.status != 200
    assert ch("DROP TABLE x", user=READER, database="default`; SET ROLE ALL; USE `default").code == 81
    assert ch("DROP TABLE x", user=READER, database="default", role="embedded_admin").code == 164
    session = {"session_id": "escape"}
    assert ch("SET max_threads = 1", user=READER, **session).status == 200
    assert ch("SET readonly = 0", user=READER, **session).code == 164
    assert ch("SET ROLE ALL", user=READER, **session).code == 497
    assert ch("CREATE TABLE default.escaped (a Int8) ENGINE = Memory", user=READER, **session).code == 164


def test_reader_reads_and_sets_harmless_settings(ch: Http, table: str) -> None:
    """Reading, SHOW, EXPLAIN, and settings that change no right work for a reader."""
    for sql in (
        f"SELECT count() FROM {table}", "SHOW TABLES FROM default", f"DESCRIBE {table}", "EXPLAIN SELECT 1",
        "SELECT 1 SETTINGS max_threads = 1", "SELECT name FROM system.tables LIMIT 1", "EXISTS TABLE default.x",
        "WITH 1 AS a SELECT a", "SELECT * FROM numbers(3)", "SELECT 'file(1)'", "SELECT replaceRegexpOne('a', '\\\\w', 'b')",
    ):  # fmt: skip
        answer = ch(sql, user=READER, max_execution_time=10)
        assert answer.status == 200, (sql, answer.text)


def test_writer_inserts_and_reads_but_has_no_ddl(ch: Http, table: str) -> None:
    """A writer's INSERT works; DDL, files and roles are 497 ACCESS_DENIED."""
    assert ch("1\n", query=f"INSERT INTO {table} (id) FORMAT TSV", user=WRITER).status == 200
    assert ch(f"INSERT INTO {table} (id) SELECT 2", user=WRITER).status == 200
    assert ch(f"SELECT sum(id) FROM {table}", user=WRITER).body == b"3\n"
    for sql in (
        "CREATE TABLE default.w (a Int8) ENGINE = Memory", f"DROP TABLE {table}", f"TRUNCATE TABLE {table}",
        f"ALTER TABLE {table} ADD COLUMN z Int8", f"ALTER TABLE {table} DELETE WHERE 1", "CREATE DATABASE w",
        "SET ROLE embedded_admin", "SYSTEM FLUSH LOGS", "KILL QUERY WHERE 1",
        f"INSERT INTO {table} (name) SELECT * FROM file('/etc/hostname', LineAsString)",
        "INSERT INTO FUNCTION file('/tmp/classpulse-escape', CSV, 'a Int8') VALUES (1)",
        f"INSERT INTO {table} (name) SELECT file('/etc/hostname')",
    ):  # fmt: skip
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
        {"X-ClickHouse-User": ADMIN, "X-ClickHouse-Key": "wrong"},
        {"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "x"},
        {"X-ClickHouse-User": ADMIN},
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
