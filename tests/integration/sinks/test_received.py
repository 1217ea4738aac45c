"""What a vendor may ask: what became of an event that it can name in full, and nothing about any other."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.codec.attributes import event_hash, readable_attributes
from schemas.errors import MustStop
from schemas.events.event_types import FAMILIES
from sinks.clickhouse.client import Target, Warehouse, connect
from sinks.stores.dead_letters import DeadLetter, DeadLetterStore
from sinks.stores.events import EventStore
from streams.cli.received import received
from tests.oracle.database import fresh_database, insert_events, running_clickhouse

CLASSROOM = next(family for family in FAMILIES if family.name == "classroom")
MINE = {"key": "lesson-1", "source": "/schools/s07/devices/tablet-1", "id": "mine-1"}
OTHERS = "/schools/s08/devices/tablet-9"
REJECTED = "rejected-1"
SECRETS = ("other-1", "other-2", OTHERS, "lesson-9", "p-student")
CALL = "vendor_v1_received(key = {key:String}, source = {source:String}, id = {id:String})"


def event(key: str, source: str, name: str) -> dict[str, Any]:
    """An event that says who raised a hand."""
    return {
        "type": "classroom.hand.raised",
        "key": key,
        "time_us": 1_772_000_000_000_000,
        "source": source,
        "id": name,
        "student_id": "p-student",
    }


def letter(offset: int, source: str, name: str) -> DeadLetter:
    """A rejected record whose source and id can be read."""
    value = json.dumps({"source": source, "id": name, "data": "no object"}).encode()
    return DeadLetter(CLASSROOM.topic, 0, offset, offset, 1, "data", "data.student_id", "why", b"k", value, ())


@dataclass(frozen=True)
class Asked:
    """A filled database, as the vendor sees it."""

    target: Target
    client: Client

    def rows(self, **named: str) -> list[tuple[Any, ...]]:
        """Ask for one event; outcome, records, type, reason, field."""
        sql = f"SELECT outcome, records, type, reason, field FROM {CALL} ORDER BY outcome"
        return [tuple(row) for row in self.client.query(sql, parameters=MINE | named).result_rows]

    def command(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command line as a vendor does."""
        environment = {
            **os.environ,
            "CLASSPULSE_CLICKHOUSE_URL": self.target.url,
            "CLASSPULSE_CLICKHOUSE_USER": self.target.user,
            "CLASSPULSE_CLICKHOUSE_PASSWORD": self.target.password,
        }
        return subprocess.run(
            [sys.executable, "-m", "streams", "received", *arguments],
            input=text,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Events, repeats and dead letters of two vendors, as the sinks write them."""
    folder = tmp_path_factory.mktemp("received")
    with running_clickhouse(folder) as server:
        target = fresh_database(server, "classpulse")
        client = connect(target)
        insert_events(client, [event(key="lesson-1", source=MINE["source"], name="mine-1")])
        others = [event("lesson-9", OTHERS, "other-1"), event("lesson-1", OTHERS, "other-2")]
        insert_events(client, others, first_position=5)
        client.close()
        warehouse = Warehouse(target)
        columns = {"partition": [0, 0], "position": [7, 8], "key": ["lesson-1"] * 2, "time_us": [1, 2]}
        dropped = pl.DataFrame(columns | {"source": [MINE["source"]] * 2, "id": ["mine-1"] * 2, "schoolid": ["s07"] * 2})
        EventStore(warehouse).note_duplicates(CLASSROOM, dropped)
        letters = [letter(20, MINE["source"], REJECTED), letter(21, OTHERS, "other-3"), letter(22, "", "")]
        DeadLetterStore(warehouse).insert(letters)
        warehouse.close()
        password = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))["classpulse_vendor"]
        vendors = replace(target, user="classpulse_vendor", password=password)
        client = connect(vendors)
        yield Asked(vendors, client)
        client.close()


def test_what_became_of_ones_own_event(vendor: Asked) -> None:
    """Stored with its type, come again so many times, rejected with reason and field; nothing for what was never sent."""
    again = ("duplicate", 2, "", "", "")
    assert vendor.rows() == [again, ("stored", 1, "classroom.hand.raised", "", "")]
    assert vendor.rows(id=REJECTED, key="any") == [("rejected", 1, "", "data", "data.student_id")]
    assert vendor.rows(id="never sent") == []


@pytest.mark.parametrize(
    "named",
    [
        {"id": ""},
        {"source": ""},
        {"key": ""},
        {"id": "%"},
        {"source": "%"},
        {"id": "*"},
        {"key": "lesson-%"},
        {"id": "' OR 1=1 --"},
        {"source": "' OR '1'='1"},
        {"id": "other-1"},
        {"source": OTHERS},
        {"id": "other-3"},
        {"id": "", "source": ""},
        {"id": "", "source": "", "key": ""},
        {"id": "MINE-1"},
        {"id": "mine-1\x00"},
    ],
)
def test_nothing_is_found_but_by_the_whole_name(vendor: Asked, named: dict[str, str]) -> None:
    """No wildcard, no empty name, no SQL in a name, no part of another's name finds a row."""
    assert vendor.rows(**named) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM {table}",
        "SELECT id FROM {table}",
        "SELECT count() FROM {table}",
        "DESCRIBE TABLE {table}",
        "SHOW CREATE TABLE {table}",
        "SELECT * FROM vendor_v1_received(key = 'lesson-9', source = any(source), id = any(id))",
        "SELECT * FROM vendor_v1_received(key = 'lesson-1', source = (SELECT any(source) FROM {table}), id = 'other-2')",
        "INSERT INTO {table} (key) VALUES ('k')",
        "SELECT * FROM merge('classpulse', '{table}')",
    ],
)
@pytest.mark.parametrize("table", ["events_classroom", "duplicates", "dead_letters", "v1_lessons", "v1_columns"])
def test_no_table_below_can_be_read(vendor: Asked, sql: str, table: str) -> None:
    """Neither the tables nor the other views, neither directly nor as arguments."""
    rejected(vendor, sql.format(table=table))


ORACLE = "throwIf(source = '" + OTHERS + "')"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT query FROM system.query_log",
        "SELECT query FROM system.processes",
        "SHOW PROCESSLIST",
        "SELECT * FROM system.parts",
        "SELECT * FROM system.part_log",
        "SELECT * FROM system.text_log",
        "SELECT * FROM file('/etc/passwd')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'a String')",
        "SELECT * FROM remote('127.0.0.1', 'classpulse', 'events_classroom')",
        "SET max_threads = 2",
        f"SELECT * FROM {CALL} SETTINGS additional_table_filters = {{'classpulse.events_classroom': '{ORACLE}'}}",
        f"SELECT * FROM {CALL} SETTINGS max_execution_time = 0",
        "SET readonly = 0",
        "SET ROLE ALL",
        "CREATE TEMPORARY TABLE t (a Int8)",
        f"SELECT * FROM {CALL} WHERE {ORACLE}",
        f"SELECT id FROM {CALL}",
    ],
)
def test_nothing_beside_them_tells_of_others(vendor: Asked, sql: str) -> None:
    """No log, no outside source, and no setting by which a condition would be tried on others' rows."""
    rejected(vendor, sql)


def test_no_setting_comes_with_the_request(vendor: Asked) -> None:
    """Settings beside the statement are rejected as those within it."""
    filters = f"{{'classpulse.events_classroom': '{ORACLE}'}}"
    with pytest.raises(DatabaseError, match="readonly"):
        vendor.client.raw_query("SELECT 1", settings={"additional_table_filters": filters})


def test_a_condition_is_never_tried_on_others_rows(vendor: Asked) -> None:
    """A condition on what the view gives is tried on the row of one's own event, and on no other."""
    tried = f"SELECT count() FROM {CALL} WHERE throwIf(type = 'classroom.hand.raised')"
    assert vendor.client.query(tried, parameters=MINE | {"id": "never sent"}).result_rows == [(0,)]
    with pytest.raises(DatabaseError):
        vendor.client.query(tried, parameters=MINE)


def test_the_catalogue_shows_the_one_view(vendor: Asked) -> None:
    """Of tables and columns the vendor sees its view's, and no text of it names another's data."""
    beside = "('system', 'INFORMATION_SCHEMA', 'information_schema')"
    names = vendor.client.query(f"SELECT name FROM system.tables WHERE database NOT IN {beside}")
    columns = vendor.client.query("SELECT DISTINCT table FROM system.columns WHERE database = 'classpulse'").result_rows
    assert names.result_rows == [("vendor_v1_received",)]
    assert set(columns) <= {("vendor_v1_received",)}


def rejected(vendor: Asked, sql: str) -> None:
    """Assert that a statement is rejected, without a word of others' data."""
    with pytest.raises(DatabaseError) as denied:
        vendor.client.raw_query(sql, parameters=MINE)
    told = str(denied.value).replace(sql, "")
    assert not [secret for secret in SECRETS if secret in told and secret not in sql]


def test_the_command_tells_of_one_event(vendor: Asked) -> None:
    """Outcome by outcome, with the remedy of a rejected one; the exit status says whether all are stored."""
    options = {f"--{name}": text for name, text in MINE.items()}
    found = vendor.command(*(part for pair in options.items() for part in pair))
    assert (found.returncode, found.stderr) == (0, "")
    assert "stored" in found.stdout
    assert "2 more came and were dropped" in found.stdout
    lost = vendor.command(*(part for pair in (options | {"--id": REJECTED}).items() for part in pair))
    assert lost.returncode == 1
    assert "data, field data.student_id. Correct the field of data" in lost.stdout
    nothing = vendor.command(*(part for pair in (options | {"--id": "nie\x1b[2J"}).items() for part in pair))
    assert nothing.returncode == 1
    assert "not there" in nothing.stdout
    assert "\x1b" not in nothing.stdout


def test_the_command_takes_events_as_they_were_sent(vendor: Asked) -> None:
    """A file of events gives one object an event."""
    lines = [{"partitionkey": "lesson-1", "source": MINE["source"], "id": name} for name in ("mine-1", REJECTED)]
    found = vendor.command("-", "--json", text="\n\n".join(json.dumps(line) for line in lines))
    first, second = (json.loads(line) for line in found.stdout.splitlines())
    assert (found.returncode, first["stored"], second["stored"]) == (1, True, False)
    assert second["outcomes"][0]["reason"] == "data"


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        ((), "", "key, source and id"),
        (("--key", "k", "--source", "s"), "", "key, source and id"),
        (("-", "--id", "x"), "{}", "Both"),
        (("-",), "nonsense", "Line 1 is no event"),
        (("-",), '\n{"source": "a", "id": "b"}', "Line 2 is no event: it has no partitionkey"),
        (("-",), '{"source": "a", "id": 1, "partitionkey": "k"}', "must be text"),
        (("-",), "[1]", "Line 1 is no event"),
    ],
)
def test_the_command_says_what_it_needs(arguments: tuple[str, ...], text: str, said: str) -> None:
    """What is missing or wrong is said before the database is asked."""
    found = CliRunner().invoke(received, arguments, input=text)
    assert isinstance(found.exception, MustStop)
    assert said in str(found.exception)


@pytest.mark.parametrize(
    ("headers", "value", "expected"),
    [
        ((), b'{"source": "s", "id": "i"}', ["s", "i"]),
        ((("ce_source", b"s"), ("CE_ID", b"i")), b"anything", ["s", "i"]),
        ((("ce_id", b"i"),), b'{"source": "s", "id": "other"}', ["s", "i"]),
        ((), b'{"source": "s", "id": "i", cut', ["s", "i"]),
        ((), b'{"source": 1, "id": ["i"]}', ["", ""]),
        ((), b"[" * 100_000, ["", ""]),
        ((), b'{"source": "s", "id": "i", "data": "' + b"x" * 100_000 + b'"}', ["s", "i"]),
        ((), None, ["", ""]),
        ((), b'{"source": "\\ud800", "id": "i"}', ["\\ud800", "i"]),
    ],
)
def test_attributes_are_read_as_far_as_they_can_be(
    headers: tuple[tuple[str, bytes], ...], value: bytes | None, expected: list[str]
) -> None:
    """From headers, from JSON, from what looks like it; otherwise they are empty."""
    assert readable_attributes(headers, value, ("source", "id")) == expected


def test_a_dead_letter_is_found_by_a_hash_alone() -> None:
    """The hash is what the view computes, and there is none where source or id cannot be read."""
    assert event_hash("s", "i") == hashlib.sha256(b"s\ni").hexdigest()
    assert event_hash("", "i") == event_hash("s", "") == ""
