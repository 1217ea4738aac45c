"""Faults 20 to 25: what devices should not send."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.simulator import Disturbance, Produced, SimulationConfig, simulate
from deploy.local.simulator.malformed import KINDS
from schemas.events.event_types import schema_uri, type_uri
from streams.kafka.topics import DEAD_LETTER_TOPIC
from tests.faults.fault_rig import CLASSROOM, FaultRig, event, record
from tests.faults.kafka_side import dead_letters, delete_topics
from tests.lab.rig import wait_until


def bad_record(kind: str) -> Produced:
    """Return a classroom event with one fault of the simulator's catalogue, which says why it must be rejected."""
    only = Disturbance(malformed_share=1.0, malformed_kinds=(kind,))
    made = simulate(SimulationConfig(seed=20, events=1_000, disturbance=only))
    return next(one for one in made if one.outcome == "dead_letter")


def test_fault_20_malformed_records(rig: FaultRig) -> None:
    """Each malformed record is a dead letter with its reason, its position and its bytes; its neighbours are stored."""
    bad = [bad_record(kind) for kind in KINDS]
    worker = rig.start_worker()
    rig.publish([one for number, spoiled in enumerate(bad) for one in (event(number), spoiled)])
    rig.assert_invariants()
    assert worker.running
    letters = dead_letters(rig, len(bad))
    found = [(dict(letter.headers)["classpulse-reason"].decode(), letter.value or b"") for letter in letters]
    assert sorted(found) == sorted((str(spoiled.reason), spoiled.value or b"") for spoiled in bad)
    positions = {
        tuple(dict(letter.headers)[f"classpulse-{name}"].decode() for name in ("topic", "partition", "offset"))
        for letter in letters
    }
    stored = rig.admin.query("SELECT topic, toString(partition), toString(position) FROM dead_letters FINAL").result_rows
    assert positions == {tuple(row) for row in stored}
    assert len(positions) == len(bad)


def test_fault_21_unknown_type_and_version(rig: FaultRig) -> None:
    """An unknown type or schema version is a dead letter that can be replayed: rejected again, it changes nothing else."""
    rig.start_worker()
    rig.publish(
        [
            event(0),
            event(1, outcome="dead_letter", type=type_uri("classroom.hand.waved")),
            event(2, outcome="dead_letter", dataschema=schema_uri("classroom.hand.raised", "9.0")),
        ]
    )
    rig.assert_invariants()
    reasons = rig.admin.query("SELECT reason FROM dead_letters FINAL ORDER BY position").result_rows
    assert [row[0] for row in reasons] == ["unknown_type", "unknown_version"]
    replay = subprocess.run(
        [sys.executable, "-m", "streams", "dlq", "replay", "--all", "--yes"],
        env=rig.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert replay.returncode == 0, replay.stderr
    wait_until(lambda: rig.counters() == (5, 1, 0, 4), "the replayed records to be rejected again")


def test_fault_22_a_record_larger_than_a_dead_letter(rig: FaultRig) -> None:
    """Of a record too large for a dead letter the beginning is kept, with where the whole one is; the next is stored."""
    rig.start_worker()
    large = record(b"x" * 1_000_000, reason="json")
    rig.publish([event(0), large, event(1)])
    rig.assert_invariants()
    letter = dead_letters(rig, 1)[0]
    headers = {key: value.decode() for key, value in letter.headers}
    assert headers["classpulse-truncated"] == "value"
    assert headers["classpulse-value-bytes"] == "1000000"
    assert (headers["classpulse-topic"], headers["classpulse-offset"]) == (CLASSROOM, "1")
    assert len(letter.value) < 1_000_000


def test_fault_23_the_dead_letter_topic_is_away(rig: FaultRig) -> None:
    """Without the dead-letter topic the checkpoint waits for it; the worker is not ready, and goes on when it is back."""
    worker = rig.start_worker()
    rig.publish([event(0)])
    rig.assert_invariants()
    delete_topics(rig, DEAD_LETTER_TOPIC)
    rig.publish([event(1), record(b"{not json", reason="json"), event(2)])
    wait_until(lambda: worker.status("readyz") == 503, "the worker to say that it is not ready")
    assert rig.counters()[0] == 1
    assert worker.running
    rig.create_topics()
    rig.assert_invariants()
    assert len(dead_letters(rig, 1)) == 1


def test_fault_23_everything_is_bad(rig: FaultRig) -> None:
    """When all input is bad the offsets are held, an alert is raised, and only a trial goes through after each pause."""
    worker = rig.start_worker()
    rig.publish([event(number) for number in range(500)])
    rig.assert_invariants()
    rig.publish([record(b"garbage %d" % number, reason="json") for number in range(5_000)])
    wait_until(lambda: worker.telemetry().total("classpulse_circuit_open") == 1, "the circuit to open")
    assert worker.status("readyz") == 503
    assert worker.status("healthz") == 200
    rig.publish([event(number, key="lesson-2") for number in range(500, 700)])
    rig.assert_invariants()  # after the pause the trial goes through, and nothing is lost
    wait_until(lambda: worker.telemetry().total("classpulse_circuit_trips_total") >= 1, "the trip to be counted")


def test_fault_23_everything_bad_was_read(rig: FaultRig) -> None:
    """A circuit that is open with nothing behind it is no reason to call anybody: no offset is held."""
    worker = rig.start_worker()
    rig.publish([record(b"garbage %d" % number, reason="json") for number in range(1_500)])
    wait_until(lambda: rig.counters() == (1_500, 0, 0, 1_500), "the trial to go through")
    assert worker.telemetry().total("classpulse_circuit_trips_total") >= 1
    wait_until(lambda: worker.telemetry().total("classpulse_circuit_open") == 0, "the circuit to hold nothing")
    assert worker.status("readyz") == 200


def test_fault_24_the_same_events_again(rig: FaultRig) -> None:
    """A batch sent twice, a sequence that starts again and an id with another time have one effect."""
    rig.start_worker()
    moment = datetime.now(UTC) - timedelta(hours=1)
    batch = [event(number, at=moment + timedelta(seconds=number), sequence=str(number)) for number in range(50)]
    again = [one._replace(outcome="duplicate") for one in batch]
    restarted = [event(100 + number, at=moment + timedelta(seconds=60), sequence=str(number)) for number in range(5)]
    another_time = [event(number, at=moment + timedelta(minutes=30), outcome="duplicate") for number in range(10)]
    rig.publish(batch)
    rig.assert_invariants()
    rig.publish(again + restarted + another_time)
    rig.assert_invariants()


@pytest.mark.parametrize("restarted", [False, True])
def test_fault_24_again_after_the_memory_is_gone(rig: FaultRig, restarted: bool) -> None:
    """A duplicate is recognised when its first copy is in ClickHouse alone."""
    worker = rig.start_worker(CLASSPULSE_CACHE_MAX_ROWS="10")
    batch = [event(number, key=f"lesson-{number % 7}") for number in range(200)]
    rig.publish(batch)
    rig.assert_invariants()
    if restarted:
        worker.kill()
        rig.start_worker()
    rig.publish([one._replace(outcome="duplicate") for one in batch])
    rig.assert_invariants()


def test_fault_25_late_events_and_wrong_clocks(rig: FaultRig) -> None:
    """Events hours and days late revise their windows; a clock in 1970 or next year is rejected, and moves no watermark."""
    rig.start_worker()
    now = datetime.now(UTC)
    times: list[Callable[[int], datetime]] = [
        lambda number: now - timedelta(minutes=5, milliseconds=number),
        lambda number: now - timedelta(hours=6, milliseconds=number),
        lambda number: now - timedelta(days=6, milliseconds=number),
    ]
    for start, time_of in enumerate(times):
        rig.publish([event(100 * start + number, at=time_of(number)) for number in range(50)])
        rig.assert_invariants()
    watermark = "SELECT max(watermark) FROM checkpoints FINAL"
    before = rig.admin.query(watermark).result_rows[0][0]
    wrong = [
        *(event(900 + day, at=datetime(1970, 1, 1 + day, tzinfo=UTC), outcome="dead_letter") for day in range(20)),
        *(event(950 + day, at=now + timedelta(days=365 + 31 * day), outcome="dead_letter") for day in range(20)),
    ]
    rig.publish(wrong)
    rig.assert_invariants()
    assert rig.admin.query(watermark).result_rows[0][0] == before
    parts = "SELECT uniqExact(partition) FROM system.parts WHERE active AND table = 'events_classroom'"
    assert rig.admin.query(parts).result_rows[0][0] <= 2
    windows = "SELECT uniqExact(window_start) FROM metric_rows FINAL WHERE key = 'lesson-1' AND window = '5m/1m'"
    assert rig.admin.query(windows).result_rows[0][0] >= 3
