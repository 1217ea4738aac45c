"""The verifying SQL computes what the naive oracle computes."""

import itertools
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.metrics.catalogue import modules_of
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target
from sinks.verify.verify import metrics_sql, rule_parameters
from tests.oracle.database import insert_checkpoint, insert_events, open_client
from tests.oracle.hostile import activities, lessons, weeks_of_preparation
from tests.oracle.oracle import Event, Metrics, RowKey, expected_rows

Draw = Callable[[str], list[Event]]
KEYS = itertools.count()
RULES = MetricRules()
SLOW = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def client(module_database: Target) -> Iterator[Client]:
    """A database with the product's tables and checkpoints beyond every event."""
    client = open_client(module_database)
    for family in ("classroom", "prep", "research"):
        insert_checkpoint(client, family, position=2**40)
    yield client
    client.close()


def recomputed(client: Client, family: str, key_from: str, key_to: str, rules: MetricRules) -> dict[RowKey, Metrics]:
    """Run the SQL of every module of the family for a range of keys."""
    parameters = {
        "topic": f"classpulse.{family}",
        "key_from": key_from,
        "key_to": key_to,
        "keys": [],
        **rule_parameters(rules),
    }
    rows: list[Any] = []
    for module, metrics in modules_of(family).items():
        query = f"""
            SELECT metric, window, key, item, toUnixTimestamp64Micro(slot), toUnixTimestamp64Micro(window_start),
                   toUnixTimestamp64Micro(window_end), value, numerator, denominator, sample_size, parts
            FROM ({metrics_sql(family, module, places=True)})"""
        found = client.query(query, parameters=parameters).result_rows
        assert {row[0] for row in found} <= set(metrics), module
        rows += found
    figures = {RowKey(*row[:5]): Metrics(*[*row[5:-1], tuple(row[-1])]) for row in rows}
    assert len(figures) == len(rows), "a row came twice"
    return figures


def assert_same(found: dict[RowKey, Metrics], expected: dict[RowKey, Metrics]) -> None:
    """The same rows, floats within the tolerance of verification."""
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        other = found[key]
        assert (other.window_start_us, other.window_end_us, other.sample_size) == (
            row.window_start_us,
            row.window_end_us,
            row.sample_size,
        ), key
        approximate = pytest.approx((row.numerator, row.denominator), rel=1e-9, abs=1e-9)
        assert (other.numerator, other.denominator) == approximate, key
        assert other.value == (None if row.value is None else pytest.approx(row.value, rel=1e-9, abs=1e-9)), key
        assert len(other.parts) == len(row.parts), key
        for one, part in zip(other.parts, row.parts, strict=True):
            assert one == (None if part is None else pytest.approx(part, rel=1e-9, abs=1e-9)), key


def check(client: Client, family: str, draws: list[Draw], rules: MetricRules = RULES) -> None:
    """Store each drawn key's events, recompute them in SQL, and compare with the oracle."""
    keys = [f"k{next(KEYS):08}" for _ in draws]
    events = [event for key, draw in zip(keys, draws, strict=True) for event in draw(key)]
    insert_events(client, events)
    assert_same(recomputed(client, family, keys[0], keys[-1], rules), expected_rows(events, rules))


@settings(SLOW, max_examples=6)
@given(
    st.lists(lessons(), min_size=20, max_size=40),
    st.sampled_from([RULES, MetricRules(engagement_weights=(0.4, 0, 0.1, 2), engagement_full_rate=0.05)]),
)
def test_lessons_as_the_oracle(client: Client, draws: list[Draw], rules: MetricRules) -> None:
    """Metrics 1 to 15 of hostile lessons equal the oracle's."""
    check(client, "classroom", draws, rules)


@SLOW
@given(st.lists(activities(), min_size=10, max_size=20))
def test_activities_as_the_oracle(client: Client, draws: list[Draw]) -> None:
    """Metric 22 of hostile research activities equals the oracle's."""
    check(client, "research", draws)


@pytest.mark.parametrize(
    ("time_zone", "day"),
    [
        ("Asia/Shanghai", date(2026, 11, 16)),
        ("Europe/Berlin", date(2026, 3, 29)),
        ("Europe/Berlin", date(2026, 3, 30)),
        ("Europe/Berlin", date(2026, 10, 25)),
        ("Africa/Cairo", date(2026, 4, 24)),
    ],
)
@SLOW
@given(data=st.data())
def test_preparation_as_the_oracle(client: Client, time_zone: str, day: date, data: st.DataObject) -> None:
    """Metric 16 around midnights, on days of 23, 24 and 25 hours, equals the oracle's."""
    midnight_us = int(datetime.combine(day, time(), ZoneInfo(time_zone)).timestamp()) * 1_000_000
    draws = data.draw(st.lists(weeks_of_preparation(midnight_us), min_size=5, max_size=15))
    check(client, "prep", draws, MetricRules(time_zone))


def test_a_day_of_heartbeats_as_the_oracle(client: Client) -> None:
    """Two days and nights of heartbeats are twelve hours each, over the change of the clocks as well."""
    midnight_us = int(datetime(2026, 10, 24, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * 1_000_000
    beats: list[Event] = [
        {"type": "prep.heartbeat.recorded", "source": "/d", "id": str(n), "time_us": midnight_us + n * 300_000_000}
        for n in range(2 * 288)
    ]
    check(client, "prep", [lambda key: [{**beat, "key": key} for beat in beats]], MetricRules("Europe/Berlin"))


def test_events_beyond_the_checkpoint_do_not_count(client: Client) -> None:
    """What a crashed worker stored beyond its checkpoint leads to no row."""
    event = {"type": "classroom.hand.raised", "key": "beyond", "source": "/d", "id": "1", "time_us": 5, "student_id": "a"}
    insert_events(client, [event], first_position=2**40)
    assert recomputed(client, "classroom", "beyond", "beyond", RULES) == {}


def test_replayed_events_count_once(client: Client) -> None:
    """The same event stored twice by a replay has one effect."""
    event = {"type": "classroom.hand.raised", "key": "twice", "source": "/d", "id": "1", "time_us": 5, "student_id": "a"}
    insert_events(client, [event])
    insert_events(client, [event])
    assert_same(recomputed(client, "classroom", "twice", "twice", RULES), expected_rows([event], RULES))


@pytest.mark.parametrize(("stay_us", "effective"), [(80_000_000, 1), (79_999_999, 0)])
def test_exactly_80_percent_is_effective(client: Client, stay_us: int, effective: int) -> None:
    """Who stays 80 % of the scheduled time took part effectively; a microsecond less is not enough."""
    plan = {"invited": ["t"], "scheduled_start_us": 0, "scheduled_end_us": 100_000_000}
    key = f"stay-{stay_us}"
    events = [
        {"type": "research.activity.published", "key": key, "source": "/d", "id": "1", "time_us": 0, **plan},
        {"type": "research.participant.joined", "key": key, "source": "/d", "id": "2", "time_us": 7, "teacher_id": "t"},
        {"type": "research.participant.left", "key": key, "source": "/d", "id": "3", "time_us": 7 + stay_us}
        | {"teacher_id": "t"},
    ]
    insert_events(client, events)
    found = recomputed(client, "research", key, key, RULES)
    assert found[RowKey("effective_participation_rate", "activity", key, "", 0)].numerator == effective
    assert_same(found, expected_rows(events, RULES))
