"""Verification finds what is wrong, says what it is, and raises no false alarm."""

import threading
from collections.abc import Iterator, Mapping

import pytest
from clickhouse_connect.driver.client import Client

from schemas.metrics.catalogue import METRICS
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target
from sinks.verify.findings import Difference, Progress, VerifyReport
from sinks.verify.verify import verify
from tests.oracle.database import (
    insert_checkpoint,
    insert_events,
    insert_rows,
    open_client,
)
from tests.oracle.oracle import Event, expected_rows
from tests.oracle.scenarios import activity, event, lesson, week

ZONE = "Asia/Shanghai"
FAMILIES = ("classroom", "prep", "research")
SCENARIOS = {"classroom": lesson, "prep": week, "research": activity}

EVENTS = {
    "classroom": lesson("lesson-1") + lesson("lesson-2") + lesson("lesson-3"),
    "prep": week("t1"),
    "research": activity("activity-1"),
}
TABLES = ("events_classroom", "events_prep", "events_research", "metric_rows", "checkpoints", "dead_letters")


def family_rows(family: str) -> int:
    """How many rows the family's events lead to."""
    return len(expected_rows(EVENTS[family], ZONE))


@pytest.fixture(scope="module")
def target(module_database: Target) -> Target:
    """A database with the product's tables."""
    return module_database


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    """A database in which everything agrees: events, metrics, one duplicate and one dead letter a partition."""
    client = open_client(target)
    fill(client, EVENTS)
    yield client
    client.close()


def fill(client: Client, scenarios: Mapping[str, list[Event]]) -> None:
    """Store the events of each family, the metrics they lead to, and what the counters of its partition tell."""
    for table in TABLES:
        client.command(f"TRUNCATE TABLE {table}")
    for family, events in scenarios.items():
        insert_events(client, events)
        insert_rows(client, family, expected_rows(events, ZONE).items(), revision=1)
        position = len(events) + 2
        insert_checkpoint(client, family, position, stored=len(events), duplicates=1, dead_letters=1)
        client.insert(
            "dead_letters",
            [[f"classpulse.{family}", 0, position - 1, "not JSON", "", 3, 0]],
            column_names=["topic", "partition", "position", "reason", "field", "value_bytes", "recorded_at"],
        )


def check(client: Client, limit: int = 1000) -> VerifyReport:
    """Verify in the district's zone."""
    return verify(client, rules=MetricRules(ZONE), limit=limit)


def found(report: VerifyReport) -> set[str]:
    """Kinds of the differences of rows, with the columns."""
    return {name(difference) for difference in report.differences}


def name(difference: Difference) -> str:
    """The kind of a difference with the columns or the invariant."""
    told = difference.key.get("invariant") or ",".join(difference.columns)
    return f"{difference.kind} {told}".strip()


def changed(columns: str, where: str) -> str:
    """The statement that writes changed metrics over stored ones."""
    revision = "" if "AS revision" in columns else ", revision + 1 AS revision"
    return (
        f"INSERT INTO metric_rows SELECT * REPLACE ({columns}{revision})"
        f" FROM (SELECT * FROM metric_rows FINAL WHERE {where})"
    )


def recounted(columns: str, family: str = "classroom") -> str:
    """The statement that writes other counters into the family's checkpoint."""
    return (
        f"INSERT INTO checkpoints SELECT * REPLACE ({columns}) FROM checkpoints FINAL WHERE topic = 'classpulse.{family}'"
    )


def one_more(place: int) -> str:
    """The change of one of the parts."""
    return f"arrayMap((part, n) -> if(n = {place}, part + 1, part), parts, arrayEnumerate(parts)) AS parts"


def of(metric: str, window: str = "lesson", item: str | None = None) -> str:
    """The condition for the rows of a metric; ``item`` may be left out where there is but one."""
    return f"metric = '{metric}' AND window = '{window}'" + ("" if item is None else f" AND item = '{item}'")


BREADTH = "metric = 'participation_breadth' AND window = 'lesson' AND key = 'lesson-2'"
LOST = ""
WEEK = of("active_prep_minutes", "iso_week")

#: What is wrong in one row: its family, which row, what is written over it (or LOST), and what must be reported of it.
PLANTED = {
    # talk
    "occupancy as if both were the teacher": (
        "classroom",
        of("teacher_occupancy"),
        "value + 1 / 12 AS value, numerator + 0.5 AS numerator",
        "different value,numerator",
    ),
    "one conversion too many": (
        "classroom",
        of("behaviour_conversion"),
        "numerator + 1 AS numerator",
        "different numerator",
    ),
    "ratio of no codes": ("classroom", of("question_ratio"), "0 AS denominator", "different denominator"),
    "talk share lost": ("classroom", of("student_talk_share"), LOST, "missing"),
    "talk share above 1": ("classroom", of("silence_share"), "1.5 AS value", "different value,range"),
    "talk share below 0": ("classroom", of("silence_share"), "-0.5 AS value", "different value,range"),
    # questions
    "one wait longer": ("classroom", of("wait_time_seconds"), one_more(1), "different parts"),
    "sketch with a count too many": ("classroom", of("answer_latency_p90_ms"), one_more(2), "different parts"),
    "sketch lost": ("classroom", of("answer_latency_p50_ms"), "[] AS parts", "different parts"),
    "value not a number": ("classroom", of("correct_rate"), "nan AS value", "different value,range"),
    "value infinite": ("classroom", of("long_wait_share"), "inf AS value", "different value,range"),
    "row of a prompt never asked": (
        "classroom",
        of("response_rate", "prompt", "q1"),
        "'q9' AS item",
        "unexpected",
    ),
    "prompt's window a microsecond late": (
        "classroom",
        of("response_rate", "prompt", "q1"),
        "window_start + toIntervalMicrosecond(1) AS window_start",
        "different window_start",
    ),
    # participation
    "value lost": ("classroom", of("participation_breadth"), "NULL AS value", "different value"),
    "numerator off by one": (
        "classroom",
        of("participation_gini"),
        "numerator + 1 AS numerator",
        "different numerator",
    ),
    "denominator off by 1e-8": (
        "classroom",
        of("hand_raises_per_student_minute"),
        "denominator * (1 + 1e-8) AS denominator",
        "different denominator",
    ),
    "sample size off by one": (
        "classroom",
        of("interactions_per_student_minute"),
        "sample_size + 1 AS sample_size",
        "different sample_size",
    ),
    "calls of a lesson lost": ("classroom", of("call_through_rate"), LOST, "missing"),
    "row of an unknown window": (
        "classroom",
        of("participation_breadth"),
        "'30m/1m' AS window",
        "unexpected",
    ),
    "row of no lesson": ("classroom", of("participation_breadth"), "concat(key, '~') AS key", "unexpected"),
    "row of an unknown metric": ("classroom", of("participation_breadth"), "'happiness' AS metric", "unexpected"),
    "older formula": ("classroom", of("participation_breadth"), "1 AS catalogue_version", "different catalogue_version"),
    "whole metric of another moment": (
        "classroom",
        of("participation_breadth"),
        "numerator / 2 AS numerator, value / 2 AS value, 1 AS sample_size",
        "different value,numerator,sample_size",
    ),
    "zombie far ahead of the checkpoint": (
        "classroom",
        of("participation_breadth"),
        "value / 2 AS value, bitShiftLeft(toUInt64(1), 60) AS revision",
        "different value",
    ),
    # course
    "row of a sixth strategy": (
        "classroom",
        of("strategy_share", item="digital"),
        "'lecture' AS item",
        "unexpected",
    ),
    "seconds of the wrong strategy": (
        "classroom",
        of("strategy_balance"),
        "arrayReverse(parts) AS parts",
        "different parts",
    ),
    "overlapping tools counted twice": (
        "classroom",
        of("tool_share", item=""),
        "numerator + 40 AS numerator",
        "different numerator",
    ),
    "lesson's end off by a microsecond": (
        "classroom",
        of("attendance_rate"),
        "window_end + toIntervalMicrosecond(1) AS window_end",
        "different window_end",
    ),
    "early stop lost": ("classroom", of("early_stop_seconds"), LOST, "missing"),
    # students
    "student with a second too many": (
        "classroom",
        of("student_lesson", "student", "bo"),
        one_more(3),
        "different parts",
    ),
    "student with a part too few": (
        "classroom",
        of("student_lesson", "student", "ann"),
        "arrayPopBack(parts) AS parts",
        "different parts",
    ),
    "student lost": ("classroom", of("student_lesson", "student", "chen"), LOST, "missing"),
    "row of a student never there": (
        "classroom",
        of("student_lesson", "student", "bo"),
        "'dora' AS item",
        "unexpected",
    ),
    # engagement
    "blend with other weights": ("classroom", of("engagement_index"), one_more(8), "different parts"),
    "blend of an unknown part": (
        "classroom",
        of("engagement_index"),
        "arrayConcat([NULL], arrayPopFront(parts)) AS parts",
        "different parts",
    ),
    "blend off by 1e-8": ("classroom", of("engagement_index"), "value * (1 + 1e-8) AS value", "different value"),
    # prep_time
    "minutes off by 1e-8": ("prep", WEEK, "value * (1 + 1e-8) AS value", "different value"),
    "minutes infinite": ("prep", WEEK, "inf AS numerator", "different numerator"),
    "week longer by a microsecond": (
        "prep",
        WEEK,
        "window_end + toIntervalMicrosecond(1) AS window_end",
        "different window_end",
    ),
    "row of another window start": ("prep", WEEK, "slot + toIntervalMinute(900) AS slot", "unexpected"),
    "minutes of another weekday": ("prep", of("prep_regularity", "iso_week"), one_more(1), "different parts"),
    # plans
    "another lead time": ("prep", of("lead_time_seconds", "iso_week"), one_more(1), "different parts"),
    "plans edited alone": ("prep", of("co_prep_rate", "iso_week"), "0 AS numerator", "different numerator"),
    "resources of a platform lost": ("prep", of("reuse_rate", "iso_week", "national"), LOST, "missing"),
    # meetings, feedback, participants
    "one participant too many": (
        "research",
        of("effective_participation_rate", "activity"),
        "numerator + 1 AS numerator",
        "different numerator",
    ),
    "schools unmixed": ("research", of("cross_school_mix", "activity"), "NULL AS value", "different value"),
    "feedback a second later": ("research", of("feedback_latency_seconds", "activity"), one_more(1), "different parts"),
    "reports lost": ("research", of("reports_generated", "activity"), LOST, "missing"),
    "teacher with an improvement too many": (
        "research",
        of("participant_activity", "participant", "t1"),
        one_more(8),
        "different parts",
    ),
    "row of a teacher never there": (
        "research",
        of("participant_activity", "participant", "t1"),
        "'t9' AS item",
        "unexpected",
    ),
}

CONSUMED = "invariant consumed = stored + duplicates + dead letters"
STORED = "invariant stored = unique events in the table"
REFUSED = "invariant dead letters = rows in dead_letters"
UNIQUE = "invariant rows of events = unique events"

#: Wrong counters: one set of statements, one a partition, and the invariant that each of them breaks.
MISCOUNTED = {
    "less and more than there is": {
        "classroom": (recounted("consumed - 1 AS consumed"), CONSUMED),
        "prep": ("DELETE FROM dead_letters WHERE topic = 'classpulse.prep'", REFUSED),
        "research": (recounted("stored + 1 AS stored, consumed + 1 AS consumed", "research"), STORED),
    },
    "more and less than there is": {
        "classroom": (recounted("dead_letters + 1 AS dead_letters, consumed + 1 AS consumed"), REFUSED),
        "prep": (recounted("stored - 1 AS stored, consumed - 1 AS consumed", "prep"), STORED),
        "research": (recounted("duplicates + 1 AS duplicates", "research"), CONSUMED),
    },
}


def test_agrees_when_all_is_well(client: Client) -> None:
    """Metrics of the oracle agree with the SQL, every invariant holds, and every row is counted."""
    report = check(client)
    assert report.differences == []
    assert report.agrees
    assert report.rows_expected == report.rows_stored == sum(map(family_rows, FAMILIES))
    assert len(report.invariants) == 12


def test_finds_every_planted_error(client: Client) -> None:
    """Each of many planted errors, one a lesson, teacher or activity, is found as what it is, and nothing else is."""
    keys = {error: f"{planted[0]}-{n:02}" for n, (error, planted) in enumerate(PLANTED.items())}
    scenarios: dict[str, list[Event]] = {family: [] for family in FAMILIES}
    for error, planted in PLANTED.items():
        scenarios[planted[0]] += SCENARIOS[planted[0]](keys[error])
    fill(client, scenarios)
    for error, (_, row, columns, _) in PLANTED.items():
        where = f"{row} AND key = '{keys[error]}'"
        assert client.query(f"SELECT count() FROM metric_rows FINAL WHERE {where}").result_rows == [(1,)], error
        client.command(changed(columns, where) if columns else f"DELETE FROM metric_rows WHERE {where}")
    report = check(client)
    reported = [(str(difference.key["key"]).removesuffix("~"), name(difference)) for difference in report.differences]
    assert sorted(reported) == sorted((keys[error], planted[3]) for error, planted in PLANTED.items())
    assert report.differences_total == len(PLANTED) >= 40
    rows = [planted[1] for planted in PLANTED.values()]
    spoilt = {metric.module for metric in METRICS if any(f"'{metric.name}'" in row for row in rows)}
    assert spoilt == {metric.module for metric in METRICS}


@pytest.mark.parametrize("statements", MISCOUNTED.values(), ids=MISCOUNTED)
def test_finds_wrong_counters(client: Client, statements: dict[str, tuple[str, str]]) -> None:
    """A counter that is not what the tables hold is found as the invariant it breaks, at its partition."""
    for statement, _ in statements.values():
        client.command(statement)
    invariants = {(difference.key["topic"], name(difference)) for difference in check(client).differences}
    assert invariants == {(f"classpulse.{family}", invariant) for family, (_, invariant) in statements.items()}


def test_finds_lost_and_doubled_events(client: Client) -> None:
    """An event lost, one stored twice at different times, and a lost checkpoint show in every metric they change."""
    client.command("DELETE FROM events_classroom WHERE id = 'lesson-2-131'")
    client.command(
        "INSERT INTO events_research SELECT * REPLACE (time + 1 AS time) FROM events_research WHERE id = 'activity-1-4'"
    )
    client.command("DELETE FROM checkpoints WHERE topic = 'classpulse.prep'")
    again = event("research.contribution.posted", 31, 99, "activity-1", teacher_id="t1")
    stored = {
        "classroom": [event for event in EVENTS["classroom"] if event["id"] != "lesson-2-131"],
        # Metrics ahead of the checkpoint are held against the events below their revision.
        "prep": EVENTS["prep"][:1],
        "research": [*EVENTS["research"], again],
    }
    wrong: set[tuple[str, str, str, str]] = set()
    for family in FAMILIES:
        right, told = expected_rows(stored[family], ZONE), expected_rows(EVENTS[family], ZONE)
        wrong |= {row[:4] for row in right.keys() | told.keys() if right.get(row) != told.get(row)}
    report = check(client)
    invariants = {name(difference) for difference in report.differences if difference.kind == "invariant"}
    rows = [difference.key for difference in report.differences if difference.kind != "invariant"]
    assert invariants == {STORED, UNIQUE}
    assert {(row["metric"], row["window"], row["key"], row["item"]) for row in rows} == wrong


def test_finds_an_event_that_no_metric_counted(client: Client) -> None:
    """An answer below the checkpoint that the metrics leave out shows in every window that holds it."""
    position = len(EVENTS["classroom"])
    answer = event("classroom.answer.submitted", 400, 99, "lesson-1", student_id="chen", prompt_id="q0")
    insert_events(client, [answer], first_position=position)
    client.command(recounted("stored + 1 AS stored, consumed + 1 AS consumed"))
    before = {key: row for key, row in expected_rows(EVENTS["classroom"], ZONE).items() if key.key == "lesson-1"}
    after = expected_rows([*lesson("lesson-1"), answer], ZONE)
    report = check(client)
    assert report.differences_total == sum(before.get(key) != row for key, row in after.items()) > 20
    assert {difference.key["key"] for difference in report.differences} == {"lesson-1"}


def test_names_the_key_and_both_sides(client: Client) -> None:
    """A difference carries the row's key, and the metrics expected and stored."""
    client.command(changed("sample_size + 1 AS sample_size", BREADTH))
    difference = check(client).differences[0]
    assert difference.key == {
        "metric": "participation_breadth",
        "window": "lesson",
        "key": "lesson-2",
        "item": "",
        "slot": "1970-01-01T00:00:00Z",
    }
    assert difference.expected is not None
    assert difference.stored is not None
    assert (difference.expected["sample_size"], difference.stored["sample_size"]) == (3, 4)
    assert difference.stored["window_start"] == "2026-11-16T00:00:07Z"


def test_rounding_is_no_difference(client: Client) -> None:
    """Floats that differ by less than the tolerance agree."""
    client.command(changed("value * (1 + 1e-12) AS value, numerator * (1 - 1e-12) AS numerator", "1"))
    assert check(client).agrees


def test_events_beyond_the_checkpoint_do_not_count(client: Client) -> None:
    """A worker killed after it stored events, before their metrics, leaves nothing to report."""
    answer = event("classroom.answer.submitted", 400, 99, "lesson-1", student_id="chen", prompt_id="q0")
    insert_events(client, [answer], first_position=1000)
    assert check(client).agrees


def test_metrics_ahead_of_the_checkpoint_are_held_against_their_events(client: Client) -> None:
    """A worker killed after it stored metrics, before the checkpoint, leaves nothing to report."""
    answer = event("classroom.answer.submitted", 400, 99, "lesson-1", student_id="chen", prompt_id="q0")
    insert_events(client, [answer], first_position=1000)
    rows = expected_rows([*lesson("lesson-1"), answer], ZONE)
    insert_rows(client, "classroom", rows.items(), revision=1001)
    assert check(client).agrees


def test_the_limit_bounds_the_list_not_the_count(client: Client) -> None:
    """At most ``limit`` differences are listed; all are counted."""
    client.command("TRUNCATE TABLE metric_rows")
    report = check(client, limit=7)
    assert len(report.differences) == 7
    assert report.differences_total == sum(map(family_rows, FAMILIES))


def test_ranges_of_keys_change_nothing(client: Client) -> None:
    """Verified in many small ranges, the verdict and the counts are the same, and progress tells how far."""
    client.command(changed("sample_size + 1 AS sample_size", BREADTH))
    seen: list[Progress] = []
    report = verify(client, rules=MetricRules(ZONE), on_progress=seen.append, rows_per_range=1)
    assert found(report) == {"different sample_size"}
    assert report.rows_expected == report.rows_stored == sum(map(family_rows, FAMILIES))
    assert [(step.family, step.ranges_done, step.ranges_total) for step in seen] == [
        ("classroom", 1, 3),
        ("classroom", 2, 3),
        ("classroom", 3, 3),
        ("prep", 1, 1),
        ("research", 1, 1),
    ]


def test_an_impossible_question_is_rejected(client: Client) -> None:
    """An unknown time zone or limit is rejected with what to give instead."""
    with pytest.raises(ValueError, match="Asia/Shanghai"):
        verify(client, rules=MetricRules("Asia/Atlantis"))
    with pytest.raises(ValueError, match="1 to 1000"):
        verify(client, rules=MetricRules(ZONE), limit=0)


def test_no_false_alarm_while_a_worker_writes(client: Client, target: Target) -> None:
    """While a worker flushes events, metrics and checkpoints of a growing lesson, every verification agrees."""
    client.command("TRUNCATE TABLE checkpoints")
    for table in ("events_classroom", "metric_rows", "dead_letters"):
        client.command(f"TRUNCATE TABLE {table}")
    events = lesson("live", answers=60)
    stop = threading.Event()
    flushed = 0

    def work() -> None:
        nonlocal flushed
        worker = open_client(target)
        while not stop.is_set() and flushed < len(events):
            insert_events(worker, events[flushed : flushed + 1], first_position=flushed)
            flushed += 1
            rows = expected_rows(events[:flushed], ZONE)
            insert_rows(worker, "classroom", rows.items(), revision=flushed)
            insert_checkpoint(worker, "classroom", flushed)
        worker.close()

    thread = threading.Thread(target=work)
    thread.start()
    reports: list[VerifyReport] = []
    try:
        while thread.is_alive() and len(reports) < 8:
            reports.append(check(client))
    finally:
        stop.set()
        thread.join(timeout=30)
    assert flushed > len(reports) > 0
    assert [report.differences for report in reports] == [[]] * len(reports)
    assert check(client).agrees
