"""Metrics 28 to 30 against naive recursions, and where each entity of the portraits belongs."""

import random
import statistics
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.evaluation.portraits import DIMENSIONS, KINDS, Dimension
from schemas.events.event_types import RETIRED
from schemas.metrics.catalogue import METRICS
from schemas.metrics.metric import WINDOW_ISO_WEEK
from schemas.metrics.persons import PERSON_METRICS
from streams.core.evaluation.places import PLACES_SCHEMA, REGISTRATIONS_SCHEMA, SINCE_EVER, place_of_day, places
from streams.core.evaluation.portraits import peer_statistics, portrait_days, robust_z

FIRST = date(2026, 9, 7)
OBSERVATIONS_SCHEMA = {
    "entity_id": pl.String,
    "dimension": pl.String,
    "day": pl.Date,
    "observed": pl.Float64,
    "sample_size": pl.UInt64,
}

#: (entity, dimension, day number) -> observation, sample size
Drawn = dict[tuple[str, str, int], tuple[float, int]]
DRAWN = st.dictionaries(
    st.tuples(st.sampled_from(["a", "学生二"]), st.sampled_from(["x", "y"]), st.integers(0, 90)),
    st.tuples(st.floats(0, 1000), st.sampled_from([0, 1, 1, 6, 40])),
    min_size=1,
    max_size=40,
)
OVER_AFTER = st.integers(0, 120)


def frame(drawn: Drawn) -> pl.DataFrame:
    """Return the observations in the order in which they were drawn."""
    rows = [(entity, dimension, FIRST + timedelta(days=day), *seen) for (entity, dimension, day), seen in drawn.items()]
    return pl.DataFrame(rows, schema=OBSERVATIONS_SCHEMA, orient="row")


def naive(drawn: Drawn, last_over: int) -> dict[tuple[str, str, int], tuple[float, int, int, int]]:
    """Return level, active days in 7 and in 28, and inactive, by entity, dimension and day number."""
    found = {}
    for entity in {key[0] for key in drawn}:
        active = {day for who, _, day in drawn if who == entity}
        silent = {day + 7 for day in active if day + 7 <= last_over and not active & set(range(day + 1, day + 8))}
        for dimension in {key[1] for key in drawn if key[0] == entity}:
            own = {day: seen for (who, what, day), seen in drawn.items() if (who, what) == (entity, dimension)}
            for day in sorted(active | silent):
                x = own.get(day)
                past = [(2 ** (-(day - then) / 14) * max(n, 1), value) for then, (value, n) in own.items() if then <= day]
                if past and (x is not None or day in silent):
                    level = sum(weight * value for weight, value in past) / sum(weight for weight, _ in past)
                    in_7, in_28 = (len(active & set(range(day - span + 1, day + 1))) for span in (7, 28))
                    found[entity, dimension, day] = (level, in_7, in_28, int(x is None))
    return found


@settings(max_examples=40)
@given(DRAWN, OVER_AFTER)
def test_portraits_are_the_naive_recursion(drawn: Drawn, last_over: int) -> None:
    """Level, active days and inactivity of every day are those of a recursion over single observations."""
    rows = portrait_days(frame(drawn), last_day_over=FIRST + timedelta(days=last_over))
    found = {
        (row["entity_id"], row["dimension"], (row["day"] - FIRST).days): (
            row["level"],
            row["active_days_7"],
            row["active_days_28"],
            row["inactive"],
        )
        for row in rows.iter_rows(named=True)
    }
    expected = naive(drawn, last_over)
    assert found.keys() == expected.keys()
    for place, said in expected.items():
        assert found[place] == pytest.approx(said, rel=1e-12)


@settings(max_examples=20)
@given(DRAWN, st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(drawn: Drawn, shuffled: random.Random) -> None:
    """Observations in another order give the very same portraits."""
    items = list(drawn.items())
    shuffled.shuffle(items)
    over = FIRST + timedelta(days=100)
    by_place = ["entity_id", "dimension", "day"]
    one, other = (portrait_days(frame(way), last_day_over=over).sort(by_place) for way in (drawn, dict(items)))
    assert one.equals(other)


def test_a_half_life_counts_half() -> None:
    """After 14 days an observation counts half as much as a new one, and one of four samples as much as four."""
    rows = portrait_days(frame({("a", "x", 0): (1.0, 1), ("a", "x", 14): (0.0, 1)}), last_day_over=FIRST)
    assert rows.select("level", "weight").rows() == [(1.0, 1.0), (pytest.approx(1 / 3), 1.5)]
    rows = portrait_days(frame({("a", "x", 0): (1.0, 4), ("a", "x", 14): (0.0, 1)}), last_day_over=FIRST)
    assert rows["level"].to_list() == [1.0, pytest.approx(2 / 3)]


def test_the_first_day_fades_like_any_other() -> None:
    """A bad first day and ten good ones are a good level: 0.2, then ten days of 0.8, are 0.758."""
    drawn: Drawn = {("a", "x", day): (0.8 if day else 0.2, 1) for day in range(11)}
    assert portrait_days(frame(drawn), last_day_over=FIRST)["level"][-1] == pytest.approx(0.758, abs=5e-4)


@settings(max_examples=40)
@given(st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=8, max_size=30))
def test_z_is_the_naive_one(levels: list[float]) -> None:
    """The robust z is (m - median) / (1.4826 MAD); hidden below 10 peers, NULL where the MAD is 0."""
    peers = pl.DataFrame({"peer_group": "grade 5", "dimension": "x", "level": levels})
    found = peers.join(peer_statistics(peers), on=["peer_group", "dimension"]).select(
        robust_z(pl.col("level"), pl.col("median"), pl.col("mad"), pl.col("peers"))
    )
    median = statistics.median(levels)
    mad = statistics.median(abs(level - median) for level in levels)
    if len(levels) >= 10 and mad > 1e-9:
        expected = [(level - median) / (1.4826 * mad) for level in levels]
        assert found.to_series().to_list() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    else:
        assert found.to_series().is_null().all()


@pytest.mark.parametrize(("members", "hidden"), [(9, True), (10, False)])
def test_z_is_hidden_below_ten_peers(members: int, hidden: bool) -> None:
    """Nine are not compared, ten are."""
    peers = pl.DataFrame({"peer_group": "all", "dimension": "x", "level": [float(number) for number in range(members)]})
    statistic = peer_statistics(peers).with_columns(level=pl.lit(1.0))
    z = statistic.select(robust_z(pl.col("level"), pl.col("median"), pl.col("mad"), pl.col("peers"))).item()
    assert (z is None) is hidden


def test_who_has_no_peer_group_has_no_peers() -> None:
    """Entities the registry does not know are compared with nobody."""
    peers = pl.DataFrame({"peer_group": [""] * 12, "dimension": "x", "level": [float(n) for n in range(12)]})
    assert peer_statistics(peers).is_empty()


@pytest.mark.parametrize("dimension", [pytest.param(d, id=f"{k}-{d.name}") for k in KINDS for d in DIMENSIONS[k]])
def test_dimensions_observe_declared_metrics(dimension: Dimension) -> None:
    """Each dimension names a declared metric, has its direction, and is weekly exactly if the metric is one of weeks."""
    metrics = {metric.name: metric for metric in METRICS}
    persons = {metric.name: metric for metric in PERSON_METRICS}
    declared = metrics.get(dimension.metric) or persons[dimension.metric]
    assert dimension.direction == declared.direction
    assert dimension.weekly == (dimension.metric in metrics and WINDOW_ISO_WEEK in metrics[dimension.metric].windows)


def registrations(*rows: tuple[str, str, date, str, str, list[str]]) -> pl.DataFrame:
    """Return the registry's events in the order given: type, key, week, school, peer group, students."""
    numbered = [
        (RETIRED if kind == "retired" else f"registry.{kind}.registered", key, number, week, school, peers, students)
        for number, (kind, key, week, school, peers, students) in enumerate(rows)
    ]
    return pl.DataFrame(numbered, schema=REGISTRATIONS_SCHEMA, orient="row")


def test_a_promotion_holds_from_its_week_on() -> None:
    """The first registration holds since ever, the latest of a week for the whole week, a repeated one changes nothing."""
    later = FIRST + timedelta(days=7)
    found = places(
        registrations(
            ("teacher", "t1", FIRST, "s1", "novice/数学", []),
            ("teacher", "t1", later, "s1", "expert/数学", []),
            ("teacher", "t1", later, "s1", "developing/数学", []),
            ("teacher", "t1", later + timedelta(days=7), "s1", "developing/数学", []),
        )
    )
    assert found.rows() == [
        ("teacher", "t1", SINCE_EVER, "s1", "novice/数学"),
        ("teacher", "t1", later, "s1", "developing/数学"),
    ]
    teacher = pl.DataFrame({"entity_id": ["t1", "t2"]})
    assert place_of_day(teacher, found, FIRST + timedelta(days=6))["peer_group"].to_list() == ["novice/数学", ""]
    assert place_of_day(teacher, found, later)["peer_group"].to_list() == ["developing/数学", ""]


def test_who_is_retired_has_no_peers_until_registered_again() -> None:
    """A retired entry keeps its place in the weeks before, has none from then on, and comes back; its students as well."""
    gone, back = FIRST + timedelta(days=7), FIRST + timedelta(days=21)
    found = places(
        registrations(
            ("retired", "t1", FIRST - timedelta(days=7), "", "", []),
            ("teacher", "t1", FIRST, "s1", "expert/数学", []),
            ("class", "c1", FIRST, "s1", "grade 5", []),
            ("roster", "c1", FIRST, "", "", ["p1"]),
            ("retired", "t1", gone, "", "", []),
            ("retired", "c1", gone, "", "", []),
            ("retired", "unknown", gone, "", "", []),
            ("teacher", "t1", back, "s1", "expert/数学", []),
        )
    )
    assert found.rows() == [
        ("class", "c1", SINCE_EVER, "s1", "grade 5"),
        ("class", "c1", gone, "", ""),
        ("student", "p1", SINCE_EVER, "s1", "grade 5"),
        ("student", "p1", gone, "", ""),
        ("teacher", "t1", SINCE_EVER, "s1", "expert/数学"),
        ("teacher", "t1", gone, "", ""),
        ("teacher", "t1", back, "s1", "expert/数学"),
    ]


def test_students_belong_where_a_roster_names_them() -> None:
    """A student follows the rosters from class to class, and the grade follows the class."""
    moved, risen = FIRST + timedelta(days=7), FIRST + timedelta(days=14)
    found = places(
        registrations(
            ("roster", "c1", FIRST, "", "", ["p1", "p2"]),
            ("class", "c1", FIRST, "s1", "grade 5", []),
            ("class", "c2", FIRST, "s2", "grade 5", []),
            ("roster", "c1", moved, "", "", ["p1"]),
            ("roster", "c2", moved, "", "", ["p2"]),
            ("class", "c1", risen, "s1", "grade 6", []),
        )
    )
    assert found.filter(pl.col("kind") == "student").rows() == [
        ("student", "p1", SINCE_EVER, "s1", "grade 5"),
        ("student", "p1", risen, "s1", "grade 6"),
        ("student", "p2", SINCE_EVER, "s1", "grade 5"),
        ("student", "p2", moved, "s2", "grade 5"),
    ]


def test_a_student_no_roster_names_stays() -> None:
    """Who is on no roster any more keeps the last place."""
    found = places(
        registrations(
            ("class", "c1", FIRST, "s1", "grade 5", []),
            ("roster", "c1", FIRST, "", "", ["p1"]),
            ("roster", "c1", FIRST + timedelta(days=7), "", "", []),
        )
    )
    assert found.filter(pl.col("kind") == "student").rows() == [("student", "p1", SINCE_EVER, "s1", "grade 5")]


def test_no_registry_no_places() -> None:
    """Without any registration nobody belongs anywhere, and nothing fails."""
    assert places(registrations()).schema == PLACES_SCHEMA
