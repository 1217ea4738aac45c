"""The path against the real database: crashes at every step, gaps, and who owns what."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from schemas.codec.decode import ClockLimits
from schemas.errors import MustStop
from schemas.events.event_types import schema_uri, type_uri
from schemas.events.pseudonym import Pseudonymizer
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import Target, Warehouse, connect
from sinks.stores.checkpoints import CheckpointStore
from sinks.stores.dead_letters import DeadLetter, DeadLetterStore
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from sinks.verify.verify import verify
from streams.pipeline.clock import Clock
from streams.pipeline.decoder import Decoder
from streams.pipeline.partition import Log
from streams.pipeline.rules import Rules
from streams.pipeline.writer import Rejected, Sinks
from tests.oracle.path import Path

TOPIC = "classpulse.classroom"
BASE_MS = 1_794_787_200_000


@dataclass(frozen=True)
class Record:
    """A Kafka record."""

    offset: int
    value: bytes | None
    key: bytes | None = b"lesson-1"
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = BASE_MS + 3_600_000


@dataclass(frozen=True)
class Batch:
    """What a fetch covers of one partition; without ``covers`` it is from the first record to the last."""

    records: Sequence[Record]
    topic: str = TOPIC
    partition: int = 0
    covers: tuple[int, int] | None = None

    @property
    def start(self) -> int:
        """First offset."""
        return self.covers[0] if self.covers else self.records[0].offset

    @property
    def next_offset(self) -> int:
        """The offset after the last."""
        return self.covers[1] if self.covers else self.records[-1].offset + 1


@dataclass
class Letters:
    """A dead-letter topic that keeps what it is given."""

    published: list[DeadLetter] = field(default_factory=list)

    def publish(self, letters: Sequence[DeadLetter]) -> Future[None]:
        """Keep."""
        self.published.extend(letters)
        done: Future[None] = Future()
        done.set_result(None)
        return done


def event(number: int, name: str = "classroom.hand.raised", key: str = "lesson-1", **data: object) -> bytes:
    """Return a structured event, ``number`` seconds into the lesson."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BASE_MS / 1000 + number))
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": "/schools/s07/devices/t1",
            "type": type_uri(name),
            "time": moment,
            "subject": key,
            "dataschema": schema_uri(name),
            "partitionkey": key,
            "data": {"student_id": "stu-1", **data},
        }
    ).encode()


def new_path(warehouse: Warehouse, letters: Letters | None = None) -> Path:
    """Return the path of a new worker."""
    sinks = Sinks(
        EventStore(warehouse),
        MetricStore(warehouse),
        CheckpointStore(warehouse, "test"),
        DeadLetterStore(warehouse),
        letters or Letters(),
    )
    rules = Rules(60_000_000, 120_000_000, 100_000)
    decoder = Decoder(ClockLimits(0, 3_600_000_000), 60_000_000, 100_000, Pseudonymizer(b"0123456789abcdef"))
    return Path(sinks, rules, decoder, Clock(lambda: (BASE_MS + 7_200_000) * 1000, time.monotonic))


def assign(path: Path, end: int = 1_000) -> int:
    """Assign partition 0 and return where it reads on."""
    return path.assign({(TOPIC, 0): Log(0, end)})[TOPIC, 0]


def apply(path: Path, records: Sequence[Record], covers: tuple[int, int] | None = None) -> int | None:
    """Take a batch in; return the offset to read again from, if any."""
    found = path.submit(Batch(records, covers=covers))
    assert found is not None
    return found.read_again_from


def flush(path: Path) -> None:
    """Write what waits."""
    assert not isinstance(path.flush(), Rejected)


def counters(warehouse: Warehouse) -> tuple[int, ...]:
    """Return consumed, stored, duplicates, dead letters."""
    sql = "SELECT sum(consumed), sum(stored), sum(duplicates), sum(dead_letters) FROM checkpoints FINAL"
    return tuple(int(value) for value in warehouse.query("count", sql).row(0))


def assert_verified(database: Target) -> None:
    """Verify finds no difference."""
    client = connect(database)
    report = verify(client, rules=MetricRules())
    assert report.differences_total == 0, report.differences
    client.close()


RECORDS = [
    Record(0, event(0)),
    Record(1, event(70)),
    Record(2, event(70)),
    Record(3, b"not json"),
    Record(4, event(130)),
]


@pytest.mark.parametrize(
    "step",
    ["dead_letters.insert", "events.insert", "events.note_duplicates", "metrics.upsert", "checkpoints.save"],
)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_crash_at_any_step_has_no_effect(
    database: Target, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
) -> None:
    """A worker that dies before or after any step of a write leaves a state from which the next one converges."""
    dying = new_path(warehouse)
    assign(dying)
    apply(dying, RECORDS)
    crash_at(monkeypatch, dying, step, moment)
    with pytest.raises(KeyboardInterrupt):
        dying.flush()
    successor = new_path(warehouse)
    start = assign(successor)
    if start <= 4:
        apply(successor, [record for record in RECORDS if record.offset >= start])
        flush(successor)
    assert counters(warehouse) == (5, 3, 1, 1)
    assert_verified(database)


def test_records_that_come_again_are_skipped(warehouse: Warehouse) -> None:
    """Offsets below the next expected one are not applied twice."""
    path = new_path(warehouse)
    assign(path)
    apply(path, RECORDS[:3])
    apply(path, RECORDS)
    flush(path)
    assert counters(warehouse) == (5, 3, 1, 1)


def test_a_gap_is_asked_about_once_and_then_believed(warehouse: Warehouse) -> None:
    """A gap sends the consumer back; if it is still there, the log has it, and work goes on."""
    path = new_path(warehouse)
    assign(path)
    apply(path, RECORDS[:1])
    assert apply(path, RECORDS[3:]) == 1
    assert apply(path, RECORDS[3:]) is None
    flush(path)
    assert counters(warehouse) == (3, 2, 0, 1)


def test_offsets_without_a_record_are_no_gap(warehouse: Warehouse) -> None:
    """Markers, aborted and compacted records move the partition on, to its checkpoint too, wherever in the log they are."""
    path = new_path(warehouse)
    assign(path)
    for records, covers in [([], (0, 3)), ([Record(5, event(0)), Record(8, event(1))], (3, 10)), ([], (10, 14))]:
        assert apply(path, records, covers) is None
        flush(path)
    assert counters(warehouse) == (2, 2, 0, 0)
    (point,) = path.writer.load_checkpoints().values()
    assert (point.next_offset, point.last_offset) == (14, 8)
    gaps = path.telemetry.registry.get_sample_value(
        "classpulse_offset_gap_records_total", {"topic": TOPIC, "partition": "0"}
    )
    assert gaps is None


def test_what_kafka_dropped_is_a_gap_though_the_batch_covers_more(warehouse: Warehouse) -> None:
    """A batch that begins above the expected offset is a gap up to there, with or without a record in it."""
    path = new_path(warehouse)
    assign(path)
    apply(path, RECORDS[:1])
    assert apply(path, [], (4, 9)) == 1
    assert apply(path, [], (4, 9)) is None
    assert path.partitions[TOPIC, 0].next_offset == 9
    gaps = path.telemetry.registry.get_sample_value(
        "classpulse_offset_gap_records_total", {"topic": TOPIC, "partition": "0"}
    )
    assert gaps == 3


def test_a_batch_of_another_workers_partition_is_left_alone(warehouse: Warehouse) -> None:
    """After a rebalance, what still arrives of a lost partition is dropped."""
    path = new_path(warehouse)
    assign(path)
    assert path.submit(Batch(RECORDS, partition=5)) is None


def test_a_late_event_of_a_forgotten_lesson_revises_its_metrics(database: Target, warehouse: Warehouse) -> None:
    """A worker that never saw a lesson reads its stored events back and revises its rows."""
    first = new_path(warehouse)
    assign(first)
    apply(first, RECORDS)
    flush(first)
    second = new_path(warehouse)
    assert assign(second) == 5
    apply(second, [Record(5, event(65, "classroom.attendance.joined")), Record(6, event(0))])
    flush(second)
    assert counters(warehouse) == (7, 4, 2, 1)
    assert_verified(database)


def test_a_stale_writer_loses(database: Target, warehouse: Warehouse) -> None:
    """A worker frozen with a write in its hands finishes it after its successor: nothing goes back."""
    frozen = new_path(warehouse)
    assign(frozen)
    apply(frozen, RECORDS[:2])
    stale = frozen.partitions.take()
    assert stale is not None
    successor = new_path(warehouse)
    assign(successor)
    apply(successor, RECORDS)
    flush(successor)
    frozen.writer.write(stale)
    assert counters(warehouse) == (5, 3, 1, 1)
    assert_verified(database)


def test_a_dead_letter_keeps_the_record_and_says_why(warehouse: Warehouse) -> None:
    """The dead letter carries the original bytes and headers, where it was, and the reason; the table holds no content."""
    letters = Letters()
    path = new_path(warehouse, letters)
    assign(path)
    apply(path, [Record(0, b'{"student_id": "20110417"', headers=(("x-vendor", b"acme"),))])
    flush(path)
    (letter,) = letters.published
    headers = dict(letter.kafka_headers())
    assert letter.value == b'{"student_id": "20110417"'
    assert headers["x-vendor"] == b"acme"
    assert headers["classpulse-reason"] == b"json"
    assert (headers["classpulse-topic"], headers["classpulse-offset"]) == (TOPIC.encode(), b"0")
    stored = warehouse.query("read", "SELECT * EXCEPT (recorded_at, refused_at) FROM dead_letters").rows()
    assert "20110417" not in str(stored)
    assert stored[0][3] == "json"


def test_a_write_of_many_months_is_stored(database: Target, warehouse: Warehouse) -> None:
    """Events of 250 months, as after a clock that went back, are written although an insert may hold 100 months."""
    path = new_path(warehouse)
    assign(path)
    apply(path, [Record(month, event(-month * 2_678_400)) for month in range(250)])
    flush(path)
    assert counters(warehouse) == (250, 250, 0, 0)
    assert_verified(database)


def test_only_what_the_database_rejects_becomes_a_dead_letter(database: Target, warehouse: Warehouse) -> None:
    """Events that break a constraint, and their repeats, are dead letters with what ClickHouse said; all others count."""
    client = connect(database)
    client.command("ALTER TABLE events_classroom ADD CONSTRAINT no_poison CHECK id NOT IN ('e70', 'e90')")
    client.close()
    letters = Letters()
    path = new_path(warehouse, letters)
    assign(path)
    poison = Record(5, event(90, key="lesson-2"), key=b"lesson-2")
    records = [*RECORDS, poison, *(Record(number, event(number)) for number in range(6, 40))]
    for _attempt in range(3):  # the first copy, then its repeat, then none
        apply(path, records)
        if not isinstance(path.flush(), Rejected):
            break
        assert assign(path) == 0
    assert counters(warehouse) == (40, 36, 0, 4)
    assert_verified(database)
    rejected = {letter.offset: letter.detail for letter in letters.published if letter.reason == "database"}
    assert set(rejected) == {1, 2, 5}
    assert "no_poison" in rejected[5]
    assert "http" not in rejected[5]
    assert {letter.value for letter in letters.published if letter.offset == 1} == {event(70)}


def test_a_table_that_takes_nothing_stops_the_worker(
    database: Target, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more rejected events in a write than can be the events' fault the worker stops, and names the table."""
    monkeypatch.setattr("sinks.stores.events.MOST_REFUSED_EVENTS", 3)
    client = connect(database)
    client.command("ALTER TABLE events_classroom ADD CONSTRAINT nothing CHECK 0")
    client.close()
    path = new_path(warehouse)
    assign(path)
    apply(path, RECORDS + [Record(number, event(number)) for number in range(5, 10)])
    with pytest.raises(MustStop, match="events_classroom and its constraints"):
        path.flush()


def test_an_idle_partition_closes_its_windows(warehouse: Warehouse) -> None:
    """Without further records the checkpoint's watermark moves on, once."""
    path = new_path(warehouse)
    assign(path)
    apply(path, RECORDS)
    flush(path)
    assert path.partitions.idle_checkpoints() == []
    path.set_time((BASE_MS + 86_400_000) * 1000)
    (moved,) = path.partitions.idle_checkpoints()
    path.writer.save_checkpoints([moved])
    closed = "SELECT countIf(NOT closed) FROM v1_figures"
    assert warehouse.query("ask", closed).item() == 0
    assert path.partitions.idle_checkpoints() == []


@pytest.mark.parametrize("crash_again", [False, True])
@pytest.mark.parametrize("step", ["events.insert", "metrics.upsert"])
def test_what_an_ended_epoch_left_behind_is_counted(
    database: Target, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, step: str, crash_again: bool
) -> None:
    """Events stored above the last checkpoint of a log that is gone are counted once, also if that is cut short too."""
    dying = new_path(warehouse)
    assign(dying)
    apply(dying, RECORDS[:1])
    flush(dying)
    apply(dying, RECORDS[1:])
    crash_at(monkeypatch, dying, step, "after")
    with pytest.raises(KeyboardInterrupt):
        dying.flush()

    def begin_an_epoch(path: Path) -> None:
        path.assign({(TOPIC, 0): Log(0, 9, fingerprint=1)})
        path.count_ended_epochs()

    if crash_again:
        failing = new_path(warehouse)
        crash_at(monkeypatch, failing, "metrics.upsert", "after")
        with pytest.raises(KeyboardInterrupt):
            begin_an_epoch(failing)
    successor = new_path(warehouse)
    begin_an_epoch(successor)
    assert counters(warehouse) == (4, 3, 0, 1)  # its duplicate was dropped, and is in no account
    assert_verified(database)
    apply(successor, [Record(0, event(70)), Record(1, event(300))])
    flush(successor)
    assert counters(warehouse) == (6, 4, 1, 1)
    assert_verified(database)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_late_is_told_by_the_log_alone(warehouse: Warehouse, size: int) -> None:
    """An event is late if it is behind the watermark of those before it in the log, however they were fetched."""
    path = new_path(warehouse)
    assign(path)
    seconds = [0, 200, 140, 139, 260, 199, 200]
    records = [Record(offset, event(second)) for offset, second in enumerate(seconds)]
    for start in range(0, len(records), size):
        apply(path, records[start : start + size])
    write = path.partitions.take()
    assert write is not None
    late_events = [late for chunk in write.parts[0].chunks for late in chunk.events["late"]]
    assert late_events == [False, False, False, True, False, True, False]


def crash_at(monkeypatch: pytest.MonkeyPatch, path: Path, step: str, moment: str) -> None:
    """Let a worker die before or after a step of its next write."""
    store_name, method = step.split(".")
    store = getattr(path.sinks, store_name)
    original = getattr(store, method)

    def crash(*arguments: object) -> None:
        if moment == "after":
            original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, method, crash)
