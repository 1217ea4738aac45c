"""The guard between aiokafka and the pipeline: real batches pass unchanged, hostile ones in bounds, no offset is lost."""

import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec.decode import ClockLimits, Reason, decode
from schemas.codec.records import OVERSIZED_HEADER, UNREADABLE_HEADER
from schemas.events.event_types import FAMILIES
from streams.kafka.fetch import guard as decompression
from streams.kafka.fetch.batches import Budget, Fetched
from streams.kafka.fetch.guard import GuardedRecords, PiecewiseRecords

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
HEADER_BYTES = 61
BASE_OFFSET = 1_000
MIB = 1024 * 1024
COMPRESS: dict[int, Callable[[bytes], Any]] = {
    0: bytes,
    1: lambda data: zlib.compress(data, wbits=31),
    2: cramjam.snappy.compress_raw,
    3: cramjam.lz4.compress,
    4: cramjam.zstd.compress,
}
_texts = st.text(st.characters(codec="utf-8"), max_size=8)
_contents = st.none() | st.binary(max_size=60)
_rows = st.tuples(st.integers(0, 2**41), _contents, _contents, st.lists(st.tuples(_texts, _contents), max_size=4))


def batch(codec: int, rows: list[tuple[Any, ...]], base_offset: int = BASE_OFFSET) -> bytes:
    """Return a batch as a producer sends it."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 64 * MIB)
    for index, (timestamp, key, value, headers) in enumerate(rows):
        builder.append(index, timestamp, key, value, headers)
    built = bytearray(builder.build())
    struct.pack_into(">q", built, 0, base_offset)
    return bytes(built)


def forged(codec: int, payload: bytes, records: int) -> bytes:
    """Return a batch with any payload and a right checksum."""
    length = HEADER_BYTES - 12 + len(payload)
    head = bytearray(
        struct.pack(">qiibIhiqqqhii", BASE_OFFSET, length, 0, 2, 0, codec, records - 1, 5_000, 6_000, -1, -1, -1, records)
    )
    struct.pack_into(">I", head, 17, calc_crc32c(bytes(head[21:]) + payload))
    return bytes(head) + payload


def bomb(codec: int, size_bytes: int, records: int = 1) -> bytes:
    """Return a batch that decompresses to zeros."""
    return forged(codec, bytes(COMPRESS[codec](bytes(size_bytes))), records)


def fields(record: Any) -> tuple[Any, ...]:
    """Return what aiokafka takes from a record."""
    headers = tuple(record.headers)
    return record.offset, record.timestamp, record.timestamp_type, record.key, record.value, headers, record.checksum


def read(source: Any) -> Iterator[Any]:
    """Read every batch as aiokafka's fetcher does: records, or pieces of them from the guard."""
    while source.has_next():
        one = source.next_batch()
        assert one.validate_crc()
        yield from one


def guarded(fetched: bytes, limit_bytes: int = MIB) -> list[Any]:
    """Read a fetch through the guard."""
    decompression._budget.renew()
    return [record for piece in read(GuardedRecords(fetched, limit_bytes)) for record in piece.records]


@given(st.lists(st.tuples(st.sampled_from(sorted(CODECS.values())), st.lists(_rows, min_size=1, max_size=20)), max_size=4))
def test_what_producers_send_is_unchanged(batches: list[tuple[int, list[tuple[Any, ...]]]]) -> None:
    """Batches of every codec come out record for record as from aiokafka alone, a cut last one left out by both."""
    fetched, base_offset = b"", BASE_OFFSET
    for codec, rows in batches:
        fetched += batch(codec, rows, base_offset)
        base_offset += len(rows)
    for whole in (fetched, fetched[:-1], fetched + b"\0" * 11):
        assert list(map(fields, guarded(whole))) == list(map(fields, read(MemoryRecords(whole))))
        assert GuardedRecords(whole).size_in_bytes() == len(whole)


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_batch_at_the_limit_is_read(codec: int) -> None:
    """The limit is the largest size that is read; one byte more is not."""
    rows: list[tuple[Any, ...]] = [(0, b"k", bytes(200_000), []), (1, b"k", b"tail", [])]
    size_bytes = len(batch(0, rows)) - HEADER_BYTES
    assert [record.value for record in guarded(batch(codec, rows), size_bytes)] == [bytes(200_000), b"tail"]
    assert {record.headers[0][0] for record in guarded(batch(codec, rows), size_bytes - 1)} == {OVERSIZED_HEADER}


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_bomb_is_rejected_in_bounds(codec: int) -> None:
    """A batch of 256 MiB is rejected with about the memory of the limit, and each of its offsets is accounted for."""
    hostile = bomb(codec, 256 * MIB, records=3)
    tracemalloc.start()
    try:
        records = guarded(hostile, 4 * MIB)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10 * MIB + len(hostile)
    assert [record.offset for record in records] == [BASE_OFFSET, BASE_OFFSET + 1, BASE_OFFSET + 2]
    verdict = decode(FAMILIES[0], records, clock=ClockLimits(0, 0), now_us=0)
    assert verdict.events.is_empty()
    assert {reject.reason for reject in verdict.rejects} == {Reason.TOO_LARGE}
    assert all("decompression bomb" in reject.detail and "4194304" in reject.detail for reject in verdict.rejects)


@pytest.mark.parametrize("codec", [1, 3, 4])
def test_a_bomb_costs_the_process_no_more_than_the_limit(codec: int) -> None:
    """What a codec's own library allocates is bounded too: a process that reads a bomb of 1 GiB stays small."""
    program = f"""
import resource
from tests.property.test_decompression import COMPRESS, MIB, forged
from streams.kafka.fetch.guard import GuardedRecords
import cramjam, zlib
piece = bytes(64 * MIB)
if {codec} == 1:
    stream = zlib.compressobj(9, wbits=31)
    payload = b"".join(stream.compress(piece) for _ in range(16)) + stream.flush()
else:
    payload = b"".join([bytes(COMPRESS[{codec}](piece))] * 16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
batch = GuardedRecords(forged({codec}, payload, 1)).next_batch()
assert [record.value for piece in batch for record in piece.records] == [None]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 160


def test_a_bomb_of_records_is_lazy() -> None:
    """A batch that says it has two thousand million records costs nothing until they are asked for."""
    pieces = iter(GuardedRecords(bomb(1, 8 * MIB, records=2_000_000_000), MIB).next_batch())
    decompression._budget.renew()
    decompression._budget.piece_records = 100
    tracemalloc.start()
    try:
        offsets = [record.offset for _ in range(10) for record in next(pieces).records]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert offsets == list(range(BASE_OFFSET, BASE_OFFSET + 1_000))
    assert peak_bytes < 4 * MIB


@given(st.sampled_from([1, 2, 3, 4, 5, 7]), st.binary(max_size=200), st.integers(1, 50))
def test_a_payload_that_is_none_becomes_dead_letters(codec: int, payload: bytes, records: int) -> None:
    """Bytes that no codec wrote, under a right checksum, give one substitute for each offset and a reason."""
    found = guarded(forged(codec, payload, records))
    assert [record.offset for record in found] == list(range(BASE_OFFSET, BASE_OFFSET + records))
    verdict = decode(FAMILIES[0], found, clock=ClockLimits(0, 0), now_us=0)
    # Snappy says first how much will come out; whoever lies about that has sent too much.
    assert {reject.reason for reject in verdict.rejects} <= {Reason.ENCODING, Reason.TOO_LARGE}


@given(st.data(), st.sampled_from([0, 1, 2, 3, 4]), st.lists(_rows, min_size=1, max_size=6))
def test_spoiled_records_cost_no_offset(data: st.DataObject, codec: int, rows: list[tuple[Any, ...]]) -> None:
    """Any change to the records of a batch leaves every offset accounted for once, in order, and nothing raised."""
    plain = bytearray(batch(0, rows)[HEADER_BYTES:])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(plain) - 1)))
        plain[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=10))
    found = guarded(forged(codec, bytes(COMPRESS[codec](bytes(plain))), len(rows)))
    offsets = [record.offset for record in found]
    last = BASE_OFFSET + len(rows) - 1
    assert offsets == sorted(set(offsets))
    assert all(BASE_OFFSET <= offset <= last for offset in offsets)
    assert all(-(2**63) <= record.timestamp < 2**63 for record in found)
    if found[0].offset == BASE_OFFSET:  # a forged gap looks as compaction leaves it
        assert len(offsets) <= len(rows)
    decode(FAMILIES[0], found, clock=ClockLimits(0, 0), now_us=0)


def test_neighbours_of_a_spoiled_record_are_read() -> None:
    """A record that is broken inside its own length is substituted alone."""
    rows = [(0, b"k", b"value-%d" % index, [("name", b"x")]) for index in range(5)]
    plain = batch(0, rows)[HEADER_BYTES:]
    width = len(plain) // 5
    place = 2 * width + 4  # the length of the third record's key
    spoiled = plain[:place] + b"\x7e" + plain[place + 1 :]
    found = guarded(forged(3, bytes(cramjam.lz4.compress(spoiled)), 5))
    assert [record.offset - BASE_OFFSET for record in found] == [0, 1, 2, 3, 4]
    assert [record.value for record in found] == [b"value-0", b"value-1", None, b"value-3", b"value-4"]
    assert found[2].headers[0][0] == UNREADABLE_HEADER


def test_a_header_name_that_is_not_utf8_is_escaped() -> None:
    """The record keeps its value and its other headers; aiokafka alone would end the consumer."""
    plain = batch(0, [(7, b"k", b"v", [("NAME", b"x"), ("other", None)])])[HEADER_BYTES:]
    plain = plain.replace(b"NAME", b"\xff\xfe\x80\0")
    hostile = forged(0, plain, 1)
    with pytest.raises(UnicodeDecodeError):
        list(DefaultRecordBatch(hostile))
    (record,) = guarded(hostile)
    assert (record.key, record.value, record.offset) == (b"k", b"v", BASE_OFFSET)
    assert record.headers == (("\\xff\\xfe\\x80\0", b"x"), ("other", None))


@pytest.mark.parametrize("codec", [0, 1, 3])
def test_messages_of_older_formats(codec: int) -> None:
    """A message of format 1 is read; compressed, it is a dead letter at its own offset."""
    builder = LegacyRecordBatchBuilder(1, codec, 1 * MIB)
    builder.append(0, 5, b"k", bytes(500))
    fetched = bytearray(builder.build())
    struct.pack_into(">q", fetched, 0, BASE_OFFSET)
    (record,) = guarded(bytes(fetched))
    assert (record.offset, record.value) == (BASE_OFFSET, None if codec else bytes(500))
    assert record.headers[0][0] == UNREADABLE_HEADER if codec else not record.headers


def test_a_wrong_checksum_is_told() -> None:
    """Damage that no producer can cause is left for the fetcher to raise."""
    damaged = bytearray(batch(0, [(0, b"k", b"v", [])]))
    damaged[-1] ^= 1
    assert not GuardedRecords(bytes(damaged)).next_batch().validate_crc()
    with pytest.raises(CorruptRecordException):
        GuardedRecords(struct.pack(">qi", 0, 5) + bytes(5)).next_batch()


def test_the_guard_takes_the_place_once() -> None:
    """Installed twice, the fetcher's answer is still wrapped once; the names it replaces exist in this aiokafka."""
    program = """
from aiokafka.consumer import fetcher
from streams.kafka.fetch import guard
original = fetcher.Fetcher.fetched_records
guard.guard()
once = fetcher.Fetcher.fetched_records
guard.guard()
assert fetcher.MemoryRecords is guard.GuardedRecords and fetcher.FetchResult is guard.GuardedResult
assert fetcher.PartitionRecords is guard.PiecewiseRecords
assert once is fetcher.Fetcher.fetched_records and once is not original
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class _Position:
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def consumed_to(self, position: int) -> None:
        """Note the next offset."""
        self.position = position


class _Assignment:
    active = True

    def __init__(self, position: int) -> None:
        self._state = _Position(position)

    def state_value(self, _partition: object) -> _Position:
        """Return the only partition's state."""
        return self._state


PARTITION = TopicPartition("topic", 0)


def unpacked(kind: Any, source: Any, aborted: Any = None, offset: int = BASE_OFFSET, isolation: int = 0) -> Any:
    """Return the fetcher's records of a partition, of aiokafka's or the guarded class."""
    return kind(
        PARTITION,
        source,
        aborted_transactions=aborted,
        fetch_offset=offset,
        key_deserializer=None,
        value_deserializer=None,
        check_crcs=True,
        isolation_level=isolation,
    )


def result(records: Any, assignment: _Assignment) -> decompression.GuardedResult:
    """Return a fetch as the fetcher keeps it."""
    return decompression.GuardedResult(PARTITION, assignment=assignment, partition_records=records, backoff=0.1)


def fetched(source: bytes, assignment: _Assignment) -> decompression.GuardedResult:
    """Return a fetch that was asked for from its first offset on."""
    return result(unpacked(PiecewiseRecords, GuardedRecords(source)), assignment)


@dataclass(frozen=True)
class _Sent:
    """One batch of a log: its rows, each after a gap of offsets, and what is special about it."""

    codec: int
    rows: list[tuple[Any, ...]]
    gaps: list[int]
    gap_at_end: int
    producer: int
    is_control: bool
    is_log_append_time: bool

    def at(self, base_offset: int) -> tuple[bytes, int]:
        """Return the batch as a broker keeps it, and the offset after it."""
        builder = DefaultRecordBatchBuilder(2, self.codec, self.producer >= 0, self.producer, 0, 0, MIB)
        rows = self.rows
        if self.is_control:
            rows = [(0, struct.pack(">hh", 0, self.gap_at_end % 2), b"", [])]  # 0: abort, 1: commit
        delta = -1
        for gap, (timestamp, key, value, headers) in zip(self.gaps, rows, strict=False):
            delta += 1 + gap
            builder.append(delta, timestamp, key, value, headers)
        built = bytearray(builder.build())
        struct.pack_into(">q", built, 0, base_offset)
        built[22] |= 0x20 * self.is_control | 0x08 * self.is_log_append_time
        # Compaction leaves the last offset as it was.
        delta += self.gap_at_end
        struct.pack_into(">i", built, 23, delta)
        struct.pack_into(">I", built, 17, calc_crc32c(bytes(built[21:])))
        return bytes(built), base_offset + delta + 1


_gaps = st.sampled_from([0, 0, 0, 1, 5])
_sent = st.builds(
    _Sent,
    st.sampled_from([0, 0, 1, 2, 3, 4]),
    st.lists(_rows, min_size=1, max_size=12),
    st.lists(_gaps, min_size=12, max_size=12),
    _gaps,
    st.sampled_from([-1, -1, 1, 2]),
    st.just(value=False),
    st.booleans(),
)
# A control batch is one record, never compressed, of a transaction.
_markers = st.builds(
    _Sent, st.just(0), st.just([]), st.just([0]), _gaps, st.sampled_from([1, 2]), st.just(value=True), st.booleans()
)


@given(st.data(), st.lists(_sent | _markers, min_size=1, max_size=6), st.sampled_from([0, 1]))
def test_a_fetch_is_what_aiokafka_makes_of_it(data: st.DataObject, sent: list[_Sent], isolation: int) -> None:
    """Record for record and position for position: transactions, markers, gaps, both timestamps, any start, any poll."""
    source, starts, offset = b"", [], BASE_OFFSET
    for one in sent:
        starts.append((one.producer, offset))
        built, offset = one.at(offset)
        source += built
    # A broker answers from the batch on that holds the offset asked for.
    start = data.draw(st.integers(BASE_OFFSET, sent[0].at(BASE_OFFSET)[1] - 1))
    aborted = data.draw(st.lists(st.sampled_from(starts), max_size=3))
    theirs = unpacked(PiecewiseRecords.__base__, MemoryRecords(source), aborted, start, isolation)
    expected = [(one.offset, one.timestamp, one.key, one.value, one.headers) for one in theirs]

    assignment, positions = _Assignment(start), [start]
    found: list[Any] = []
    ours = unpacked(PiecewiseRecords, GuardedRecords(source), aborted, start, isolation)
    waiting = result(ours, assignment)
    while waiting.has_more():
        decompression._budget.renew()
        decompression._budget.bytes_left = data.draw(st.sampled_from([1, 10**9]))
        covered = waiting.getall(data.draw(st.sampled_from([1, 3, None])))
        assert isinstance(covered, Fetched)
        found += covered
        positions.append(assignment.state_value(None).position)
        assert (covered.start, covered.next_offset) == tuple(positions[-2:])
        assert all(covered.start <= one.offset < covered.next_offset for one in covered)
        assert bool(covered) == (positions[-2] < positions[-1])
        assert not found or found[-1].offset < positions[-1]
    assert [(one.offset, one.timestamp, one.key, one.value, tuple(one.headers)) for one in found] == expected
    assert positions == sorted(positions)
    assert positions[-1] == theirs.next_fetch_offset


def test_a_marker_that_was_compacted_away_says_nothing() -> None:
    """Of a transaction that is compacted away Kafka may keep a control batch without a record: its offset is passed."""
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=True, producer_id=1, producer_epoch=0, base_sequence=0, batch_size=MIB
    )
    empty = bytearray(builder.build())
    empty[22] |= 0x20
    struct.pack_into(">I", empty, 17, calc_crc32c(bytes(empty[21:])))
    source = bytes(empty) + batch(0, [(0, b"k", b"v", [])], 1)
    records = unpacked(PiecewiseRecords, GuardedRecords(source), [(1, 0)], 0, isolation=1)
    covered = result(records, _Assignment(0)).getall()
    assert isinstance(covered, Fetched)
    assert [record.offset for record in covered] == [1]
    assert (covered.start, covered.next_offset) == (0, 2)


def test_one_record_at_a_time() -> None:
    """``getone`` gives each record once, whatever polls before it have used up, and then nothing."""
    waiting = fetched(batch(0, [(0, b"k", b"%d" % number, []) for number in range(3)]), _Assignment(BASE_OFFSET))
    decompression._budget.bytes_left = decompression._budget.records_left = 0
    assert [record.value for record in iter(waiting.getone, None)] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("spoiled", [0, 1, 4, 5])
@pytest.mark.parametrize("at_once", [1, 2, None])
def test_polls_do_not_change_what_a_spoiled_batch_is(spoiled: int, at_once: int | None) -> None:
    """The records before the broken one stay as aiokafka read them, however many a poll takes."""
    rows = [(0, b"k", b"value-%d" % index, [("name", b"x")]) for index in range(6)]
    plain = bytearray(batch(0, rows)[HEADER_BYTES:])
    plain[spoiled * len(plain) // 6 + 4] = 0x7E  # the length of the key
    waiting, found = fetched(forged(0, bytes(plain), 6), _Assignment(BASE_OFFSET)), []
    while waiting.has_more():
        decompression._budget.renew()
        found += waiting.getall(at_once)
    assert [record.offset - BASE_OFFSET for record in found] == [0, 1, 2, 3, 4, 5]
    assert [record.value is None for record in found] == [index == spoiled for index in range(6)]
    assert [isinstance(record, DefaultRecord) for record in found] == [index < spoiled for index in range(6)]


def test_offsets_that_do_not_rise_are_substituted() -> None:
    """A record that repeats or passes the offsets of its batch is rejected at its place; its neighbours are read."""
    records = [batch(0, [(0, b"k", b"v%d" % index, [])])[HEADER_BYTES:] for index in range(5)]
    deltas = [0, 1, 1, 9, 4]
    payload = b"".join(one[:3] + bytes([2 * delta]) + one[4:] for one, delta in zip(records, deltas, strict=True))
    found = guarded(forged(0, payload, 5))
    assert [record.offset - BASE_OFFSET for record in found] == [0, 1, 2, 3, 4]
    assert [record.value for record in found] == [b"v0", b"v1", None, None, b"v4"]


def test_a_message_without_a_timestamp_has_a_number() -> None:
    """The first format knows no timestamps; -1 stands for none, as everywhere else."""
    builder = LegacyRecordBatchBuilder(0, 0, 1 * MIB)
    builder.append(0, None, b"k", b"v")
    (record,) = guarded(bytes(builder.build()))
    assert (record.timestamp, record.timestamp_type, record.value) == (-1, 0, b"v")


def test_a_consumer_with_deserializers_is_rejected() -> None:
    """Nothing would call them; to leave them out silently would change what is read."""
    with pytest.raises(TypeError, match="no deserializers"):
        PiecewiseRecords(PARTITION, GuardedRecords(b""), None, 0, None, bytes, check_crcs=True, isolation_level=0)


@pytest.mark.parametrize(("records", "size_bytes", "most"), [(700, 10**9, 700), (10**9, 100_000, 1_200)])
def test_a_poll_hands_on_a_bounded_part(monkeypatch: pytest.MonkeyPatch, records: int, size_bytes: int, most: int) -> None:
    """What is beyond the budget of records or of bytes waits for the next polls, and nothing is lost between them."""
    monkeypatch.setattr(decompression, "_budget", Budget(size_bytes, records))
    rows: list[tuple[Any, ...]] = [(0, b"k", bytes(100), [])] * 400
    source = b"".join(batch(3, rows, BASE_OFFSET + 400 * number) for number in range(10))
    assignment = _Assignment(BASE_OFFSET)
    result, polls = fetched(source, assignment), []
    while result.has_more():
        decompression._budget.renew()
        assert result.getall(0) == []
        polls.append([record.offset for record in result.getall()])
    assert [offset for poll in polls for offset in poll] == list(range(BASE_OFFSET, BASE_OFFSET + 4_000))
    assert assignment.state_value(None).position == BASE_OFFSET + 4_000
    assert max(map(len, polls)) <= most
    assert len(polls) >= 4


def test_what_precedes_damage_is_handed_on_first() -> None:
    """Records before a damaged batch come out, then the damage is raised, again and again: it is never skipped."""
    damaged = bytearray(batch(0, [(0, b"k", b"v", [])], BASE_OFFSET + 1))
    damaged[-1] ^= 1
    assignment = _Assignment(BASE_OFFSET)
    result = fetched(batch(0, [(0, b"k", b"v", [])]) + bytes(damaged), assignment)
    decompression._budget.renew()
    assert [record.offset for record in result.getall()] == [BASE_OFFSET]
    for _ in range(2):
        with pytest.raises(CorruptRecordException, match=f"topic/0: the batch at offset {BASE_OFFSET + 1} is damaged"):
            result.getall()
    assert assignment.state_value(None).position == BASE_OFFSET + 1
