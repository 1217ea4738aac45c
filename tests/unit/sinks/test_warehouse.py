"""The connection to ClickHouse: what is repeated, what is given up, and what it says then."""

import threading
from dataclasses import replace

import polars as pl
import pytest

from schemas.errors import MustStop, RetryLater, Stopping
from sinks.warehouse import Target, Warehouse, connect

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
    threading.Thread(target=lambda: (tried.wait(), stop.set())).start()
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


def test_times_and_text_survive_the_way_there_and_back(warehouse: Warehouse) -> None:
    """Microseconds and Chinese text come back as they went."""
    rows = pl.DataFrame({"topic": ["教研"], "partition": [7], "max_time_us": [1_794_787_200_123_456]})
    warehouse.insert("checkpoints", rows)
    found = warehouse.query("read", "SELECT topic, toUnixTimestamp64Micro(max_time) AS us FROM checkpoints")
    assert found.rows() == [("教研", 1_794_787_200_123_456)]


def test_quotes_in_parameters_are_only_text(warehouse: Warehouse) -> None:
    """A parameter cannot break out of its quotes."""
    hostile = "x' OR 1=1 -- \\"
    found = warehouse.query("ask", "SELECT %(text)s AS text", {"text": hostile})
    assert found["text"].to_list() == [hostile]
