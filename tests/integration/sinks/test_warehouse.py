"""The connection to ClickHouse: what is repeated, what is given up, and what it says then."""

import re
import threading
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from clickhouse_connect.driver.binding import format_bind_value
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError, ProgrammingError

from schemas.errors import MustStop, Rejected, RetryLater, RowsRejected, Stopping, Unreachable
from schemas.events.event_types import FAMILIES
from sinks.clickhouse.answers import in_parts
from sinks.clickhouse.client import Target, Warehouse, connect
from sinks.clickhouse.errors import ATTEMPTS_AT_UNKNOWN, PASSING, REMEDIES, ROW_FAULTS, classify

NOWHERE = Target("http://127.0.0.1:9", "someone", "hidden-password", "classpulse", 2.0)


def test_a_password_never_shows() -> None:
    """The text form of a target does not hold its password."""
    assert "hidden-password" not in repr(NOWHERE)


def test_a_server_that_is_away_is_worth_another_try() -> None:
    """A refused connection is an error to retry, and does not show the password."""
    with pytest.raises(RetryLater) as caught:
        connect(NOWHERE)
    assert "hidden-password" not in str(caught.value)


def test_an_address_that_is_none_names_the_setting() -> None:
    """A malformed address stops at once and says which setting to correct."""
    with pytest.raises(MustStop, match="CLASSPULSE_CLICKHOUSE_URL"):
        connect(replace(NOWHERE, url="localhost:8123"))


def test_a_wrong_password_stops_with_the_remedy(clickhouse: Target) -> None:
    """A bad credential is not retried; the error names the settings."""
    with pytest.raises(MustStop, match="CLASSPULSE_CLICKHOUSE_PASSWORD"):
        Warehouse(replace(clickhouse, password="wrong")).query("ask", "SELECT 1")


def test_a_missing_column_stops_and_says_which(warehouse: Warehouse) -> None:
    """An insert into a column that is not there stops with its name and the remedy."""
    with pytest.raises(MustStop, match=r"(?s)no_such_column.*classpulse migrate"):
        warehouse.insert("checkpoints", pl.DataFrame({"topic": ["t"], "no_such_column": [1]}))


def test_a_missing_table_stops_with_the_remedy(warehouse: Warehouse) -> None:
    """A query to a table that is not there tells to migrate."""
    with pytest.raises(MustStop, match="classpulse migrate"):
        warehouse.query("read nothing", "SELECT * FROM no_such_table")


def test_waiting_ends_when_told_to_stop() -> None:
    """A call that waits for an absent database gives up as soon as the process is to stop."""
    stop, tried = threading.Event(), threading.Event()
    warehouse = Warehouse(NOWHERE, stop=stop, on_retry=lambda _what, _error: tried.set())

    def stop_at_the_first_retry() -> None:
        tried.wait()
        stop.set()

    threading.Thread(target=stop_at_the_first_retry).start()
    with pytest.raises(Stopping):
        warehouse.query("ask", "SELECT 1")


def test_a_call_is_repeated_until_it_succeeds(clickhouse: Target) -> None:
    """Errors that can pass are retried, and the retries are reported."""
    retries: list[str] = []
    warehouse = Warehouse(clickhouse, on_retry=lambda what, _error: retries.append(what))
    failures = iter([OSError("reset"), OSError("reset")])

    def flaky(client: object) -> str:
        error = next(failures, None)
        if error is not None:
            raise error
        return "done"

    assert warehouse.call("try", flaky) == "done"
    assert retries == ["try", "try"]


def test_an_answer_that_does_not_change_is_not_asked_for_for_ever(clickhouse: Target) -> None:
    """A code of which nothing is known is tried a few times, then stops with what ClickHouse said."""
    retries: list[str] = []
    warehouse = Warehouse(clickhouse, on_retry=lambda what, _error: retries.append(what))
    with pytest.raises(Rejected, match=r"(?s)Could not ask.*ILLEGAL_TYPE_OF_ARGUMENT") as caught:
        warehouse.query("ask", "SELECT toDate([1])")
    assert caught.value.code == 43
    assert len(retries) == ATTEMPTS_AT_UNKNOWN - 1
    assert clickhouse.url not in str(caught.value)


def test_every_code_is_what_its_name_says(clickhouse: Target) -> None:
    """The lists of codes hold ClickHouse's own names, and no code stands in two of them."""
    named = PASSING | ROW_FAULTS
    found = Warehouse(clickhouse).query(
        "name the codes",
        "SELECT arrayJoin({codes:Array(UInt32)}) AS code, errorCodeToName(code) AS name",
        {"codes": [*named]},
    )
    assert dict(found.rows()) == named
    assert len(PASSING.keys() | ROW_FAULTS.keys() | REMEDIES.keys()) == len(PASSING) + len(ROW_FAULTS) + len(REMEDIES)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("Error connecting"), Unreachable),
        (OSError("reset"), Unreachable),
        (DatabaseError("HTTP driver received HTTP status 503"), Unreachable),
        (DatabaseError("HTTP driver received HTTP status 404"), Rejected),
        (DatabaseError("Memory limit exceeded", code=241), RetryLater),
        (DatabaseError("Too many parts (300) in all", code=252), RetryLater),
        (DatabaseError("Too many partitions for single INSERT block (more than 100)", code=252), Rejected),
        (DatabaseError("Constraint is violated", code=469), RowsRejected),
        (DatabaseError("Constraint is violated: while pushing to view x", code=469), Rejected),
        (DatabaseError("Illegal type", code=43), Rejected),
        (ProgrammingError("no such parameter"), Rejected),
        (DatabaseError("Unknown table", code=60), MustStop),
    ],
)
def test_what_can_be_done_about_an_error(error: Exception, expected: type[Exception]) -> None:
    """No answer, an answer that passes, one that stays, and one about a row are told apart."""
    assert type(classify(error, "try")) is expected


def test_every_table_divided_into_months_can_be_written_for_many_years(warehouse: Warehouse) -> None:
    """The tables of events, which alone hold times of many months in one write, are divided by their column ``time``."""
    found = warehouse.query(
        "read",
        "SELECT name FROM system.tables"
        " WHERE database = currentDatabase() AND partition_key = 'toYYYYMM(time)' ORDER BY name",
    )
    assert found["name"].to_list() == sorted(family.table for family in FAMILIES)


def test_long_lists_are_asked_about_in_parts_that_a_server_takes(warehouse: Warehouse) -> None:
    """A list of keys of any length and any characters arrives whole, each part within what a server takes."""
    keys = [f"{number} 课堂'\"\\\t\n`{{x:Int8}}%s" * 4 for number in range(3_000)]
    parts = list(in_parts(keys, 2_000))
    assert [key for part in parts for key in part] == keys
    found = [
        warehouse.query("ask", "SELECT arrayJoin({keys:Array(String)}) AS key", {"keys": part})["key"].to_list()
        for part in parts
    ]
    assert found == parts
    assert all(len(format_bind_value(part).encode()) < 131_072 for part in parts)


def test_times_and_text_survive_the_way_there_and_back(warehouse: Warehouse) -> None:
    """Microseconds and Chinese text come back as they went."""
    rows = pl.DataFrame({"topic": ["教研"], "partition": [7], "max_time_us": [1_794_787_200_123_456]})
    warehouse.insert("checkpoints", rows)
    found = warehouse.query("read", "SELECT topic, toUnixTimestamp64Micro(max_time) AS us FROM checkpoints")
    assert found.rows() == [("教研", 1_794_787_200_123_456)]


def test_values_are_bound_by_the_server_alone() -> None:
    """No statement has a ``%(name)s``: what a client writes in has the type of the number that it happens to be."""
    root = Path(__file__).parents[3]
    sources = [path for part in ("sinks", "streams") for path in (root / part).rglob("*.py")]
    lines = [(path.name, line) for path in sources for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) > 10_000
    assert [found for found in lines if re.search(r"%\(\w+\)s", found[1]) and "asctime" not in found[1]] == []


def test_quotes_in_parameters_are_only_text(warehouse: Warehouse) -> None:
    """A parameter cannot break out of its quotes."""
    hostile = "x' OR 1=1 -- \\"
    found = warehouse.query("ask", "SELECT {text:String} AS text", {"text": hostile})
    assert found["text"].to_list() == [hostile]
