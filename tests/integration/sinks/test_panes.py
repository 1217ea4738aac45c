"""Closed metrics are taken over to the places they belong to, with their history."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas.metrics.catalogue import CATALOGUE_VERSION
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target, connect
from sinks.evaluation import closed_metrics as panes
from tests.oracle.database import insert_checkpoint, insert_events

RULES = MetricRules(time_zone="Asia/Shanghai")
T0 = datetime(2026, 11, 16, 0, 30, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)
TOPIC = {
    "lesson": "classroom",
    "place": "classroom",
    "student": "classroom",
    "iso_week": "prep",
    "activity": "research",
    "participant": "research",
}
TABLES = (
    "events_classroom",
    "events_prep",
    "events_research",
    "events_registry",
    "metric_rows",
    "checkpoints",
    "figure_keys",
    "pane_keys",
    "pane_versions",
)
#: What counts at an instant, in the words of the migration.
AS_OF = """
    SELECT school_id, class_id, teacher_id, course, grade, day, window, key, metric, item, numerator, denominator, parts,
        earlier
    FROM pane_versions WHERE recorded_at <= %(as_of)s AND live
    AND row_id NOT IN (SELECT arrayJoin(replaces) FROM pane_versions WHERE recorded_at <= %(as_of)s)
    ORDER BY ALL"""


def us(at: datetime) -> int:
    """Return microseconds since the epoch."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass
class District:
    """A database in which events and metrics appear as a worker writes them."""

    client: Client
    position: int = 0

    def event(self, kind: str, key: str, at: datetime = T0, **fields: Any) -> None:
        """Store an event."""
        self.position += 1
        event = {"type": kind, "key": key, "time_us": us(at), "source": "/s", "id": f"e{self.position}", **fields}
        insert_events(self.client, [event], first_position=self.position)

    def started(
        self,
        key: str,
        school: str = "s1",
        class_: str = "c1",
        teacher: str = "t1",
        at: datetime = T0,
        roster: tuple[str, ...] = ("甲",),
    ) -> None:
        """Store a lesson.started of a lesson of 40 minutes."""
        self.event(
            "classroom.lesson.started",
            key,
            at,
            schoolid=school,
            classid=class_,
            teacher_id=teacher,
            course="数学",
            grade=5,
            mode="standard",
            roster=list(roster),
            scheduled_start_us=us(at),
            scheduled_end_us=us(at + timedelta(minutes=40)),
        )

    def figure(self, metric: str, window: str, key: str, numerator: float = 1, **other: Any) -> None:
        """Store a metric; a later one takes the place of an earlier one."""
        self.position += 1
        values = {
            "metric": metric,
            "window": window,
            "key": key,
            "item": "",
            "slot": datetime(1970, 1, 1, tzinfo=UTC),
            "window_start": T0,
            "window_end": T0 + timedelta(minutes=40),
            "value": numerator / 2,
            "numerator": numerator,
            "denominator": 2,
            "sample_size": 1,
            "parts": [],
            "catalogue_version": CATALOGUE_VERSION,
            "topic": f"classpulse.{TOPIC[window]}",
            "partition": 0,
            "revision": self.position,
        } | other
        self.client.insert("metric_rows", [list(values.values())], column_names=list(values))

    def watermark(self, family: str, at: datetime) -> None:
        """Say that no event before ``at`` is expected any more."""
        self.position += 1
        insert_checkpoint(self.client, family, self.position, watermark=at)

    def step(self, now: datetime = NOW) -> int:
        """Run the step."""
        return panes.step(self.client, RULES, now)

    def as_of(self, instant: datetime = FAR) -> list[dict[str, Any]]:
        """Return what counts at that instant."""
        return list(self.client.query(AS_OF, parameters={"as_of": instant}).named_results())


@pytest.fixture(scope="module")
def client(module_database: Target) -> Iterator[Client]:
    """A database for all tests here; making one takes longer than a test."""
    client = connect(module_database)
    yield client
    client.close()


@pytest.fixture
def district(client: Client) -> District:
    """An empty database in which all windows until 1 December are closed."""
    for table in TABLES:
        client.command(f"TRUNCATE TABLE {table}")
    district = District(client)
    for family in ("classroom", "prep", "research"):
        district.watermark(family, NOW)
    return district


def test_lesson_has_its_place_and_its_local_day(district: District) -> None:
    """A lesson at 00:30 local time belongs to the local day; a second step writes nothing."""
    at = datetime(2026, 11, 15, 16, 30, tzinfo=UTC)
    district.started("课-1", at=at)
    district.figure("response_rate", "lesson", "课-1", window_start=at)
    assert district.step() == 1
    assert district.step() == 0
    (row,) = district.as_of()
    place = [row[name] for name in ("school_id", "class_id", "teacher_id", "course", "grade")]
    assert place == ["s1", "c1", "t1", "数学", 5]
    assert row["day"] == date(2026, 11, 16)


def test_dual_teacher_lesson_has_two_places(district: District) -> None:
    """Each class of a 双师 lesson has its own metrics and students, and the teacher's talk stays where the teacher is.

    Of two starts in one class the earlier counts. A guest, and who is on both rosters, counts once.
    """
    district.started("l", "s1", "c1", "t1", roster=("甲", "乙"))
    district.started("l", "s2", "c9", "t9", T0 + timedelta(seconds=5), roster=("乙", "丙"))
    district.started("l", "s2", "c9", "t8", T0 + timedelta(seconds=9))
    district.figure("response_rate", "lesson", "l", 3)
    district.figure("response_rate", "place", "l", 1, item="s1/c1")
    district.figure("response_rate", "place", "l", 2, item="s2/c9")
    district.figure("teacher_talk_share", "lesson", "l", 5)
    for student in ("甲", "乙", "丙", "guest"):
        district.figure("student_lesson", "student", "l", item=student)
    assert district.step() == 7
    names = ("school_id", "class_id", "teacher_id", "window", "metric", "item")
    assert {(*(row[name] for name in names), row["numerator"]) for row in district.as_of()} == {
        ("s1", "c1", "t1", "lesson", "response_rate", "", 1),
        ("s2", "c9", "t9", "lesson", "response_rate", "", 2),
        ("s1", "c1", "t1", "lesson", "teacher_talk_share", "", 5),
        *(("s1", "c1", "t1", "student", "student_lesson", student, 1) for student in ("甲", "乙", "guest")),
        ("s2", "c9", "t9", "student", "student_lesson", "丙", 1),
    }
    assert district.step(NOW + timedelta(minutes=1)) == 0


def test_nobody_takes_a_lesson_over(district: District) -> None:
    """A start from a class that the registry does not know gets nothing of a lesson of one that it knows, however early."""
    district.event("registry.class.registered", "c1", school_id="s1", grade=5, name="c1")
    district.started("l", "s1", "c1", "t1")
    district.started("l", "s9", "c1", "thief", T0 - timedelta(seconds=5), roster=("甲",))
    district.figure("teacher_talk_share", "lesson", "l")
    district.figure("response_rate", "lesson", "l", 5)
    for number, side in enumerate(("s1/c1", "s9/c1"), start=1):
        district.figure("response_rate", "place", "l", number, item=side)
    district.figure("student_lesson", "student", "l", item="甲")
    district.step()
    found = {(row["school_id"], row["teacher_id"], row["metric"], row["numerator"]) for row in district.as_of()}
    assert found == {
        ("s1", "t1", "teacher_talk_share", 1),
        ("s1", "t1", "response_rate", 1),
        ("s1", "t1", "student_lesson", 1),
    }
    told = "SELECT school_id, class_id, teacher_id FROM v1_lessons"
    assert district.client.query(told).result_rows == [("s1", "c1", "t1")]
    foreign = "SELECT lesson_id, school_id, class_id, teacher_id FROM v1_foreign_starts"
    assert district.client.query(foreign).result_rows == [("l", "s9", "c1", "thief")]


def test_open_lesson_waits_until_it_is_closed(district: District) -> None:
    """A lesson without an end enters once its scheduled end and 30 minutes are past, though its window ended before."""
    start = NOW - timedelta(minutes=50)
    district.started("l", at=start)
    district.figure("response_rate", "lesson", "l", window_start=start, window_end=start + timedelta(minutes=20))
    assert district.step() == 0
    district.watermark("classroom", start + timedelta(minutes=69))
    assert district.step() == 0
    district.watermark("classroom", start + timedelta(minutes=70))
    assert district.step() == 1


def test_ended_lesson_enters_at_its_end(district: District) -> None:
    """With lesson.ended the lesson is closed as soon as the watermark has passed it."""
    start = NOW - timedelta(minutes=50)
    district.started("l", at=start)
    district.event("classroom.lesson.ended", "l", start + timedelta(minutes=45))
    district.figure("response_rate", "lesson", "l", window_end=start + timedelta(minutes=45))
    assert district.step() == 1


def test_closing_is_noticed_without_a_new_metric(district: District) -> None:
    """A week that was open when it was written enters when the watermark passes, however long after."""
    district.figure("reuse_rate", "iso_week", "t1", window_end=NOW + timedelta(days=3))
    assert district.step() == 0
    district.client.command("INSERT INTO figure_keys SELECT topic, key, changed_at - 86400 FROM figure_keys")
    handled = "INSERT INTO pane_keys SELECT topic, key, partition, now64(3) + 86400, next_close FROM pane_keys FINAL"
    district.client.command(handled)
    assert district.step() == 0
    district.watermark("prep", NOW + timedelta(days=3))
    assert district.step() == 1


def test_revised_metric_keeps_its_history(district: District) -> None:
    """A revised metric is another version; the one before is what is read as of an instant before."""
    district.started("l")
    district.figure("response_rate", "lesson", "l", numerator=1)
    district.figure("correct_rate", "lesson", "l", numerator=1)
    district.step(NOW)
    district.figure("response_rate", "lesson", "l", numerator=2)
    assert district.step(NOW + timedelta(hours=1)) == 1
    then, now = district.as_of(NOW), district.as_of()
    assert [row["numerator"] for row in then if row["metric"] == "response_rate"] == [1]
    assert [row["numerator"] for row in now if row["metric"] == "response_rate"] == [2]
    assert len(then) == len(now) == 2


def test_revision_in_the_same_instant(district: District) -> None:
    """A version written with the clock of the one before, or an earlier one, still takes its place."""
    district.started("l")
    for numerator, now in ((1, NOW), (2, NOW), (3, NOW - timedelta(days=1))):
        district.figure("response_rate", "lesson", "l", numerator=numerator)
        assert district.step(now) == 1
    assert [row["numerator"] for row in district.as_of()] == [3]


def test_metric_leaves_a_place_that_is_no_longer_right(district: District) -> None:
    """An earlier lesson.started that comes late moves the lesson to its teacher and day; the old place is withdrawn."""
    district.started("l", teacher="t1")
    district.figure("response_rate", "lesson", "l")
    district.step(NOW)
    early = T0 - timedelta(days=1)
    district.started("l", teacher="t2", at=early)
    district.figure("response_rate", "lesson", "l", window_start=early)
    assert district.step(NOW + timedelta(hours=1)) == 2
    assert [(row["teacher_id"], row["day"]) for row in district.as_of(NOW)] == [("t1", date(2026, 11, 16))]
    assert [(row["teacher_id"], row["day"]) for row in district.as_of()] == [("t2", date(2026, 11, 15))]
    assert district.step(NOW + timedelta(hours=2)) == 0


def test_null_parts_are_equal_to_themselves(district: District) -> None:
    """A metric whose value and parts are NULL is not written again; the full rate stands behind the weights."""
    district.started("l")
    parts = [None, 0.5, None, 1.0, 0.25, 0.25, 0.25, 0.25]
    district.figure("engagement_index", "lesson", "l", value=None, denominator=0, numerator=0, parts=parts)
    assert district.step() == 1
    assert district.step() == 0
    assert district.as_of()[0]["parts"] == [*parts, RULES.engagement_full_rate]


def test_teachers_school_comes_from_the_registry(district: District) -> None:
    """A week belongs to the latest event's school until the registry names one; a later registration moves it."""
    district.event("prep.plan.opened", "t1", schoolid="s5")
    district.event("prep.plan.opened", "t1", T0 + timedelta(hours=1))
    district.figure("reuse_rate", "iso_week", "t1", window_start=datetime(2026, 11, 15, 16, tzinfo=UTC))
    assert district.step(NOW) == 1
    district.event("registry.teacher.registered", "t1", school_id="s7", course="语文")
    assert district.step(NOW + timedelta(hours=1)) == 2
    (row,) = district.as_of()
    assert (row["school_id"], row["teacher_id"], row["course"], row["day"]) == ("s7", "t1", "语文", date(2026, 11, 16))
    assert [row["school_id"] for row in district.as_of(NOW)] == ["s5"]


def test_places_of_research(district: District) -> None:
    """An activity belongs to the host's school; a participant's part to the participant's own, as far as it is known."""
    district.event("registry.teacher.registered", "t1", school_id="s7", course="语文")
    district.event("research.activity.published", "a", schoolid="s1", host_id="h")
    district.figure("participation_rate", "activity", "a")
    district.figure("participant_activity", "participant", "a", item="t1")
    district.figure("participant_activity", "participant", "a", item="t2")
    assert district.step() == 3
    places = [(row["window"], row["school_id"], row["teacher_id"], row["course"]) for row in district.as_of()]
    assert sorted(places) == [
        ("activity", "s1", "h", ""),
        ("participant", "s1", "t2", ""),
        ("participant", "s7", "t1", "语文"),
    ]
    district.event("registry.teacher.registered", "t2", school_id="s8", course="数学")
    assert district.step() == 2
    assert ("s8", "t2") in {(row["school_id"], row["teacher_id"]) for row in district.as_of()}


def test_unplaced_metrics_stay_out(district: District) -> None:
    """A lesson without lesson.started belongs nowhere; it enters when one comes."""
    district.figure("tool_share", "lesson", "l")
    assert district.step() == 0
    district.started("l")
    district.figure("tool_share", "lesson", "l")
    assert district.step() == 1


def test_two_rows_that_both_count_are_replaced_by_one(district: District) -> None:
    """What two evaluators, or an insert that was repeated, wrote twice counts once after the next step."""
    district.started("l")
    district.figure("response_rate", "lesson", "l")
    district.step()
    district.client.command("INSERT INTO pane_versions SELECT * FROM pane_versions")
    other = "SELECT * REPLACE (row_id + 1 AS row_id) FROM pane_versions LIMIT 1"
    district.client.command(f"INSERT INTO pane_versions {other}")
    assert len(district.as_of()) == 3
    assert district.step(NOW + timedelta(hours=1)) == 1
    assert len(district.as_of()) == 1


def test_many_keys_in_several_statements(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that do not fit into one statement are taken over by several."""
    monkeypatch.setattr(panes, "KEYS_PER_STATEMENT", 2)
    for number in range(5):
        district.started(f"l{number}'\\")
        district.figure("response_rate", "lesson", f"l{number}'\\")
    assert district.step() == 5
    assert district.step() == 0


def test_an_activity_that_nobody_announced_belongs_to_the_school_its_events_name(district: District) -> None:
    """Its reports count for the school that the first event with a school names, and for no host."""
    district.event("research.contribution.posted", "a1", teacher_id="t1")
    district.event("research.report.generated", "a1", T0 + timedelta(minutes=1), report_id="r1", schoolid="s3")
    district.event("research.participant.joined", "a1", T0 + timedelta(minutes=2), teacher_id="t1", schoolid="s4")
    district.figure("reports_generated", "activity", "a1")
    district.watermark("research", NOW + timedelta(days=30))
    district.step()
    assert [(row["school_id"], row["teacher_id"]) for row in district.as_of()] == [("s3", "")]


def test_what_looks_ahead_closes_when_its_evidence_is_in(district: District) -> None:
    """A plan completed in the week may be taught until two weeks after it: until then nothing is taken over."""
    week_end = T0 + timedelta(days=7)
    district.event("prep.plan.completed", "t1", schoolid="s1")
    for metric in ("plan_to_class_rate", "active_prep_minutes"):
        district.figure(metric, "iso_week", "t1", slot=T0, window_end=week_end)
    district.watermark("prep", week_end + timedelta(days=14) - timedelta(microseconds=1))
    district.step()
    assert {row["metric"] for row in district.as_of()} == {"active_prep_minutes"}
    district.watermark("prep", week_end + timedelta(days=14))
    district.step(NOW + timedelta(minutes=1))
    assert {row["metric"] for row in district.as_of()} == {"active_prep_minutes", "plan_to_class_rate"}
