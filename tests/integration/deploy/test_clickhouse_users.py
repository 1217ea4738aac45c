"""The users of ClickHouse may do what they need and nothing else, by the word of the engine itself."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from http.client import HTTPConnection
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from deploy.local.stack import stack
from sinks.clickhouse.client import Target
from sinks.clickhouse.migrations import migrate, migrations
from sinks.views import contract
from tests.oracle.published import PANELS, filled_in

ROOT = Path(__file__).parents[3]
USERS = ET.parse(ROOT / "deploy/clickhouse/users.xml").getroot()
TABLES = (
    "events_classroom",
    "events_prep",
    "events_research",
    "events_registry",
    "metric_rows",
    "checkpoints",
    "dead_letters",
)
APPENDED_BY_THE_EVALUATOR = (
    "pane_versions",
    "pane_keys",
    "evaluator_cycles",
    "portraits",
    "portrait_peers",
    "portrait_places",
    "portrait_runs",
    "evaluation_configs",
    "evaluation_nodes",
    "scores",
    "data_quality",
    "score_runs",
)
FILLED_BY_THE_SERVER = ("event_days", "checkpoint_days")
#: Each view as a query may name it, with some value for each parameter.
VIEWS = [
    f"classpulse.{view.name}"
    + (f"({', '.join(map('='.join, view.example_arguments().items()))})" if view.parameters else "")
    for view in contract.views()
    if not view.definer
]
OK = 0
ACCESS_DENIED = 497
READONLY = 164
OUT_OF_BOUNDS = 452
TOO_MANY_ROWS = 396

#: Runs in a process of its own, because the engine can be loaded once a process. Prints the error code of each
#: statement, 0 where there was none.
RUN = r"""
import json, re, sys
from chdb import connect
connection = connect(sys.argv[1])
codes = []
for statement in json.load(sys.stdin):
    try:
        connection.query(statement)
        codes.append(0)
    except Exception as error:
        codes.append(int(re.search(r"Code: (\d+)", str(error))[1]))
print(json.dumps(codes))
connection.close()
"""

#: Makes the views as `classpulse migrate` does.
APPLY = r"""
import json, sys
from types import SimpleNamespace
from chdb import connect
from sinks.views import contract
connection = connect(sys.argv[1])
def query(sql):
    answer = connection.query(sql, "JSONCompact")
    return SimpleNamespace(result_rows=json.loads(str(answer))["data"])
connection.query("USE classpulse")
# Whoever runs the migration; here that is classpulse_admin under the name of default.
def command(sql):
    return connection.query(sql.replace("DEFINER = CURRENT_USER", "DEFINER = classpulse_admin"))
contract.apply(SimpleNamespace(query=query, command=command))
connection.close()
"""


#: Prints the columns of every table, by table.
COLUMNS = r"""
import json, sys
from chdb import connect
connection = connect(sys.argv[1])
rows = json.loads(str(connection.query(
    "SELECT table, groupArray(name) AS names FROM system.columns WHERE database = 'classpulse' AND table NOT LIKE 'v1_%'"
    " GROUP BY table", "JSON")))
print(json.dumps({row["table"]: row["names"] for row in rows["data"]}))
connection.close()
"""


def configuration(user: str) -> str:
    """Return users.xml for an engine whose only session is ``user``'s.

    The embedded engine works as the user ``default``, so that name gets the user's profile and grants.
    """
    root = deepcopy(USERS)
    users = root.find("users")
    profiles = root.find("profiles")
    administrator = deepcopy(USERS.find("users/classpulse_admin"))
    assert administrator is not None
    assert users is not None
    assert profiles is not None
    chosen = users.find(user)
    assert chosen is not None
    users.clear()
    chosen.tag = "default"
    users.append(chosen)
    grants = chosen.find("grants")
    assert grants is not None
    if user == "classpulse_admin":
        # To say in the name of default that a view is classpulse_admin's, see DEFINER below.
        ET.SubElement(grants, "query").text = "GRANT SET DEFINER ON classpulse_admin"
    users.append(administrator)
    for one in (chosen, administrator):
        ET.SubElement(one, "no_password")
    ET.SubElement(profiles, "default")
    ET.SubElement(ET.SubElement(root, "quotas"), "default")
    return ET.tostring(root, encoding="unicode")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the engine keeps its data and finds its configuration."""
    return tmp_path_factory.mktemp("engine")


def in_engine(folder: Path, user: str, code: str, told: str) -> str:
    """Run ``code`` with an engine whose only session is ``user``'s; return what it prints."""
    # The engine reads config.xml of the folder it is started in.
    (folder / "users.xml").write_text(configuration(user), encoding="utf-8")
    (folder / "config.xml").write_text("<clickhouse><users_config>users.xml</users_config></clickhouse>")
    done = subprocess.run(
        [sys.executable, "-c", code, folder / "data"],
        input=told,
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(folder: Path, user: str, statements: Sequence[str]) -> dict[str, int]:
    """Execute statements as ``user``; return the error code of each."""
    codes = json.loads(in_engine(folder, user, RUN, json.dumps(statements)))
    return dict(zip(statements, codes, strict=True))


@pytest.fixture(scope="module")
def migrated(folder: Path) -> Path:
    """A database that classpulse_admin made by the migrations."""
    statements = ["CREATE DATABASE IF NOT EXISTS classpulse", "USE classpulse"]
    # Whoever runs the migration; here that is classpulse_admin under the name of default.
    statements += [
        statement.replace("DEFINER = CURRENT_USER", "DEFINER = classpulse_admin")
        for migration in migrations()
        for statement in migration.statements()
    ]
    rejected = {statement: code for statement, code in run(folder, "classpulse_admin", statements).items() if code != OK}
    assert rejected == {}
    in_engine(folder, "classpulse_admin", APPLY, "")
    return folder


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Sequence[str]], dict[str, int]]]:
    """Run the embedded server with every table and view; return what executes statements as a user, like ``run``."""
    folder = tmp_path_factory.mktemp("embedded")
    port = stack.start_clickhouse(folder).port
    users = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))
    list(migrate(Target(f"http://127.0.0.1:{port}", "classpulse_admin", users["classpulse_admin"], "classpulse")))

    def execute(user: str, statements: Sequence[str]) -> dict[str, int]:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": users[user]}
        codes = {}
        for statement in statements:
            connection.request("POST", "/?database=classpulse&default_format=Null", statement, headers)
            answer = connection.getresponse()
            answer.read()
            codes[statement] = int(answer.getheader("X-ClickHouse-Exception-Code", "0"))
        connection.close()
        return codes

    yield execute
    stack.down(folder)


#: What no right to a table decides: the rest of the server, and changing things.
BESIDE_THE_TABLES = (
    "SHOW TABLES FROM classpulse",
    "SHOW DATABASES",
    "SHOW COLUMNS FROM classpulse.events_prep",
    "SHOW CREATE TABLE classpulse.events_prep",
    "SHOW CREATE TABLE classpulse.scores",
    "DESCRIBE TABLE classpulse.events_prep",
    "EXISTS TABLE classpulse.dead_letters",
    "SHOW USERS",
    "SHOW GRANTS FOR default",
    "SELECT name FROM system.tables",
    "SELECT * FROM system.users",
    "SELECT * FROM information_schema.tables",
    "SELECT getSetting('max_threads')",
    "SELECT * FROM numbers(3)",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'a String')",
    "SELECT * FROM s3('http://127.0.0.1:1/a', 'CSV', 'a String')",
    "SELECT * FROM remote('127.0.0.1', 'system', 'one')",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM cluster('default', 'system', 'one')",
    "SELECT dictGet('classpulse.none', 'a', 1)",
    "CREATE DICTIONARY classpulse.d (a UInt8) PRIMARY KEY a LAYOUT(FLAT())",
    "CREATE TABLE IF NOT EXISTS classpulse.metric_rows (a Int8) ENGINE = MergeTree ORDER BY a",
    "CREATE TABLE classpulse.files (a Int8) ENGINE = File(CSV)",
    "CREATE VIEW IF NOT EXISTS classpulse.v1_lessons AS SELECT 1",
    "CREATE DATABASE another",
    "CREATE TABLE default.t (a Int8) ENGINE = Memory",
    "CREATE FUNCTION f AS x -> x",
    "CREATE USER intruder",
    "GRANT SELECT ON *.* TO default",
    "ALTER TABLE classpulse.scores MODIFY COMMENT 'changed'",
    "OPTIMIZE TABLE classpulse.scores",
    "SYSTEM FLUSH LOGS",
    "BACKUP TABLE classpulse.scores TO Disk('none', 'a')",
)


@pytest.mark.parametrize("user", [user.tag for user in USERS.iterfind("users/*[grants]")])
def test_the_embedded_engine_grants_what_production_grants(
    migrated: Path, embedded: Callable[[str, Sequence[str]], dict[str, int]], user: str
) -> None:
    """Each column of each table, each view, each INSERT and whatever else: a user gets in one what it gets in the other."""
    listed = in_engine(migrated, "classpulse_admin", COLUMNS, "")
    columns: dict[str, list[str]] = json.loads(listed)
    assert len(columns) > 20
    statements = [f"SELECT `{name}` FROM classpulse.{table} LIMIT 0" for table in columns for name in columns[table]]
    statements += [f"SELECT * FROM {view} LIMIT 0" for view in VIEWS]
    statements += [f"INSERT INTO classpulse.{table} SELECT * FROM classpulse.{table} LIMIT 0" for table in columns]
    statements += [f"INSERT INTO classpulse.{table} ({columns[table][0]}) SELECT '' LIMIT 0" for table in columns]
    statements += BESIDE_THE_TABLES
    production = run(migrated, user, statements)
    here = embedded(user, statements)
    differing = {text: (production[text], here[text]) for text in statements if bool(production[text]) != bool(here[text])}
    assert differing == {}


@pytest.mark.parametrize("user", [user.tag for user in USERS.iterfind("users/*[grants]")])
def test_nobody_sees_what_others_do(embedded: Callable[[str, Sequence[str]], dict[str, int]], user: str) -> None:
    """The tables of ``system`` that a server hides are hidden here too, by whatever name and way."""
    denied = [
        "SELECT query FROM system.processes",
        "SELECT query FROM `system`.`processes`",
        "SHOW PROCESSLIST",
        'SELECT query FROM "sys\\x74em".processes',
        "SELECT * FROM (SELECT * FROM system.query_log)",
        "USE system",
        "SELECT count() FROM system.parts",
        "SELECT 1 WHERE 1 IN system.numbers",
        "SELECT * FROM system.settings_changes",
        "WITH p AS (SELECT query FROM system.processes) SELECT * FROM p",
        "SELECT * FROM merge('system', 'processes')",
        "SELECT 1 UNION ALL SELECT count() FROM system.merges",
        "SELECT * FROM system.disks",
        "SELECT * FROM system.grants",
    ]
    assert embedded(user, denied) == dict.fromkeys(denied, ACCESS_DENIED)


def test_the_two_ways_to_grant_agree() -> None:
    """users.sql, for servers that keep users in SQL, grants what users.xml grants."""
    text = (ROOT / "deploy/clickhouse/users.sql").read_text(encoding="utf-8")
    in_sql = re.findall(r"^(GRANT .+) TO (\w+);$", text, re.MULTILINE)
    in_xml = [(query.text, user.tag) for user in USERS.iterfind("users/*") for query in user.iterfind("grants/query")]
    assert sorted(in_sql) == sorted(in_xml)


def test_only_our_users_exist_and_none_has_a_password_here() -> None:
    """The image's user without a password is removed, and the file holds no secret."""
    users = USERS.find("users")
    assert users is not None
    assert [user.tag for user in users if user.get("remove") is None] == [
        "classpulse_admin",
        "classpulse_worker",
        "classpulse_evaluator",
        "classpulse_reader",
        "classpulse_vendor",
    ]
    assert [user.tag for user in users if user.get("remove") is not None] == ["default"]
    assert [element.tag for element in USERS.iter() if "password" in element.tag] == []


def test_the_administrator_migrates_and_cannot_do_more(migrated: Path) -> None:
    """It makes the tables, and may neither drop the database nor make users nor leave its database."""
    denied = ["DROP DATABASE classpulse", "CREATE USER intruder", "CREATE TABLE default.t (a Int8) ENGINE = Memory"]
    assert run(migrated, "classpulse_admin", denied) == dict.fromkeys(denied, ACCESS_DENIED)


def test_the_worker_reads_and_inserts_and_cannot_take_back(migrated: Path) -> None:
    """It inserts and reads every table; it may not delete, drop, create, or read files and addresses."""
    allowed = [f"SELECT * FROM classpulse.{table} FINAL" for table in (*TABLES, *FILLED_BY_THE_SERVER)]
    allowed += [f"INSERT INTO classpulse.{table} (topic, partition) VALUES ('t', 1)" for table in TABLES[5:]]
    allowed += [f"INSERT INTO classpulse.{table} (key) VALUES ('k')" for table in TABLES[:5]]
    allowed += ["SELECT * FROM classpulse.pseudonym_keys", "INSERT INTO classpulse.pseudonym_keys (generation) VALUES (1)"]
    denied = [f"INSERT INTO classpulse.{table} (topic) VALUES ('t')" for table in FILLED_BY_THE_SERVER]
    denied += [
        "ALTER TABLE classpulse.pseudonym_keys DELETE WHERE 1",
        "DROP TABLE classpulse.checkpoints",
        "ALTER TABLE classpulse.events_classroom MODIFY TTL toDateTime(stored_at) + INTERVAL 1 DAY",
        "TRUNCATE TABLE classpulse.checkpoints",
        "ALTER TABLE classpulse.events_classroom DELETE WHERE 1",
        "CREATE TABLE classpulse.t (a Int8) ENGINE = Memory",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    ]
    expected = dict.fromkeys(allowed, OK) | dict.fromkeys(denied, ACCESS_DENIED)
    assert run(migrated, "classpulse_worker", [*allowed, *denied]) == expected


def test_the_worker_can_tell_how_long_tables_keep_their_rows(migrated: Path) -> None:
    """The definitions of the tables, with their TTLs, are readable with the worker's rights, and so is what they fill."""
    count = "SELECT throwIf(count() != {n}) FROM {rest}"
    statements = [
        "USE classpulse",
        "INSERT INTO classpulse.events_prep (key) VALUES ('noted')",
        count.format(n=13, rest="system.tables WHERE database = 'classpulse' AND create_table_query LIKE '% TTL %'"),
        count.format(n=1, rest="event_days FINAL WHERE key = 'noted' AND day = today()"),
    ]
    assert run(migrated, "classpulse_worker", statements) == dict.fromkeys(statements, OK)


def test_the_evaluator_appends_versions_and_cannot_change_metrics(migrated: Path) -> None:
    """It appends to its own tables and reads the views and rosters; it writes no metric and reads no student's event."""
    allowed = [f"SELECT * FROM {view}" for view in VIEWS]
    allowed += [f"SELECT * FROM classpulse.{table}" for table in (*APPENDED_BY_THE_EVALUATOR, "figure_keys", "metric_rows")]
    allowed += [f"INSERT INTO classpulse.{table} SELECT * FROM classpulse.{table}" for table in APPENDED_BY_THE_EVALUATOR]
    # In a lesson in several places a student belongs to the class that names them.
    allowed += ["SELECT roster FROM classpulse.events_classroom"]
    denied = [
        "SELECT student_id FROM classpulse.events_classroom",
        "INSERT INTO classpulse.metric_rows (key) VALUES ('k')",
        "INSERT INTO classpulse.checkpoints (topic) VALUES ('t')",
        "ALTER TABLE classpulse.pane_versions DELETE WHERE 1",
        "TRUNCATE TABLE classpulse.scores",
        "CREATE VIEW classpulse.v1_other AS SELECT 1",
    ]
    expected = dict.fromkeys(allowed, OK) | dict.fromkeys(denied, ACCESS_DENIED)
    assert run(migrated, "classpulse_evaluator", [*allowed, *denied]) == expected


def test_the_reader_sees_every_view_and_no_students_events(migrated: Path) -> None:
    """The views answer; what is below them does not, but for the columns they need."""
    allowed = [f"SELECT * FROM {view}" for view in VIEWS]
    denied = [
        "SELECT student_id FROM classpulse.events_classroom",
        "SELECT roster FROM classpulse.events_classroom",
        "SELECT students FROM classpulse.events_registry",
        "INSERT INTO classpulse.pane_versions (key) VALUES ('k')",
        "SELECT * FROM classpulse.events_prep",
        "SELECT * FROM classpulse.pseudonym_keys",
        "SELECT * FROM classpulse.dead_letters",
        "SELECT * FROM classpulse.event_days",
        "SELECT * FROM classpulse.checkpoint_days",
        "INSERT INTO classpulse.metric_rows (key) VALUES ('k')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1', 'classpulse', 'dead_letters')",
        "CREATE TEMPORARY TABLE t (a Int8)",
    ]
    expected = dict.fromkeys(allowed, OK) | dict.fromkeys(denied, ACCESS_DENIED)
    assert len(VIEWS) >= 7
    assert run(migrated, "classpulse_reader", [*allowed, *denied]) == expected


def test_the_vendor_asks_for_one_event_and_changes_no_setting(migrated: Path) -> None:
    """Its view answers with the rights of the migration's user; no table, no other view, no system log, no setting."""
    call = "SELECT * FROM classpulse.vendor_v1_received(key = 'k', source = 's', id = 'i')"
    filters = "additional_table_filters = {'classpulse.events_classroom': 'throwIf(1)'}"
    denied = [f"SELECT * FROM classpulse.{table}" for table in (*TABLES, "duplicates", "v1_lessons", "v1_columns")]
    settings = [f"{call} SETTINGS {filters}", f"{call} SETTINGS max_execution_time = 5", "SET max_threads = 2"]
    expected = {call: OK} | dict.fromkeys(denied, ACCESS_DENIED) | dict.fromkeys(settings, READONLY)
    assert run(migrated, "classpulse_vendor", list(expected)) == expected
    others = run(migrated, "classpulse_reader", [call])
    assert others == {call: ACCESS_DENIED}


def test_the_readers_limits_cannot_be_lifted(migrated: Path) -> None:
    """Memory, time and rows stay bounded whatever settings a query brings."""
    expected = {
        "SELECT 1 SETTINGS max_execution_time = 65": OK,
        "SELECT 1 SETTINGS max_execution_time = 0": OUT_OF_BOUNDS,
        "SELECT 1 SETTINGS max_execution_time = 3600": OUT_OF_BOUNDS,
        "SELECT 1 SETTINGS max_memory_usage = 0": OUT_OF_BOUNDS,
        "SELECT 1 SETTINGS max_rows_to_read = 0": OUT_OF_BOUNDS,
        "SELECT 1 SETTINGS max_result_rows = 2000000": OUT_OF_BOUNDS,
        "SELECT 1 SETTINGS readonly = 0": READONLY,
        "SELECT number FROM numbers(2000000)": TOO_MANY_ROWS,
    }
    assert run(migrated, "classpulse_reader", list(expected)) == expected


def test_grafanas_queries_run_as_the_reader(migrated: Path) -> None:
    """Every ClickHouse panel's SQL is accepted, with the macros of Grafana's plugin filled in."""
    filled = [filled_in(query, "toDateTime(0)", "now()") for query in PANELS.values()]
    assert len(filled) >= 4
    assert [query for query in filled if "$" in query] == []
    statements = ["USE classpulse", *filled]
    assert run(migrated, "classpulse_reader", statements) == dict.fromkeys(statements, OK)
