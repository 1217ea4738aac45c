"""The evaluation's configuration: the default is sound, and what is wrong is named with its place and the remedy."""

import pytest

from schemas.errors import MustStop
from schemas.evaluation.changes import changes
from schemas.evaluation.config import LARGEST_BYTES, default_text, doubts, parse, problems
from schemas.evaluation.indicators import PART_EVENTS, exists_for, indicator_metric, indicator_metrics
from schemas.evaluation.tree import KINDS, Evaluation
from schemas.events.event_types import MODELS
from schemas.metrics.catalogue import METRICS
from schemas.metrics.persons import PERSON_PARTS
from sinks.views.rollups import LEVELS

SMALL = """format: 1
chinese: 试行
english: Trial
dimensions:
  - id: one
    chinese: 一
    english: One
    weight: 1
    indicators:
      - id: first
        metric: attendance_rate
        weight: 1
        norm: {kind: share}
"""

WRONG = [
    ("metric: attendance_rate", "metric: attendence_rate", 10, "dimensions[0] (one).indicators[0] (first)", "did you mean"),
    ("weight: 1\n        norm", "weight: 0\n        norm", 12, "indicators[0] (first).weight", "number above"),
    ("{kind: share}", "{kind: linear, zero: 1, one: 1}", 13, "(first).norm", "earns nothing"),
    ("{kind: share}", "{kind: linear, zero: 1}", 13, "(first).norm.one", "add it"),
    ("{kind: share}", "{kind: linear, zero: .nan, one: 1}", 13, "(first).norm.zero", "correct it"),
    ("{kind: share}", "{kind: linear, zero: 0, one: 1e300}", 13, "(first).norm.one", "plain number"),
    (
        "{kind: share}",
        "{kind: band, zero_below: 0, low: 2, high: 1, zero_above: 3}",
        13,
        "(first).norm",
        "zero_below < low",
    ),
    ("{kind: share}", "{kind: cliff}", 13, "(first).norm", "linear, band or share"),
    ("{kind: share}", "{kind: share}\n        kinds: [principal]", 14, "(first).kinds[0]", "what it says"),
    ("{kind: share}", "{kind: share}\n        item: digital", 10, "(first)", "give one of"),
    ("attendance_rate", "active_prep_minutes", 10, "(first)", "linear or band"),
    ("attendance_rate", "prep_regularity", 1, "the file", "kinds: [teacher, school, group, district]"),
    ("attendance_rate", "student_lesson", 10, "(first)", "did you mean"),
    ("attendance_rate", "zzz", 10, "(first)", "docs/metrics.md"),
    ("{kind: share}", "{kind: share}\n        kinds: []", 1, "the file", "give it kinds"),
    ("id: first", "id: First", 10, "(First).id", "lower-case"),
    ("english: Trial", "english: Trial\ncolour: red", 4, "colour", "remove it"),
    ("english: Trial", "english: Trial\nenglish: Again", 4, "the file", "correct the YAML"),
    ("english: Trial", "english: &name Trial\nabout: *name", 4, "the file", "correct the YAML"),
    ("format: 1", "format: 2", 1, "format", "what it says"),
    ("    indicators:\n      - id", "    indicators: []\nmore:\n      - id", 5, "dimensions[0] (one)", "remove it"),
]


@pytest.mark.parametrize(("old", "new", "line", "place", "remedy"), WRONG, ids=[case[1].strip()[:40] for case in WRONG])
def test_what_is_wrong_is_named(old: str, new: str, line: int, place: str, remedy: str) -> None:
    """A problem tells the line, the place in the tree and what to do."""
    assert old in SMALL
    found = problems(SMALL.replace(old, new, 1))
    assert any(
        problem.line == line and problem.place.endswith(place) and remedy in f"{problem.reason}; {problem.remedy}"
        for problem in found
    ), [str(problem) for problem in found]


@pytest.mark.parametrize(
    "text", ["", "- 1", "a: [", "[" * 10_000, "a: 2026-13-45", "? {a: 1}\n: 2", "\x00", "x" * (LARGEST_BYTES + 1)]
)
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    """Whatever is no sound evaluation is a problem, never another error."""
    assert problems(text)
    with pytest.raises(MustStop):
        parse(text)


def test_every_problem_is_in_one_message() -> None:
    """Two mistakes are told at once, with the file's name."""
    with pytest.raises(MustStop) as caught:
        parse(SMALL.replace("weight: 1", "weight: -1"), "district.yaml")
    assert str(caught.value).count("number above it") == 2
    assert "district.yaml" in str(caught.value)


def test_the_default_is_sound_for_every_kind() -> None:
    """The packaged default scores every kind, and no norm runs against its metric."""
    found = parse(default_text())
    assert all(found.nodes(kind) for kind in KINDS)
    assert doubts(found) == []


def test_the_default_speaks_the_districts_words() -> None:
    """The four dimensions, and the five-study classroom, scientific testing and intelligent evaluation within them."""
    titles = {node.chinese for node in parse(default_text()).nodes("school")}
    assert {"智慧教", "个性学", "高效研", "精准管", "科学测", "智能评", "五学课堂"} <= titles


@pytest.mark.parametrize("kind", KINDS)
def test_shares_of_a_tree_add_up(kind: str) -> None:
    """The shares of the indicators are 1 together, those of a dimension are the sum of what is below it."""
    nodes = parse(default_text()).nodes(kind)  # type: ignore[arg-type]
    assert sum(node.share for node in nodes if node.indicator) == pytest.approx(1)
    for node in nodes:
        below = [part.share for part in nodes if part.parent == node.path and part.path]
        assert not below or sum(below) == pytest.approx(node.share)


def test_every_metric_has_a_source_that_is_declared() -> None:
    """What an indicator may refer to comes from a declared metric, whose events are declared types."""
    declared = {metric.name: metric for metric in METRICS}
    for found in indicator_metrics().values():
        source = declared[found.source]
        assert source.family == found.family
        assert found.events
        assert set(found.events) <= set(source.events) | set(declared.get(found.name, source).events)
        assert all(f"{source.family}.{name}" in MODELS for name in found.events)


def test_every_part_of_persons_has_its_events() -> None:
    """The parts of the rows of persons are told apart by the events they are counted from."""
    assert {name.split(" of ")[0] for name in PART_EVENTS} == {part for parts in PERSON_PARTS.values() for part in parts}


def test_kinds_are_levels_of_the_roll_ups() -> None:
    """Every kind that is scored has roll-ups."""
    assert set(KINDS) <= set(LEVELS)


def test_a_class_has_no_preparation() -> None:
    """Metrics that a kind cannot have are rejected for it, those it can have are not."""
    assert not exists_for("active_prep_minutes", "class")
    assert exists_for("teacher_effective_attendance", "teacher")
    assert indicator_metric("contribution_gini").source == "participant_activity"
    assert indicator_metric("participation_gini").source == "participation_gini"


def test_comments_make_no_difference() -> None:
    """The checksum is of the content: comments and values that equal a default leave it, a weight does not."""
    base = parse(SMALL).checksum
    assert parse("# note\n" + SMALL.replace("english: Trial", "english: Trial\nabout: ''")).checksum == base
    assert parse(SMALL.replace("weight: 1\n        norm", "weight: 2\n        norm")).checksum != base


def test_what_is_for_others_does_not_weigh() -> None:
    """A part for schools alone leaves the shares of a class as if it were not there."""
    extra = SMALL + "      - {id: second, metric: correct_rate, weight: 9, norm: {kind: share}, kinds: [school]}\n"
    found = parse(extra)
    assert [node.share for node in found.nodes("class") if node.indicator] == [1.0]
    assert [node.share for node in found.nodes("school") if node.indicator] == pytest.approx([0.1, 0.9])


def test_a_norm_against_the_direction_is_doubted() -> None:
    """Rewarding low attendance is allowed, but asked about."""
    assert "attendance_rate" in doubts(parse(SMALL.replace("kind: share", "kind: linear, zero: 1, one: 0")))[0]


def test_depth_is_bounded() -> None:
    """A tree deeper than a person can read is rejected."""
    tree: dict[str, object] = {"id": "x", "metric": "attendance_rate", "weight": 1, "norm": {"kind": "share"}}
    part: dict[str, object] = {"id": "d", "chinese": "维", "english": "d", "weight": 1, "indicators": [tree]}
    for _level in range(6):
        part = {"id": "d", "chinese": "维", "english": "d", "weight": 1, "dimensions": [part]}
    with pytest.raises(ValueError, match="levels deep"):
        Evaluation.model_validate({"format": 1, "chinese": "维", "english": "d", "dimensions": [part]})


def test_what_differs_between_two_configurations_is_told_part_by_part() -> None:
    """Weights, norms, names, kinds, and parts that come or go are told with their place, old and new; nothing else is."""
    old = parse(SMALL)
    second = "\n      - {id: second, metric: delayed_start_seconds, weight: 2, norm: {kind: linear, zero: 300, one: 0}}\n"
    new = parse(
        SMALL.replace("norm: {kind: share}", "norm: {kind: linear, zero: 0.5, one: 1}\n        min_sample: 5")
        .replace("    weight: 1\n    indicators", "    weight: 4\n    kinds: [school]\n    indicators")
        .replace("chinese: 试行", "chinese: 正式")
        .rstrip()
        + second
    )
    assert changes(old, old) == []
    assert changes(old, new) == [
        "the whole: chinese 试行 → 正式",
        "one: weight 1 → 4; kinds (teacher, class, school, group, district) → school",
        (
            "one/first: norm (as it is) → (0.5 → 0, 1 → 1); min_sample 0 → 5;"
            " kinds (teacher, class, school, group, district) → school"
        ),
        (
            "one/second: new, weight 2; metric delayed_start_seconds; norm 300 → 0, 0 → 1; min_sample 0;"
            f" chinese {indicator_metric('delayed_start_seconds', '').chinese};"
            f" english {indicator_metric('delayed_start_seconds', '').english};"
            " kinds school"
        ),
    ]
    assert changes(new, old)[-1].startswith("one/second: removed, was weight 2")
