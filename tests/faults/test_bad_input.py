"""Faults 20 to 25: what devices should not send."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.simulator import Produced
from schemas.events.event_types import schema_uri, type_uri
from streams.kafka.topics import DEAD_LETTER_TOPIC
from tests.end_to_end.harness import wait_until
from tests.faults.broken_town import CLASSROOM, BrokenTown, event, record
from tests.faults.kafka_side import dead_letters, delete_topics


def refused(changes: dict[str, Any], reason: str) -> Produced:
    """Return an event that is wrong in one attribute."""
    return event(9_000, fate="dead_letter", reason=reason, **changes)


GOOD = event(9_000).value or b""
BAD = {
    "json": record(b"{not json", reason="json"),
    "invalid UTF-8": record(GOOD.replace(b"stu-1", b"\xff\xfe"), reason="encoding"),
    "empty": record(b"", reason="empty"),
    "null": record(None, reason="empty"),
    "wrong type": refused({"data": {"student_id": 7}}, "data"),
    "not a number": record(GOOD.replace(b'"stu-1"', b"NaN"), reason="json"),
    "deep nesting": record(b'{"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}", reason="nesting"),
    "duplicate key": record(GOOD[:-1] + b',"id":"another"}', reason="duplicate_key"),
}


def test_fault_20_malformed_records(town: BrokenTown) -> None:
    """Each malformed record is a dead letter with its reason, its place and its bytes; its neighbours are stored."""
    worker = town.start_worker()
    sent = [one for number, bad in enumerate(BAD.values()) for one in (event(number), bad)]
    town.publish(sent)
    town.assert_laws()
    assert worker.running
    letters = dead_letters(town, len(BAD))
    for letter, (name, bad) in zip(letters, BAD.items(), strict=True):
        headers = {key: value.decode() for key, value in letter.headers}
        assert headers["classpulse-reason"] == bad.reason, name
        assert headers["classpulse-topic"] == CLASSROOM
        assert letter.value == bad.value, name
    offsets = [int(dict(letter.headers)["classpulse-offset"]) for letter in letters]
    assert offsets == [2 * number + 1 for number in range(len(BAD))]
    rows = town.admin.query("SELECT reason, count() FROM dead_letters FINAL GROUP BY reason").result_rows
    assert sum(count for _reason, count in rows) == len(BAD)


def test_fault_21_unknown_type_and_version(town: BrokenTown) -> None:
    """An unknown type or schema version is a dead letter that can be replayed: refused again, it changes nothing else."""
    town.start_worker()
    town.publish(
        [
            event(0),
            event(1, fate="dead_letter", type=type_uri("classroom.hand.waved")),
            event(2, fate="dead_letter", dataschema=schema_uri("classroom.hand.raised", "9.0")),
        ]
    )
    town.assert_laws()
    reasons = town.admin.query("SELECT reason FROM dead_letters FINAL ORDER BY position").result_rows
    assert [row[0] for row in reasons] == ["unknown_type", "unknown_version"]
    replay = subprocess.run(
        [sys.executable, "-m", "streams", "dlq", "replay", "--all", "--yes"],
        env=town.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert replay.returncode == 0, replay.stderr
    wait_until(lambda: town.counters() == (5, 1, 0, 4), "the replayed records to be refused again")


def test_fault_22_a_record_larger_than_a_dead_letter(town: BrokenTown) -> None:
    """Of a record too large for a dead letter the beginning is kept, with where the whole one is; the next is stored."""
    town.start_worker()
    large = record(b"x" * 1_000_000, reason="json")
    town.publish([event(0), large, event(1)])
    town.assert_laws()
    letter = dead_letters(town, 1)[0]
    headers = {key: value.decode() for key, value in letter.headers}
    assert headers["classpulse-truncated"] == "value"
    assert headers["classpulse-value-bytes"] == "1000000"
    assert (headers["classpulse-topic"], headers["classpulse-offset"]) == (CLASSROOM, "1")
    assert len(letter.value) < 1_000_000


def test_fault_23_the_dead_letter_topic_is_away(town: BrokenTown) -> None:
    """Without the dead-letter topic the checkpoint waits for it; the worker is not ready, and goes on when it is back."""
    worker = town.start_worker()
    town.publish([event(0)])
    town.assert_laws()
    delete_topics(town, DEAD_LETTER_TOPIC)
    town.publish([event(1), BAD["json"], event(2)])
    wait_until(lambda: worker.status("readyz") == 503, "the worker to say that it is not ready")
    assert town.counters()[0] == 1
    assert worker.running
    town.create_topics()
    town.assert_laws()
    assert len(dead_letters(town, 1)) == 1


def test_fault_23_everything_is_bad(town: BrokenTown) -> None:
    """When all input is bad the offsets are held, an alert is raised, and only a trial goes through after each pause."""
    worker = town.start_worker()
    town.publish([event(number) for number in range(500)])
    town.assert_laws()
    town.publish([record(b"garbage %d" % number, reason="json") for number in range(5_000)])
    wait_until(lambda: worker.metric("classpulse_circuit_open") == 1, "the circuit to open")
    assert worker.status("readyz") == 503
    assert worker.status("healthz") == 200
    town.publish([event(number, key="lesson-2") for number in range(500, 700)])
    town.assert_laws()  # after the pause the trial goes through, and nothing is lost
    wait_until(lambda: worker.metric("classpulse_circuit_trips_total") >= 1, "the trip to be counted")


def test_fault_23_everything_bad_was_read(town: BrokenTown) -> None:
    """A circuit that is open with nothing behind it is no reason to call anybody: no offset is held."""
    worker = town.start_worker()
    town.publish([record(b"garbage %d" % number, reason="json") for number in range(1_500)])
    wait_until(lambda: town.counters() == (1_500, 0, 0, 1_500), "the trial to go through")
    assert worker.metric("classpulse_circuit_trips_total") >= 1
    wait_until(lambda: worker.metric("classpulse_circuit_open") == 0, "the circuit to hold nothing")
    assert worker.status("readyz") == 200


def test_fault_24_the_same_events_again(town: BrokenTown) -> None:
    """A batch sent twice, a sequence that starts again and an id with another time have one effect."""
    town.start_worker()
    moment = datetime.now(UTC) - timedelta(hours=1)
    batch = [event(number, at=moment + timedelta(seconds=number), sequence=str(number)) for number in range(50)]
    again = [one._replace(fate="duplicate") for one in batch]
    restarted = [event(100 + number, at=moment + timedelta(seconds=60), sequence=str(number)) for number in range(5)]
    another_time = [event(number, at=moment + timedelta(minutes=30), fate="duplicate") for number in range(10)]
    town.publish(batch)
    town.assert_laws()
    town.publish(again + restarted + another_time)
    town.assert_laws()


@pytest.mark.parametrize("restarted", [False, True])
def test_fault_24_again_after_the_memory_is_gone(town: BrokenTown, restarted: bool) -> None:
    """A duplicate is recognised when its first copy is in ClickHouse alone."""
    worker = town.start_worker(CLASSPULSE_CACHE_MAX_ROWS="10")
    batch = [event(number, key=f"lesson-{number % 7}") for number in range(200)]
    town.publish(batch)
    town.assert_laws()
    if restarted:
        worker.kill()
        town.start_worker()
    town.publish([one._replace(fate="duplicate") for one in batch])
    town.assert_laws()


def test_fault_25_late_events_and_wrong_clocks(town: BrokenTown) -> None:
    """Events hours and days late revise their windows; a clock in 1970 or next year is refused, and moves no watermark."""
    town.start_worker()
    now = datetime.now(UTC)
    times: list[Callable[[int], datetime]] = [
        lambda number: now - timedelta(minutes=5, milliseconds=number),
        lambda number: now - timedelta(hours=6, milliseconds=number),
        lambda number: now - timedelta(days=6, milliseconds=number),
    ]
    for start, time_of in enumerate(times):
        town.publish([event(100 * start + number, at=time_of(number)) for number in range(50)])
        town.assert_laws()
    watermark = "SELECT max(watermark) FROM checkpoints FINAL"
    before = town.admin.query(watermark).result_rows[0][0]
    wrong = [
        *(event(900 + day, at=datetime(1970, 1, 1 + day, tzinfo=UTC), fate="dead_letter") for day in range(20)),
        *(event(950 + day, at=now + timedelta(days=365 + 31 * day), fate="dead_letter") for day in range(20)),
    ]
    town.publish(wrong)
    town.assert_laws()
    assert town.admin.query(watermark).result_rows[0][0] == before
    parts = "SELECT uniqExact(partition) FROM system.parts WHERE active AND table = 'events_classroom'"
    assert town.admin.query(parts).result_rows[0][0] <= 2
    windows = "SELECT uniqExact(window_start) FROM metric_rows FINAL WHERE key = 'lesson-1' AND window = '5m/1m'"
    assert town.admin.query(windows).result_rows[0][0] >= 3
