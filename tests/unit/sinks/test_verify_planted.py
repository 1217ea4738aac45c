"""Verification finds what is wrong, says what it is, and raises no false alarm."""

import threading
from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from sinks.verify import verify
from sinks.verify_report import Progress, VerifyReport
from sinks.warehouse import Target
from tests.oracle.database import (
    fresh_database,
    insert_checkpoint,
    insert_events,
    insert_rows,
    open_client,
    running_clickhouse,
)
from tests.oracle.oracle import Event, expected_rows

ZONE = "Asia/Shanghai"
BASE_US = 1_794_787_200_000_000
SECOND_US = 1_000_000
FAMILIES = ("classroom", "prep", "research")


def event(name: str, second: float, number: int, key: str, **data: object) -> Event:
    """Make an event ``second`` seconds after the base time."""
    time_us = BASE_US + round(second * SECOND_US)
    return {"type": name, "key": key, "source": "/d/1", "id": f"{key}-{number}", "time_us": time_us, **data}


def lesson(key: str, answers: int = 4) -> list[Event]:
    """A lesson with a start, three students, two prompts, answers and an end."""
    plan = {
        "roster": ["ann", "bo", "chen"], "scheduled_start_us": BASE_US,
        "scheduled_end_us": BASE_US + 2400 * SECOND_US,
    }  # fmt: skip
    events = [event("classroom.lesson.started", 7, 0, key, **plan)]
    events += [
        event("classroom.attendance.joined", 11.5 * n, 10 + n, key, student_id=student)
        for n, student in enumerate(("ann", "bo", "chen"))
    ]
    events += [event("classroom.question.asked", 300 + 400 * n, 20 + n, key, prompt_id=f"q{n}") for n in range(2)]
    for n in range(answers):
        student, prompt_id = ("ann", "bo")[n % 2], f"q{n // 2 % 2}"
        events.append(
            event("classroom.answer.submitted", 310 + 71 * n, 30 + n, key, student_id=student, prompt_id=prompt_id)
        )
    events.append(event("classroom.lesson.ended", 2300, 3, key))
    return events


def week(key: str) -> list[Event]:
    """A teacher's preparation: five heartbeats, one of them after a long silence."""
    return [event("prep.heartbeat.recorded", 61 * n + 900 * (n > 3), n, key) for n in range(5)]


def activity(key: str) -> list[Event]:
    """A research activity to which one of two invited teachers came."""
    plan = {"invited": ["t1", "t2"], "scheduled_start_us": BASE_US, "scheduled_end_us": BASE_US + 100 * SECOND_US}
    return [
        event("research.activity.published", -5000, 0, key, schoolid="s07", **plan),
        event("research.participant.joined", 10, 1, key, teacher_id="t1"),
        event("research.participant.left", 60, 2, key, teacher_id="t1"),
    ]


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
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A real engine over HTTP with the product's tables."""
    with running_clickhouse(tmp_path_factory.mktemp("stack")) as server:
        yield fresh_database(server, "planted")


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    """A database in which everything agrees: events, figures, one duplicate and one dead letter a partition."""
    client = open_client(target)
    for table in TABLES:
        client.command(f"TRUNCATE TABLE {table}")
    for family in FAMILIES:
        events = EVENTS[family]
        insert_events(client, events)
        insert_rows(client, family, expected_rows(events, ZONE).items(), revision=1)
        position = len(events) + 2
        insert_checkpoint(client, family, position, stored=len(events), duplicates=1, dead_letters=1)
        client.insert(
            "dead_letters",
            [[f"classpulse.{family}", 0, position - 1, "not JSON", "", 3, 0]],
            column_names=["topic", "partition", "position", "reason", "field", "value_bytes", "recorded_at"],
        )
    yield client
    client.close()


def check(client: Client, limit: int = 1000) -> VerifyReport:
    """Verify in the district's zone."""
    return verify(client, time_zone=ZONE, limit=limit)


def found(report: VerifyReport) -> set[str]:
    """Kinds of the differences, with the columns or the law."""
    return {
        f"{difference.kind} {difference.key.get('law') or ','.join(difference.columns)}".strip()
        for difference in report.differences
    }


def changed(columns: str, where: str) -> str:
    """The statement that writes changed figures over stored ones."""
    return (
        f"INSERT INTO metric_rows SELECT * REPLACE ({columns}, revision + 1 AS revision)"
        f" FROM (SELECT * FROM metric_rows FINAL WHERE {where})"
    )


def recounted(columns: str) -> str:
    """The statement that writes other counters into the classroom's checkpoint."""
    return (
        f"INSERT INTO checkpoints SELECT * REPLACE ({columns}) FROM checkpoints FINAL"
        " WHERE topic = 'classpulse.classroom'"
    )


BREADTH = "metric = 'participation_breadth' AND window = 'lesson' AND key = 'lesson-2'"
MINUTES = "metric = 'active_prep_minutes' AND window = 'iso_week'"
CONSUMED = "law consumed = stored + duplicates + dead letters"
STORED = "law stored = unique events in the table"
REFUSED = "law dead letters = rows in dead_letters"
UNIQUE = "law rows of events = unique events"

PLANTED = {
    "value off by 1e-8": (changed("value * (1 + 1e-8) AS value", MINUTES), {"different value"}),
    "value lost": (changed("NULL AS value", BREADTH), {"different value"}),
    "value not a number": (changed("nan AS value", BREADTH), {"different value"}),
    "value infinite": (changed("inf AS value", BREADTH), {"different value"}),
    "numerator off by one": (changed("numerator + 1 AS numerator", BREADTH), {"different numerator"}),
    "numerator infinite": (changed("inf AS numerator", MINUTES), {"different numerator"}),
    "denominator zero": (changed("0 AS denominator", BREADTH), {"different denominator"}),
    "sample size off by one": (changed("sample_size + 1 AS sample_size", BREADTH), {"different sample_size"}),
    "window start off by 1 us": (
        changed("window_start + toIntervalMicrosecond(1) AS window_start", BREADTH), {"different window_start"},
    ),
    "window end off by 1 us": (
        changed("window_end + toIntervalMicrosecond(1) AS window_end", MINUTES), {"different window_end"},
    ),
    "older formula": (changed("0 AS catalogue_version", BREADTH), {"different catalogue_version"}),
    "whole figure of another moment": (
        changed("numerator / 2 AS numerator, value / 2 AS value, 1 AS sample_size", BREADTH),
        {"different value,numerator,sample_size"},
    ),
    "row lost": (f"DELETE FROM metric_rows WHERE {BREADTH}", {"missing"}),
    "row of no lesson": (changed("'lesson-9' AS key", BREADTH), {"unexpected"}),
    "row of another window start": (changed("slot + toIntervalMinute(900) AS slot", MINUTES), {"unexpected"}),
    "row of a prompt never asked": (
        changed("'q9' AS item", "metric = 'response_rate' AND item = 'q1' AND key = 'lesson-1'"), {"unexpected"},
    ),
    "row of an unknown window": (changed("'30m/1m' AS window", BREADTH), {"unexpected"}),
    "row of an unknown figure": (changed("'happiness' AS metric", BREADTH), {"unexpected"}),
    "zombie far ahead of the checkpoint": (
        changed("value / 2 AS value, bitShiftLeft(toUInt64(1), 60) AS revision", BREADTH).replace(
            ", revision + 1 AS revision", ""
        ),
        {"different value"},
    ),
    "consumed off by one": (recounted("consumed - 1 AS consumed"), {CONSUMED}),
    "duplicates off by one": (recounted("duplicates + 1 AS duplicates"), {CONSUMED}),
    "stored off by one": (recounted("stored + 1 AS stored, consumed + 1 AS consumed"), {STORED}),
    "dead letters off by one": (recounted("dead_letters + 1 AS dead_letters, consumed + 1 AS consumed"), {REFUSED}),
    "dead letter lost": ("DELETE FROM dead_letters WHERE topic = 'classpulse.prep'", {REFUSED}),
    "event lost": (
        "DELETE FROM events_research WHERE type = 'research.participant.left'",
        {STORED, "different value,numerator"},
    ),
    "event doubled at another time": (
        "INSERT INTO events_prep SELECT * REPLACE (time + 1 AS time) FROM events_prep WHERE id = 't1-4'",
        {UNIQUE, "different value,numerator,sample_size"},
    ),
    "checkpoint lost": (
        "DELETE FROM checkpoints WHERE topic = 'classpulse.prep'", {"different value,numerator,sample_size"},
    ),
}  # fmt: skip


def test_agrees_when_all_is_well(client: Client) -> None:
    """Figures of the oracle agree with the SQL, every law holds, and every row is counted."""
    report = check(client)
    assert report.differences == []
    assert report.agrees
    assert report.rows_expected == report.rows_stored == sum(map(family_rows, FAMILIES))
    assert len(report.laws) == 12


@pytest.mark.parametrize("name", PLANTED)
def test_finds_a_planted_error(client: Client, name: str) -> None:
    """Each planted error is found as what it is, and nothing else is reported."""
    statement, expected = PLANTED[name]
    client.command(statement)
    report = check(client)
    assert not report.agrees
    assert report.differences_total == len(report.differences)
    assert found(report) == expected


def test_finds_an_event_that_no_figure_counted(client: Client) -> None:
    """An answer below the checkpoint that the figures leave out shows in every window that holds it."""
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
    """A difference carries the row's key, and the figures expected and stored."""
    client.command(changed("sample_size + 1 AS sample_size", BREADTH))
    difference = check(client).differences[0]
    assert difference.key == {
        "metric": "participation_breadth", "window": "lesson", "key": "lesson-2", "item": "",
        "slot": "1970-01-01T00:00:00Z",
    }  # fmt: skip
    assert difference.expected is not None
    assert difference.stored is not None
    assert (difference.expected["sample_size"], difference.stored["sample_size"]) == (3, 4)
    assert difference.stored["window_start"] == "2026-11-16T00:00:07Z"


def test_rounding_is_no_difference(client: Client) -> None:
    """Floats that differ by less than the tolerance agree."""
    client.command(changed("value * (1 + 1e-12) AS value, numerator * (1 - 1e-12) AS numerator", "1"))
    assert check(client).agrees


def test_events_beyond_the_checkpoint_do_not_count(client: Client) -> None:
    """A worker killed after it stored events, before their figures, leaves nothing to report."""
    answer = event("classroom.answer.submitted", 400, 99, "lesson-1", student_id="chen", prompt_id="q0")
    insert_events(client, [answer], first_position=1000)
    assert check(client).agrees


def test_figures_ahead_of_the_checkpoint_are_held_against_their_events(client: Client) -> None:
    """A worker killed after it stored figures, before the checkpoint, leaves nothing to report."""
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
    report = verify(client, time_zone=ZONE, on_progress=seen.append, rows_per_range=1)
    assert found(report) == {"different sample_size"}
    assert report.rows_expected == report.rows_stored == sum(map(family_rows, FAMILIES))
    assert [(step.family, step.ranges_done, step.ranges_total) for step in seen] == [
        ("classroom", 1, 3), ("classroom", 2, 3), ("classroom", 3, 3), ("prep", 1, 1), ("research", 1, 1)
    ]  # fmt: skip


def test_an_impossible_question_is_refused(client: Client) -> None:
    """An unknown time zone or limit is refused with what to give instead."""
    with pytest.raises(ValueError, match="Asia/Shanghai"):
        verify(client, time_zone="Asia/Atlantis")
    with pytest.raises(ValueError, match="1 to 1000"):
        verify(client, time_zone=ZONE, limit=0)


def test_no_false_alarm_while_a_worker_writes(client: Client, target: Target) -> None:
    """While a worker flushes events, figures and checkpoints of a growing lesson, every verification agrees."""
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
