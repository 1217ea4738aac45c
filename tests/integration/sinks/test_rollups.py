"""The roll-up views merge what a naive merge in Python merges."""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client

from schemas.metrics.catalogue import METRICS
from schemas.metrics.persons import PERSON_METRICS, PERSON_PARTS, PersonMetric
from schemas.metrics.rules import ENGAGEMENT_PARTS
from sinks.clickhouse.client import Target, connect
from sinks.evaluation.rollups import rollup_days, rollups
from sinks.views.rollups import LEVELS
from tests.oracle.database import insert_events

Pane = dict[str, Any]
#: (numerator, denominator, sample_size, keys)
Merged = tuple[float, float, int, int]

MONDAY = date(2026, 11, 16)
DAYS = (MONDAY, MONDAY + timedelta(days=6))
RECORDED = datetime(2026, 11, 20, tzinfo=UTC)
GROUP_OF = {"s1": "g1", "s2": "g1", "s3": "g2"}
KINDS = {metric.name: metric for metric in METRICS}
WINDOWS = {"classroom": "lesson", "prep": "iso_week", "research": "activity"}
PERSON_WINDOWS = {"student_lesson": "student", "participant_activity": "participant"}
FULL_RATE = 0.5
ITEMS = {"strategy_share": ("question_led", "digital"), "tool_share": ("", "district")}
GAMMA = 1.01 / 0.99


class District:
    """Random panes, and those of them that count."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rows: list[Pane] = []
        self.ids = itertools.count(1)
        for number in range(24):
            self.lesson(f"课{number}")
        for teacher, week in itertools.product(("t1", "t2", "t3"), range(2)):
            self.week(teacher, MONDAY + timedelta(days=week * 3))
        for number in range(5):
            self.activity(f"a{number}")
        self.revise()

    def add(self, places: list[Pane], metric: str, key: str, item: str = "", parts: Sequence[float | None] = ()) -> None:
        """Add a metric at every place."""
        shared = {
            "metric": metric,
            "key": key,
            "item": item,
            "numerator": float(self.random.randint(0, 9)),
            "parts": parts,
            "denominator": float(self.random.choice([0, 3, 7])),
            "sample_size": self.random.randint(0, 9),
            "recorded_at": RECORDED,
            "live": True,
            "replaces": [],
            "window": PERSON_WINDOWS.get(metric) or WINDOWS[KINDS[metric].family],
        }
        names = ("school_id", "class_id", "teacher_id")
        for number, place in enumerate(places):
            earlier = [tuple(other[name] for name in names) for other in places[:number]]
            self.rows.append(place | shared | {"row_id": next(self.ids), "earlier": earlier, "places": len(places)})

    def lesson(self, key: str) -> None:
        """Add a lesson, sometimes one of two schools or of two classes of one school."""
        day = MONDAY + timedelta(days=self.random.randint(0, 6))
        schools = self.random.sample(sorted(GROUP_OF), self.random.choice([1, 1, 2]))
        places = [
            {
                "school_id": school,
                "class_id": f"{school}-c{self.random.randint(1, 2)}",
                "teacher_id": f"t{school[1]}",
                "day": day,
                "family": "classroom",
            }
            for school in schools
        ]
        if len(places) == 1 and self.random.random() < 0.2:
            places.append(places[0] | {"class_id": f"{schools[0]}-c9"})
        for metric in METRICS:
            if metric.family != "classroom" or metric.merge in {"gini", "blend"} or metric.name in PERSON_PARTS:
                continue
            for item in ITEMS.get(metric.name, ("",)):
                if item != "district" or self.random.random() < 0.5:
                    self.add(places, metric.name, key, item, parts=self.parts(metric.merge))
        for student in self.random.sample(["甲", "乙", "丙", "丁"], self.random.randint(0, 4)):
            parts = [float(self.random.choice([0, 1, 2, 60])) for _ in PERSON_PARTS["student_lesson"]]
            self.add(places, "student_lesson", key, student, parts=parts)
        self.add(places, "engagement_index", key, parts=[None, 0.5, 0.5, 1.0, 0.1, 0.2, 0.3, 0.4, FULL_RATE])

    def parts(self, merge: str) -> list[float]:
        """Return parts of a metric that merges like that."""
        if merge == "values":
            return sorted(self.random.uniform(0, 30) for _ in range(self.random.randint(0, 3)))
        if merge == "sketch":
            counts = {bucket: float(self.random.randint(1, 3)) for bucket in self.random.sample(range(300, 310), 2)}
            return [number for pair in sorted(counts.items()) for number in pair]
        return []

    def week(self, teacher: str, day: date) -> None:
        """Add a week of a teacher's preparation."""
        place = {"school_id": f"s{teacher[1]}", "class_id": "", "teacher_id": teacher, "day": day, "family": "prep"}
        for metric in METRICS:
            if metric.family == "prep":
                self.add([place], metric.name, teacher, parts=self.parts(metric.merge))

    def activity(self, key: str) -> None:
        """Add an activity of a school, with participants of their own schools."""
        day = MONDAY + timedelta(days=self.random.randint(0, 6))
        place = {"school_id": "s1", "class_id": "", "teacher_id": "t1", "day": day, "family": "research"}
        for metric in METRICS:
            if metric.family == "research" and metric.merge != "gini" and metric.name not in PERSON_PARTS:
                self.add([place], metric.name, key, parts=self.parts(metric.merge))
        for teacher in self.random.sample(["t1", "t2", "t3"], 2):
            parts = [float(self.random.choice([0, 1])) for _ in PERSON_PARTS["participant_activity"]]
            own = place | {"school_id": f"s{teacher[1]}", "teacher_id": teacher}
            self.add([own], "participant_activity", key, teacher, parts=parts)

    def revise(self) -> None:
        """Replace some rows an hour later, and withdraw some."""
        for row in self.random.sample([row for row in self.rows if row["places"] == 1], 30):
            later = {"recorded_at": RECORDED + timedelta(hours=1), "row_id": next(self.ids), "replaces": [row["row_id"]]}
            self.rows.append(row | later | {"numerator": row["numerator"] + 1, "live": self.random.random() < 0.7})

    def counting(self, as_of: datetime) -> list[Pane]:
        """Return the rows that count as of the instant."""
        known = [row for row in self.rows if row["recorded_at"] <= as_of]
        replaced = {row_id for row in known for row_id in row["replaces"]}
        return [row for row in known if row["live"] and row["row_id"] not in replaced]


def entity_of(row: Pane, level: str) -> str:
    """Return the entity of the level to which the row belongs, '' for none."""
    if level == "student":
        return str(row["item"]) if row["window"] == "student" else ""
    if level == "teacher" and row["window"] == "activity":
        return ""
    entities: dict[str, str] = {
        "class": row["class_id"],
        "teacher": row["teacher_id"],
        "school": row["school_id"],
        "group": GROUP_OF[row["school_id"]],
        "district": "district",
    }
    return entities[level]


def gini(counts: list[float]) -> tuple[float, float]:
    """Return the two sides of Gini's coefficient."""
    return sum(abs(x - y) for x in counts for y in counts), 2 * len(counts) * sum(counts)


def merged_rows(name: str, rows: list[Pane]) -> tuple[float, float]:
    """Merge the rows of one metric as it is declared."""
    metric = KINDS[name]
    if metric.merge == "values":
        values = [part for row in rows for part in row["parts"]]
        return (float(np.quantile(values, metric.quantile)), 1) if values else (0, 0)
    if metric.merge == "sketch":
        buckets = sorted(
            bucket
            for row in rows
            for bucket, count in zip(row["parts"][::2], row["parts"][1::2], strict=True)
            for _ in range(int(count))
        )
        if not buckets:
            return 0, 0
        return 2 * GAMMA ** buckets[math.floor(metric.quantile * (len(buckets) - 1))] / (GAMMA + 1), 1
    return sum(row["numerator"] for row in rows), sum(row["denominator"] for row in rows)


def total(metric: PersonMetric, names: tuple[str, ...], rows: list[Pane]) -> float:
    """Sum the product of the named parts."""
    at = [PERSON_PARTS[metric.source].index(name) for name in names]
    return float(sum(math.prod(row["parts"][index] for index in at) for row in rows))


def expected(rows: list[Pane], level: str) -> dict[tuple[str, str, str], Merged]:
    """Merge the rows by entity, metric and item; a lesson counts once in each entity."""
    once: dict[tuple[str, ...], Pane] = {}
    for row in rows:
        if entity := entity_of(row, level):
            once.setdefault((entity, row["metric"], row["key"], row["item"], str(row["day"])), row)
    groups: dict[tuple[str, str, str], list[Pane]] = defaultdict(list)
    for (entity, metric, _key, item, _day), row in once.items():
        groups[entity, metric, "" if metric in PERSON_PARTS else item].append(row)
    found: dict[tuple[str, str, str], Merged] = {}
    for (entity, name, item), of_metric in groups.items():
        if name in PERSON_PARTS:
            keys = len({row["key"] for row in of_metric})
            for person in PERSON_METRICS:
                if person.source == name:
                    sample = total(person, (person.sample,), of_metric) if person.sample else len(of_metric)
                    found[entity, person.name, ""] = (
                        total(person, person.numerator, of_metric),
                        total(person, person.denominator, of_metric) / person.scale,
                        int(sample),
                        keys,
                    )
            found |= gini_rows(entity, name, level, of_metric)
        elif name != "engagement_index" and level != "student":
            numerator, denominator = merged_rows(name, of_metric)
            if name == "tool_share" and item:
                denominator = merged_rows(name, groups.get((entity, name, ""), []))[1]
            samples = sum(row["sample_size"] for row in of_metric)
            found[entity, name, item] = (numerator, denominator, samples, len(of_metric))
    for (entity, name, _item), of_metric in groups.items():
        if name == "engagement_index":
            found[entity, name, ""] = (*blend(entity, found), sum(row["sample_size"] for row in of_metric), len(of_metric))
    return found


def gini_rows(entity: str, source: str, level: str, rows: list[Pane]) -> dict[tuple[str, str, str], Merged]:
    """Return the coefficient over the persons' sums, where the level has one."""
    if source == "student_lesson":
        return {}
    name, part, levels = "contribution_gini", "contributions", {"school", "group", "district"}
    persons: dict[str, list[Pane]] = defaultdict(list)
    for row in rows:
        persons[row["item"]].append(row)
    parts = PERSON_PARTS[source]
    tokens = ["joined", "contributions"]
    for who, of_person in list(persons.items()):
        if not any(row["parts"][parts.index(token)] for row in of_person for token in tokens):
            del persons[who]
    if level not in levels or not persons:
        return {}
    counts = [sum(row["parts"][parts.index(part)] for row in of_person) for of_person in persons.values()]
    keys = len({row["key"] for row in rows})
    return {(entity, name, ""): (*gini(counts), len(counts), keys)}


def blend(entity: str, found: dict[tuple[str, str, str], Merged]) -> tuple[float, float]:
    """Blend the merged parts with the stored weights."""
    sides = [0.0, 0.0]
    for name, weight in zip(ENGAGEMENT_PARTS, (0.1, 0.2, 0.3, 0.4), strict=True):
        numerator, denominator, *_ = found.get((entity, name, ""), (0, 0))
        if denominator:
            value = numerator / denominator
            part = {"participation_gini": 1 - value, "interactions_per_student_minute": min(1, value / FULL_RATE)}
            sides[0] += weight * part.get(name, value)
            sides[1] += weight
    return sides[0], sides[1]


def assert_merged(frame: pl.DataFrame, wanted: dict[tuple[str, str, str], Merged]) -> None:
    """The same rows, floats within the tolerance of verification; NULL where the denominator is 0."""
    found = {(row["entity_id"], row["metric"], row["item"]): row for row in frame.iter_rows(named=True)}
    assert len(found) == frame.height, "a row came twice"
    assert found.keys() == wanted.keys()
    for key, (numerator, denominator, sample_size, keys) in wanted.items():
        row = found[key]
        assert (row["sample_size"], row["keys"]) == (sample_size, keys), key
        assert (row["numerator"], row["denominator"]) == pytest.approx((numerator, denominator), rel=1e-9, abs=1e-9), key
        value = pytest.approx(numerator / denominator, rel=1e-9, abs=1e-9) if denominator else None
        assert row["value"] == value, key


@pytest.fixture(scope="module")
def client(module_database: Target) -> Iterator[Client]:
    """A database with three schools in two groups."""
    client = connect(module_database)
    registered = [
        {"type": "registry.school.registered", "key": school, "time_us": 1, "source": "/r", "id": school, "group_id": group}
        for school, group in [*GROUP_OF.items(), ("s4", "g2")]
    ]
    retired = {"type": "registry.entry.retired", "key": "s4", "time_us": 2, "source": "/r", "id": "s4 retired"}
    insert_events(client, [*registered, retired], stored_at=RECORDED - timedelta(days=9))
    yield client
    client.close()


@pytest.fixture(scope="module", params=[1, 2, 3])
def district(client: Client, request: pytest.FixtureRequest) -> District:
    """Random panes in the database."""
    district = District(request.param)
    columns = [name for name in district.rows[0] if name != "places"]
    client.command("TRUNCATE TABLE pane_versions")
    client.insert("pane_versions", [[row[name] for name in columns] for row in district.rows], column_names=columns)
    return district


@pytest.mark.parametrize("level", LEVELS)
def test_merged_as_declared(client: Client, district: District, level: str) -> None:
    """Every metric of every level equals the naive merge of the rows that count now."""
    wanted = expected(district.counting(RECORDED + timedelta(days=1)), level)
    assert wanted
    assert_merged(rollups(client, level, day_from=DAYS[0], day_to=DAYS[1]), wanted)


@pytest.mark.parametrize("level", ["class", "group"])
def test_as_of_before_the_revision(client: Client, district: District, level: str) -> None:
    """As of an instant before the revision the roll-up is what it was then."""
    wanted = expected(district.counting(RECORDED), level)
    assert wanted != expected(district.counting(RECORDED + timedelta(hours=1)), level)
    frame = rollups(client, level, as_of=RECORDED + timedelta(minutes=1), day_from=DAYS[0], day_to=DAYS[1])
    assert_merged(frame, wanted)


@pytest.mark.parametrize("level", ["class", "teacher", "school", "student"])
def test_of_one_school(client: Client, district: District, level: str) -> None:
    """With a school given only the rows that belong to it are merged."""
    rows = [row for row in district.counting(RECORDED + timedelta(days=1)) if row["school_id"] == "s2"]
    assert_merged(rollups(client, level, school="s2", day_from=DAYS[0], day_to=DAYS[1]), expected(rows, level))


def test_group_of_one_school(client: Client, district: District) -> None:
    """For groups the school names the group, which is bundled over all its members."""
    wanted = expected(district.counting(RECORDED + timedelta(days=1)), "group")
    frame = rollups(client, "group", school="s2", day_from=DAYS[0], day_to=DAYS[1])
    assert_merged(frame, {key: merged for key, merged in wanted.items() if key[0] == "g1"})


@pytest.mark.parametrize("level", ["class", "district", "student"])
def test_each_day_for_itself(client: Client, district: District, level: str) -> None:
    """The rows of a day are those of the panes of that day alone."""
    frame = rollup_days(client, level, day_from=DAYS[0], day_to=DAYS[0] + timedelta(days=1))
    for day in (DAYS[0], DAYS[0] + timedelta(days=1)):
        rows = [row for row in district.counting(RECORDED + timedelta(days=1)) if row["day"] == day]
        assert_merged(frame.filter(pl.col("day") == day), expected(rows, level))


def test_unknown_level_is_rejected(client: Client) -> None:
    """A level that does not exist and an instant without a zone are named, not answered with nothing."""
    with pytest.raises(ValueError, match="district"):
        rollups(client, "galaxy", day_from=MONDAY, day_to=MONDAY)
    with pytest.raises(ValueError, match="zone"):
        rollups(client, "class", as_of=RECORDED.replace(tzinfo=None), day_from=MONDAY, day_to=MONDAY)


def test_parts_of_persons_are_checked() -> None:
    """A metric of persons that names a part which does not exist cannot be declared."""
    with pytest.raises(ValueError, match="laughter"):
        PersonMetric(
            name="x",
            chinese="x",
            english="x",
            unit="x",
            highest=None,
            source="student_lesson",
            numerator=("laughter",),
        )
