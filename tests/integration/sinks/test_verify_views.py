"""The view of research participation merges numerators and denominators."""

from collections.abc import Iterator
from datetime import date

import pytest
from clickhouse_connect.driver.client import Client

from sinks.clickhouse.client import Target
from tests.oracle.database import insert_events, insert_rows, open_client
from tests.oracle.oracle import Event, expected_rows

DAY_US = 86_400_000_000
#: 2026-11-16T15:59:00Z, a minute before midnight in Shanghai.
END_US = 1_794_787_200_000_000 + DAY_US * 2 // 3 - 60_000_000


@pytest.fixture(scope="module")
def client(module_database: Target) -> Iterator[Client]:
    """A database with the product's tables."""
    client = open_client(module_database)
    yield client
    client.close()


def activity(key: str, school: str, end_us: int, invited: int, came: int) -> list[Event]:
    """An activity of 100 s to which the first ``came`` teachers came in time."""
    teachers = [f"t{n}" for n in range(invited)]
    start_us = end_us - 100_000_000
    published = {
        "type": "research.activity.published",
        "key": key,
        "source": "/d",
        "id": f"{key}-p",
        "time_us": start_us - 1,
        "schoolid": school,
        "invited": teachers,
        "scheduled_start_us": start_us,
        "scheduled_end_us": end_us,
    }
    joined = [
        {
            "type": "research.participant.joined",
            "key": key,
            "source": "/d",
            "id": f"{key}-{teacher}",
            "time_us": start_us + (50_000_000 if n else 0),
            "teacher_id": teacher,
        }
        for n, teacher in enumerate(teachers[:came])
    ]
    return [published, *joined]


def test_research_participation_of_28_days(client: Client) -> None:
    """Sums over sums, by local day of the scheduled end; 28 days and no more; NULL where nobody was invited."""
    events = [
        *activity("a1", "s1", END_US, invited=10, came=2),
        *activity("a2", "s1", END_US + 120_000_000, invited=2, came=2),
        *activity("a3", "s2", END_US, invited=0, came=0),
    ]
    insert_events(client, events)
    insert_rows(client, "research", expected_rows(events, "Asia/Shanghai").items())
    rows = client.query("SELECT * FROM v1_research_participation_28d ORDER BY school_id, day").result_rows
    first, last = date(2026, 11, 16), date(2026, 12, 14)
    assert rows[0] == ("s1", first, 1, 10.0, 2.0, 1.0, 0.2, 0.1)
    assert rows[1] == ("s1", date(2026, 11, 17), 2, 12.0, 4.0, 2.0, 4 / 12, 2 / 12)
    assert [row[1] for row in rows if row[0] == "s1"][-1] == last
    assert rows[28] == ("s1", last, 1, 2.0, 2.0, 1.0, 1.0, 0.5)
    assert rows[29] == ("s2", first, 1, 0.0, 0.0, 0.0, None, None)
    assert len(rows) == 29 + 28
