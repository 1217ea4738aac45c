"""The portraits in the database: added as what they are made of changes, kept as they were, found wrong where they are."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target
from sinks.verify.portraits import verify_portraits
from streams.evaluation.portraits import step
from tests.oracle.database import open_client

RULES = MetricRules()
MONDAY = date(2026, 9, 7)
STUDENTS = [f"学生{number}" for number in range(12)]
PANE_COLUMNS = (
    "family",
    "school_id",
    "class_id",
    "teacher_id",
    "grade",
    "day",
    "window",
    "key",
    "metric",
    "item",
    "value",
    "numerator",
    "denominator",
    "sample_size",
    "parts",
    "live",
    "recorded_at",
    "row_id",
    "replaces",
)
REGISTRY_COLUMNS = (
    "key",
    "time",
    "source",
    "id",
    "type",
    "school_id",
    "group_id",
    "stage",
    "career_stage",
    "course",
    "students",
)
Pane = list[Any]


def at(day: date, hour: int = 0) -> datetime:
    """Return an hour of the day, in UTC."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def attended(student: str, day: date, share: float, lesson: str = "") -> Pane:
    """Return what one student did in one lesson of 40 minutes; nothing but to be there."""
    parts = [2400.0, 2400.0 * share, 2400.0 * share, *([0.0] * 10)]
    return _pane("classroom", day, "student", lesson or f"lesson-{day}", "student_lesson", student, 0.0, 1.0, parts)


def of_class(day: date, share: float) -> Pane:
    """Return the attendance of one lesson of the class."""
    return _pane("classroom", day, "lesson", f"lesson-{day}", "attendance_rate", "", share, 1.0, [])


def prepared(teacher: str, monday: date, minutes: float) -> Pane:
    """Return the active preparation minutes of one week."""
    return _pane("prep", monday, "iso_week", teacher, "active_prep_minutes", "", minutes, 1.0, [])


def _pane(
    family: str,
    day: date,
    window: str,
    key: str,
    metric: str,
    item: str,
    numerator: float,
    denominator: float,
    parts: list[float],
) -> Pane:
    place = [family, "s1", "c1", "t1", 5, day, window, key, metric, item]
    return [*place, numerator / denominator, numerator, denominator, 1, parts, True]


def a_week(seed: int) -> list[Pane]:
    """Return five days on which each student attended a part of a lesson, and the week of a teacher."""
    shares = random.Random(seed)
    lessons = [attended(who, MONDAY + timedelta(days=day), shares.random()) for day in range(5) for who in STUDENTS]
    classes = [of_class(MONDAY + timedelta(days=day), shares.random()) for day in range(5)]
    return [*lessons, *classes, prepared("t1", MONDAY, 120.0)]


class District:
    """A database with a registry of one school, and a clock: each step is an hour later."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.now = at(MONDAY + timedelta(days=13))
        self._row_id = 0
        entries: list[dict[str, Any]] = [
            {"key": "s1", "type": "registry.school.registered", "group_id": "g1", "stage": "primary"},
            {"key": "t1", "type": "registry.teacher.registered", "school_id": "s1", "career_stage": "expert"},
            {"key": "c1", "type": "registry.class.registered", "school_id": "s1"},
            {"key": "c1", "type": "registry.roster.registered", "students": STUDENTS},
        ]
        rows = [
            {"time": at(MONDAY), "source": "registry", "id": str(number), **entry} for number, entry in enumerate(entries)
        ]
        empty: dict[str, Any] = {"students": []}
        data = [[row.get(name, empty.get(name, "")) for name in REGISTRY_COLUMNS] for row in rows]
        client.insert("events_registry", data, column_names=REGISTRY_COLUMNS)

    def add(self, panes: Sequence[Pane]) -> None:
        """Store closed metrics, recorded now."""
        rows = []
        for pane in panes:
            self._row_id += 1
            rows.append([*pane, self.now, self._row_id, []])
        self.client.insert("pane_versions", rows, column_names=PANE_COLUMNS)

    def withdraw(self, pane: Pane, row_id: int) -> None:
        """Take a closed metric back, of which the number of the row is known."""
        self._row_id += 1
        row = [*pane[:-1], False, self.now, self._row_id, [row_id]]
        self.client.insert("pane_versions", [row], column_names=PANE_COLUMNS)

    def step(self, client: Client | None = None) -> int:
        """Bring the portraits up to date an hour later."""
        self.now += timedelta(hours=1)
        return step(client or self.client, RULES, self.now)

    def said(self, view: str = "v1_portraits") -> list[tuple[Any, ...]]:
        """Return everything the portraits say, but for when it was recorded."""
        return [
            tuple(row)
            for row in self.client.query(
                "SELECT kind, entity_id, dimension, day, round(observed, 9), round(level, 9), round(z, 6), peers,"
                f" active_days_7, active_days_28, inactive FROM {view} ORDER BY kind, entity_id, dimension, day"
            ).result_rows
        ]


@pytest.fixture
def district(database: Target) -> Iterator[District]:
    """Return a district in a fresh database."""
    client = open_client(database)
    yield District(client)
    client.close()


class CutOff:
    """A connection that breaks after a number of inserts."""

    def __init__(self, client: Client, inserts: int) -> None:
        self._client = client
        self._left = inserts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def insert_arrow(self, *arguments: Any, **named: Any) -> Any:
        """Insert, or break."""
        if self._left == 0:
            raise DatabaseError("the connection is gone")
        self._left -= 1
        return self._client.insert_arrow(*arguments, **named)


def test_a_late_change_says_all_later_days_again(district: District) -> None:
    """A change of Tuesday adds versions from Tuesday on, of the one student; what was said before can still be read."""
    panes = a_week(1)
    district.add(panes)
    assert district.step() > 0
    before, seen_at = district.said(), district.now
    assert district.step() == 0

    district.add([attended(STUDENTS[3], MONDAY + timedelta(days=1), 0.0, lesson="another")])
    # What the sixth student did on Friday turns out to be of somebody else.
    district.withdraw(panes[53], row_id=54)
    assert district.step() > 0

    after = district.said()
    levels = {row[:4]: row[5] for row in before}
    changed = {row[:4] for row in after if row[5] != levels.get(row[:4])}
    tuesday, thursday, friday = (MONDAY + timedelta(days=number) for number in (1, 3, 4))
    assert {place[1] for place in changed} == {STUDENTS[3], STUDENTS[5]}
    late = {place[3] for place in changed if place[1:3] == (STUDENTS[3], "attendance")}
    # The last of them is the day of being found inactive, whose level follows from the others.
    assert late == {tuesday, tuesday + timedelta(days=1), thursday, friday, friday + timedelta(days=7)}
    assert {place[3] for place in changed if place[1] == STUDENTS[5]} == {thursday + timedelta(days=7)}
    gone = levels.keys() - {row[:4] for row in after}
    assert {place[1] for place in gone} == {STUDENTS[5]}
    assert {place[3] for place in gone} == {friday, friday + timedelta(days=7)}

    as_of = f"v1_portraits_as_of(school = '', as_of = '{seen_at:%Y-%m-%d %H:%M:%S}')"
    assert district.said(as_of) == before
    for day in (MONDAY + timedelta(days=2), MONDAY + timedelta(days=30)):
        last = {row[:3]: row for row in after if row[3] <= day}
        on_day = f"v1_portrait_on(school = '', as_of = '2200-01-01 00:00:00', day = '{day}')"
        assert district.said(on_day) == sorted(last.values(), key=lambda row: row[:3])


def test_pieces_in_any_order_give_the_same(district: District) -> None:
    """Metrics that come in two runs, the latest days first, give the portraits of one run; z and silence too."""
    panes = a_week(2)
    district.add(panes)
    district.step()
    whole = district.said()
    assert {row[7] for row in whole if row[0] == "student" and not row[10]} == {12}
    assert ("teacher", "t1", "preparation", MONDAY + timedelta(days=6)) in {row[:4] for row in whole}

    for table in ("pane_versions", "portraits", "portrait_peers", "portrait_places", "portrait_runs"):
        district.client.command(f"TRUNCATE TABLE {table}")
    for piece in (panes[30:], panes[:30]):
        district.add(piece)
        district.step()
    assert district.said() == whole


def test_a_run_that_was_cut_off_is_made_good(district: District) -> None:
    """A run breaks after the second of the days that it has to say again: the next one leaves nothing wrong or missing."""
    panes = a_week(3)
    district.add(panes[12:])
    district.step()
    district.add(panes[:12])
    with pytest.raises(DatabaseError):
        district.step(CutOff(district.client, 2))  # type: ignore[arg-type]
    district.step()
    report = verify_portraits(district.client)
    assert report.rows > 0
    assert report.differences == []


#: The error planted, and what is to be found: which check sees it, how, and in which column.
PLANTED = {
    "portraits UPDATE observed = observed + 0.001 WHERE kind = 'class' AND day = '2026-09-09'": (
        "observations",
        "different",
        "observed",
    ),
    "portraits DELETE WHERE kind = 'student' AND day = '2026-09-08' AND entity_id = '学生0'": (
        "observations",
        "missing",
        "observed",
    ),
    "portraits UPDATE level = nan WHERE kind = 'student' AND day = '2026-09-09' AND entity_id = '学生1'": (
        "levels",
        "different",
        "level",
    ),
    "portraits UPDATE active_days_28 = 9 WHERE kind = 'teacher' AND inactive = 0": (
        "levels",
        "different",
        "active_days_28",
    ),
    "portraits UPDATE peer_group = 'grade 9' WHERE kind = 'student' AND day = '2026-09-10' AND entity_id = '学生2'": (
        "levels",
        "different",
        "peer_group",
    ),
    "portraits DELETE WHERE inactive = 1 AND kind = 'class'": ("levels", "missing", "inactive"),
    "portrait_peers UPDATE mad = mad * 1.001 WHERE kind = 'student' AND mad > 0": ("peers", "different", "mad"),
    "portrait_peers DELETE WHERE kind = 'class'": ("peers", "missing", "median"),
}


def test_planted_errors_are_found(district: District) -> None:
    """The recomputation sees wrong observations, levels, counts, groups of peers and MADs, and rows that are gone."""
    district.add(a_week(4))
    district.step()
    for statement in PLANTED:
        district.client.command(f"ALTER TABLE {statement} SETTINGS mutations_sync = 2")
    found = {
        (difference.key["check"], difference.kind, column)
        for difference in verify_portraits(district.client).differences
        for column in difference.columns
    }
    assert set(PLANTED.values()) <= found


class Counting:
    """A connection that counts its requests."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.requests = 0

    def __getattr__(self, name: str) -> Any:
        self.requests += 1
        return getattr(self._client, name)


def requests_of(district: District) -> int:
    """Bring the portraits up to date; return how many requests that took."""
    counting = Counting(district.client)
    district.step(counting)  # type: ignore[arg-type]
    return counting.requests


def test_a_lesson_of_years_ago_costs_no_more_than_a_lesson(district: District) -> None:
    """Work follows days with data: six empty years cost nothing, at first, when a day changes, and when people move."""
    moves = iter(range(100, 200))

    def move(teacher: str, school: str) -> None:
        row = {"key": teacher, "time": at(MONDAY), "source": "registry", "id": str(next(moves)), "school_id": school}
        row |= {"type": "registry.teacher.registered", "career_stage": "expert", "students": []}
        data = [[row.get(name, "") for name in REGISTRY_COLUMNS]]
        district.client.insert("events_registry", data, column_names=REGISTRY_COLUMNS)

    district.add(a_week(5))
    requests_of(district)
    district.now += timedelta(hours=1)
    move("t1", "s2")
    moved = requests_of(district)
    long_ago = date(2020, 1, 1)
    district.add([*(attended(student, long_ago, 0.5) for student in STUDENTS), of_class(long_ago, 0.5)])
    found = requests_of(district)
    move("t1", "s1")
    moved_later = requests_of(district)
    district.add([attended(STUDENTS[0], long_ago, 0.1, lesson="another")])
    changed = requests_of(district)
    assert max(found, moved_later, changed) < moved + 200
    assert ("student", STUDENTS[0], "attendance", long_ago + timedelta(days=7)) in {row[:4] for row in district.said()}
    assert verify_portraits(district.client).differences == []


def test_days_of_silence_are_found_after_a_long_rest(district: District) -> None:
    """An evaluator that rested for months says who fell silent meanwhile, on their days alone."""
    district.add(a_week(6))
    district.now = at(MONDAY + timedelta(days=5))
    busy = requests_of(district)
    district.now += timedelta(days=300)
    assert requests_of(district) < busy + 100
    assert {row[3] for row in district.said() if row[10]} >= {MONDAY + timedelta(days=number) for number in (11, 13)}
    assert verify_portraits(district.client).differences == []
