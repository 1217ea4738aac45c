"""The share of the registered teachers who prepared counts those who did nothing."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.client import Target
from tests.oracle.database import open_client

MONDAY = date(2026, 11, 16)
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def client(database: Target) -> Iterator[Client]:
    """Four teachers of a school, one of whom moves to another one in the second week; two of them prepare in the first."""
    client = open_client(database)
    places = [(teacher, date(1970, 1, 5), "s1") for teacher in ("t1", "t2", "t3", "t4")]
    places += [("t4", MONDAY + timedelta(weeks=1), "s2"), ("t3", MONDAY + timedelta(weeks=1), "")]
    client.insert(
        "portrait_places",
        [["teacher", teacher, since, school, "", 1, NOW] for teacher, since, school in places],
        column_names=["kind", "entity_id", "from_week", "school_id", "peer_group", "live", "recorded_at"],
    )
    minutes = [("t1", MONDAY, 90.0), ("t2", MONDAY, 0.0), ("t4", MONDAY, 5.0), ("t4", MONDAY + timedelta(weeks=1), 5.0)]
    client.insert(
        "pane_versions",
        [
            ["prep", "s1", teacher, day, "iso_week", teacher, "active_prep_minutes", minute, 1.0, minute, True, NOW, number]
            for number, (teacher, day, minute) in enumerate(minutes, start=1)
        ],
        column_names=[
            *("family", "school_id", "teacher_id", "day", "window", "key", "metric"),
            *("numerator", "denominator", "value", "live", "recorded_at", "row_id"),
        ],
    )
    yield client
    client.close()


def test_who_did_nothing_counts(client: Client) -> None:
    """Two of four prepared, one of them for no minute; who moved counts where they are, and who left nowhere."""
    found = client.query(
        "SELECT school_id, week, registered, prepared, prepared_share FROM v1_prepared_share ORDER BY week, school_id"
    ).result_rows
    later = MONDAY + timedelta(weeks=1)
    assert found == [("s1", MONDAY, 4, 2, 0.5), ("s1", later, 2, 0, 0.0), ("s2", later, 1, 1, 1.0)]
