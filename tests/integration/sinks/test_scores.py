"""Scores and data quality in ClickHouse: what is added when, by which configuration, and what the views say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas.errors import MustStop
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.answers import FAR_FUTURE, bound
from sinks.clickhouse.client import Target
from sinks.evaluation.configs import FIRST_WEEK, activate, config_of, configs
from sinks.evaluation.quality import DISTRICT, quality_of, update_quality
from streams.evaluation.scoring import local_week, step
from tests.integration.sinks.evaluation_data import (
    EVALUATION,
    NOW,
    WEEK,
    WEEK_PANES,
    insert_panes,
    lesson,
    of_week,
    prepare,
    register,
)
from tests.oracle.database import open_client
from tests.services import Databases

RULES = MetricRules()
HOUR = timedelta(hours=1)
#: The same without what teachers, classes and the district would cost in time.
BUNDLES = EVALUATION.replace("    weight: 3\n", "    weight: 3\n    kinds: [school, group]\n", 1).replace(
    "kinds: [school, group, district]", "kinds: [school, group]"
)


@pytest.fixture(scope="module")
def scored(module_database: Target) -> Iterator[Client]:
    """Return a database whose week is scored at every level."""
    client = open_client(module_database)
    prepare(client)
    step(client, RULES, NOW, EVALUATION)
    yield client
    client.close()


@dataclass
class Rig:
    """A database in which only schools and groups are scored; each test has a week of its own."""

    client: Client
    hours: int = 0
    weeks: int = 0

    def week(self) -> date:
        """Store the metrics of another week, an hour later, and score it."""
        self.weeks += 1
        # Further back than a registration reaches.
        found = WEEK - timedelta(days=7 * (self.weeks + 8))
        self.insert(of_week(found, WEEK_PANES))
        self.step()
        return found

    def now(self) -> datetime:
        """Return the time of the rig."""
        return NOW + timedelta(hours=self.hours)

    def insert(self, rows: Iterable[dict[str, Any]]) -> None:
        """Store metrics as of now."""
        insert_panes(self.client, [row | {"recorded_at": self.now()} for row in rows])

    def step(self, text: str | None = None) -> int:
        """Score what is new, and let an hour pass."""
        written = step(self.client, RULES, self.now(), text)
        self.hours += 1
        return written


@pytest.fixture(scope="module")
def rig(databases: Databases) -> Iterator[Rig]:
    """Return a database in which nothing is scored yet."""
    client = open_client(databases.take())
    register(client, *((f"s0{number}", "school.registered", "", "g2" if number == 3 else "g1") for number in (1, 2, 3)))
    found = Rig(client)
    found.step(BUNDLES)
    yield found
    client.close()


def value(client: Client, kind: str, entity_id: str, week: date = WEEK, as_of: datetime = FAR_FUTURE) -> float | None:
    """Return the whole score of an entity, as the contract gives it."""
    rows = client.query(
        "SELECT value FROM v1_scores_as_of(as_of = {as_of:DateTime64(3, 'UTC')}) WHERE kind = {kind:String}"
        " AND entity_id = {entity:String} AND node = '' AND week = {week:Date}",
        parameters=bound({"kind": kind, "entity": entity_id, "week": week, "as_of": as_of}),
    ).result_rows
    assert len(rows) == 1, (kind, entity_id, rows)
    found: float | None = rows[0][0]
    return found


def versions(client: Client, week: date, as_of: datetime = FAR_FUTURE) -> set[int]:
    """Return the configurations that the scores of a week stood on."""
    rows = client.query(
        "SELECT DISTINCT config_version FROM v1_scores_as_of(as_of = {as_of:DateTime64(3, 'UTC')})"
        " WHERE week = {week:Date}",
        parameters=bound({"week": week, "as_of": as_of}),
    ).result_rows
    return {row[0] for row in rows}


def test_a_group_is_scored_from_its_merged_metrics(scored: Client) -> None:
    """A group's score comes from 27 of 30 students and 9 of 13 invited, not from the mean of its schools' scores."""
    expected = 0.75 * (0.75 * 0.8 + 0.25 * 0.9) + 0.25 * 9 / 13
    schools = [value(scored, "school", name) for name in ("s01", "s02")]
    assert value(scored, "group", "g1") == pytest.approx(expected)
    assert schools == pytest.approx([0.6375, 0.934375])
    assert expected != pytest.approx(sum(found or 0 for found in schools) / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "entity_id", "expected"),
    [("teacher", "t-s02", 0.9125), ("class", "s01-c1", 0.65), ("district", DISTRICT, 0.75 * 0.61875 + 0.25 * 9 / 13)],
)
def test_every_kind_has_its_tree(scored: Client, kind: str, entity_id: str, expected: float) -> None:
    """Teachers and classes are scored without what is not for them, the district with everything."""
    assert value(scored, kind, entity_id) == pytest.approx(expected)


def test_a_missing_dimension_lowers_coverage(scored: Client) -> None:
    """A school without research has a score with 0.75 coverage, and none for research."""
    rows = scored.query(
        "SELECT node, value, coverage, figure, sample_size FROM v1_scores WHERE kind = 'school' AND entity_id = 's03'"
        " AND node IN ('', 'research', 'governance/punctual') ORDER BY node"
    ).result_rows
    assert rows == [("", 0, 0.75, None, 1), ("governance/punctual", 0, 1, 300, 1), ("research", None, 0, None, 0)]


def test_teachers_and_classes_have_their_school(scored: Client) -> None:
    """The school is that of the registry; a group has none."""
    rows = scored.query("SELECT DISTINCT kind, entity_id, school_id FROM v1_scores WHERE kind != 'school'").result_rows
    assert {("teacher", "t-s03", "s03"), ("class", "s02-c1", "s02"), ("group", "g1", "")} <= set(rows)


def test_the_tree_has_names_norms_and_order(scored: Client) -> None:
    """v1_score_tree gives the whole tree in its order, with both names and the norm of each indicator."""
    rows = scored.query(
        "SELECT number, node, chinese, english, norm, weight FROM"
        f" v1_score_tree(kind = 'school', entity = 's01', week = '{WEEK}', as_of = '2200-01-01 00:00:00')"
    ).result_rows
    assert [row[0] for row in rows] == list(range(6))
    assert rows[0][1:4] == ("", "试行方案", "Trial")
    assert rows[2][1:] == ("governance/attendance", "出勤率", "attendance", "0.5 → 0, 1 → 1", 0.5625)


def test_what_has_not_changed_is_not_written(rig: Rig) -> None:
    """A second step writes nothing, also when it looks at every week again."""
    rig.week()
    assert rig.step() == 0
    rig.client.command("TRUNCATE TABLE score_runs")
    assert rig.step() == 0


def test_a_revised_metric_revises_what_it_is_in(rig: Rig) -> None:
    """A late lesson of s02 changes its scores and its group's, nothing else; the old ones can be read as of then."""
    week = rig.week()
    names = ("s01", "s02", "s03")
    before, read_at = {name: value(rig.client, "school", name, week) for name in names}, rig.now()
    rig.hours += 1
    rig.insert(of_week(week, lesson("l5", "s02", 0, 300)))
    # Of the school and the group: the whole, the dimension and two indicators.
    assert rig.step() == 8
    after = {name: value(rig.client, "school", name, week) for name in names}
    assert {name for name in names if before[name] != after[name]} == {"s02"}
    assert value(rig.client, "school", "s02", week, as_of=read_at) == before["s02"]


def test_an_entity_without_metrics_is_withdrawn(rig: Rig) -> None:
    """When its only lesson turns out to be another school's, the school has no score any more."""
    week = rig.week()
    rows = rig.client.query(f"SELECT row_id FROM pane_versions WHERE key = 'l4-{week}'").result_rows
    rig.insert(of_week(week, lesson("l4", "s03", 0, 0, live=False, replaces=[row[0] for row in rows])))
    rig.step()
    scored = rig.client.query(f"SELECT DISTINCT entity_id FROM v1_scores WHERE week = '{week}' ORDER BY 1")
    assert scored.result_rows == [("g1",), ("s01",), ("s02",)]


def test_a_school_that_changes_its_group_changes_bundles(rig: Rig) -> None:
    """After a registration the recent weeks are bundled anew, without any new metric."""
    register(rig.client, ("s05", "school.registered", "", "g5"), ("s06", "school.registered", "", "g5"))
    rig.insert([*lesson("l7", "s05", 8, 60), *lesson("l8", "s06", 10, 0)])
    rig.step()
    alone = value(rig.client, "school", "s05")
    assert value(rig.client, "group", "g5") != alone
    register(rig.client, ("s06", "school.registered", "", "g6"), second=9, stored_at=rig.now())
    rig.step()
    assert value(rig.client, "group", "g5") == alone
    assert value(rig.client, "group", "g6") == value(rig.client, "school", "s06")


def test_a_changed_configuration_gets_a_version(rig: Rig) -> None:
    """Other weights score the weeks from theirs on again; the week before keeps its version, also when it is revised."""
    before = rig.week()
    after = WEEK + timedelta(days=70)
    other = BUNDLES.replace("weight: 3, norm", "weight: 5, norm")
    rig.insert(of_week(after, lesson("l9", "s01", 9, 0)))
    rig.step()
    read_at = rig.now()
    rig.hours += 1
    assert activate(rig.client, other, now=rig.now(), from_week=after).version == 2
    rig.insert(of_week(before, lesson("l6", "s01", 9, 0)))
    assert rig.step() > 0
    assert versions(rig.client, before) == {1}
    assert versions(rig.client, after) == {2}
    assert versions(rig.client, after, as_of=read_at) == {1}


def test_activations(database: Target) -> None:
    """The first counts for every week; the same again changes nothing; an earlier content gets its number back."""
    client = open_client(database)
    first, other = EVALUATION, EVALUATION.replace("weight: 3", "weight: 4")
    week = date(2026, 11, 23)
    assert activate(client, first, now=NOW, from_week=week).from_week == FIRST_WEEK
    assert activate(client, "# a note\n" + first, now=NOW + HOUR, from_week=week).version == 1
    assert activate(client, other, now=NOW + HOUR, from_week=week).version == 2
    assert activate(client, first, now=NOW + 2 * HOUR, from_week=week + timedelta(days=7)).version == 1
    assert activate(client, other, now=NOW - HOUR, from_week=week + timedelta(days=14)).activated_at > NOW + 2 * HOUR
    known = configs(client, NOW + 3 * HOUR)
    weeks = [week - timedelta(days=7), week, week + timedelta(days=7)]
    assert [config.version for one in weeks if (config := config_of(known, one))] == [1, 2, 1]
    with pytest.raises(MustStop, match="line"):
        activate(client, first.replace("attendance_rate", "nothing"), now=NOW, from_week=week)
    client.close()


def test_quality_counts(database: Target) -> None:
    """Gaps, late events, duplicates and rejected records of the local week; replays and neighbours of the week left out."""
    client = open_client(database)
    register(client, ("s01", "school.registered", "", "g1"), ("s02", "school.registered", "", "g1"))
    client.command("ALTER TABLE events_registry UPDATE schoolid = '' WHERE 1 SETTINGS mutations_sync = 2")
    monday = "2026-11-15 16:00:00"  # midnight in Shanghai
    events = [
        ("s01", monday, "/a", 1, 0),
        ("s01", "2026-11-16 08:00:00", "/a", 2, 1),
        ("s01", "2026-11-17 08:00:00", "/a", 5, 0),
        ("s01", "2026-11-15 15:59:59", "/a", 0, 0),
        ("s01", "2026-11-22 16:00:00", "/a", 9, 0),
        ("s02", "2026-11-18 08:00:00", "/b", 7, 0),
        ("s02", "2026-11-18 08:00:01", "/c", None, 0),
    ]
    names = ["schoolid", "time", "source", "sequence", "late", "id", "key", "type"]
    rows = [[*event, f"e{number}", "l1", "classroom.hand.raised"] for number, event in enumerate(events)]
    for _replayed in range(2):
        client.insert("events_classroom", rows, column_names=names)
    client.command(
        "INSERT INTO duplicates (topic, partition, position, key, time, source, schoolid) VALUES"
        " ('classpulse.classroom', 0, 1, 'l1', '2026-11-16 08:00:00', '/a', 's01'),"
        " ('classpulse.classroom', 0, 2, 'l1', '2026-11-23 08:00:00', '/a', 's01')"
    )
    client.command(
        "INSERT INTO dead_letters (topic, partition, position, reason, refused_at) VALUES"
        " ('classpulse.classroom', 0, 3, 'data', '2026-11-20 00:00:00')"
    )
    assert update_quality(client, WEEK, RULES.time_zone, NOW) == 4
    assert update_quality(client, WEEK, RULES.time_zone, NOW + HOUR) == 0
    school = quality_of(client, "school", "s01", WEEK, NOW)
    assert [school[name] for name in ("received_share", "late_share", "duplicate_share")] == [3 / 5, 1 / 3, 1 / 4]
    group = quality_of(client, "group", "g1", WEEK, NOW)
    assert (group["sequences_received"], group["sequences_expected"], group["events"], group["sources"]) == (4, 6, 5, 2)
    assert quality_of(client, "district", DISTRICT, WEEK, NOW)["district_dead_letter_share"] == 1 / 6
    assert quality_of(client, "school", "s01", WEEK, NOW - HOUR) == {}
    client.close()


def test_a_weeks_days_are_local(scored: Client) -> None:
    """Sunday evening in UTC is Monday in the district."""
    assert local_week(NOW, RULES) == date(2026, 11, 23)
    late = NOW.replace(day=22, hour=17)
    assert local_week(late, RULES) == date(2026, 11, 23)
    assert local_week(late, MetricRules(time_zone="UTC")) == WEEK


def test_without_metrics_nothing_is_scored(database: Target) -> None:
    """A database without metrics is no error, and gets the packaged default."""
    client = open_client(database)
    assert step(client, RULES, NOW) == 0
    assert [config.version for config in configs(client, NOW)] == [1]
    client.close()
