"""Between aiokafka's fetcher and the pipeline: no batch, however it was made, kills a worker or fills its memory.

aiokafka inflates a fetched batch whole, hands a fetch on whole, and raises out of the consumer at the first byte that it
does not understand, again after every restart. With :func:`guard`:

* A batch that inflates to more than ``LARGEST_BATCH_BYTES`` is never inflated; nor is one whose payload is broken although
  its checksum is right. Each of its offsets becomes a substitute: a record without a value, whose only header says why. The
  codec makes a dead letter of it, so every offset is accounted for. Where only some records of a batch cannot be read,
  only those are substituted.
* A header's name that is not UTF-8 is escaped; aiokafka would raise.
* One poll hands on at most ``POLL_BYTES`` and ``POLL_RECORDS``; what is left waits for the next poll. So a batch of many
  million tiny records is bounded as well.

What still raises is a batch whose checksum is wrong, or whose framing is: a broker checks both when it takes the batch, so
they are damage on its disk or on the way, nothing a producer can send. The worker ends, says where, and what to do. (The
embedded broker checks less; there a producer of one's own can do it.)

Everything of aiokafka 0.14.0 that is replaced is in :func:`guard`; its version is pinned.
"""

import logging
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from schemas.codec_types import OVERSIZED_HEADER, UNREADABLE_HEADER
from streams.inflate import CODECS, BrokenError, TooLargeError, inflate
from streams.record_reader import LenientRecord, MalformedError, frame, read_record

#: A constant and no setting: another limit would change what the last record applied looks like, by which a log is
#: recognised after a restart. Producers fill batches of 16 kB to 1 MB.
LARGEST_BATCH_BYTES: Final = 64 * 1024 * 1024
#: A poll opens no further batch once it has opened so many bytes, inflated.
POLL_BYTES: Final = 64 * 1024 * 1024
POLL_RECORDS: Final = 150_000

log = logging.getLogger("classpulse.decompression")

_FRAME: Final = struct.Struct(">qi")
#: Base offset, length, leader epoch, magic, checksum, attributes, last offset delta, first and latest timestamp, producer
#: id, producer epoch, base sequence, number of records.
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_MAGIC_AT: Final = 16
_ATTRIBUTES_AT: Final = 21
_CODEC_MASK: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_SMALLEST_LEGACY_BYTES: Final = 26

#: A length beyond all sense shows as one of the last two.
_READER_ERRORS: Final = (CorruptRecordException, ValueError, OverflowError, MemoryError, SystemError)

_Headers = tuple[tuple[str, bytes | None], ...]


class _Budget(threading.local):
    """What the poll under way may still hand on; each consumer polls in a thread of its own."""

    bytes_left = POLL_BYTES
    records_left = POLL_RECORDS

    def renew(self) -> None:
        self.bytes_left, self.records_left = POLL_BYTES, POLL_RECORDS


_budget = _Budget()


class GuardedRecords:
    """Takes the place of aiokafka's ``MemoryRecords``: the batches of one partition in one fetch.

    ``largest_batch_bytes`` bounds what one batch inflates to.
    """

    def __init__(self, fetched: bytes, largest_batch_bytes: int = LARGEST_BATCH_BYTES) -> None:
        self._fetched = memoryview(fetched)
        self._position = 0
        self._largest_batch_bytes = largest_batch_bytes

    def size_in_bytes(self) -> int:
        """Return the size of the fetch."""
        return len(self._fetched)

    def has_next(self) -> bool:
        """Return whether a whole batch follows; a fetch may end in the middle of one."""
        return self._next_end() is not None

    def next_batch(self) -> Any:
        """Return the next batch, or None; raises ``CorruptRecordException`` if it is too short to be one."""
        end = self._next_end()
        if end is None:
            return None
        batch = self._fetched[self._position : end]
        self._position = end
        if len(batch) < _SMALLEST_LEGACY_BYTES:
            raise CorruptRecordException(f"a batch of {len(batch)} bytes is too short to be one")
        if batch[_MAGIC_AT] < 2:
            return _LegacyBatch(batch)
        if len(batch) < _HEADER.size:
            raise CorruptRecordException(f"a batch of {len(batch)} bytes is too short to be one")
        return GuardedBatch(batch, self._largest_batch_bytes)

    def _next_end(self) -> int | None:
        if len(self._fetched) - self._position < _FRAME.size:
            return None
        _offset, length = _FRAME.unpack_from(self._fetched, self._position)
        if length < 0:
            raise CorruptRecordException(f"a batch says that it is {length} bytes long")
        end = self._position + _FRAME.size + int(length)
        return end if end <= len(self._fetched) else None


@dataclass(frozen=True, slots=True)
class _Header:
    """What the header of a batch says; the number of records and the offsets are the producer's word."""

    base_offset: int
    attributes: int
    last_offset_delta: int
    first_timestamp: int
    max_timestamp: int
    records: int

    @classmethod
    def read(cls, batch: memoryview) -> "_Header":
        fields = _HEADER.unpack_from(batch)
        return cls(fields[0], fields[5], fields[6], fields[7], fields[8], fields[12])

    @property
    def timestamp_type(self) -> int:
        return int(bool(self.attributes & _LOG_APPEND_TIME))


class GuardedBatch:
    """Takes the place of aiokafka's ``DefaultRecordBatch``; its records have the batch's offsets, in rising order."""

    def __init__(self, batch: memoryview, largest_bytes: int = LARGEST_BATCH_BYTES) -> None:
        self._batch = batch
        self._largest_bytes = largest_bytes
        self._original = DefaultRecordBatch(batch)
        self._header = _Header.read(batch)
        self.base_offset = self._header.base_offset
        self.next_offset = self._original.next_offset
        self.producer_id = self._original.producer_id
        self.is_control_batch = self._original.is_control_batch
        self.is_transactional = self._original.is_transactional

    def validate_crc(self) -> bool:
        """Return whether the checksum is right."""
        return bool(self._original.validate_crc())

    def __next__(self) -> Any:
        """Return the first record, as aiokafka asks a control batch for."""
        return next(self._original)

    def __iter__(self) -> Iterator[Any]:
        codec = self._header.attributes & _CODEC_MASK
        _budget.bytes_left -= len(self._batch)
        if not codec:
            return self._records(self._batch)
        try:
            plain = inflate(codec, self._batch[_HEADER.size :], _HEADER.size, self._largest_bytes)
        except TooLargeError:
            compressed_bytes = len(self._batch) - _HEADER.size
            detail = (
                f"the record's batch is a decompression bomb: its {compressed_bytes} bytes of {CODECS[codec]} inflate to "
                f"more than the limit of {self._largest_bytes} bytes for {self._header.records} records; "
                "send smaller batches"
            )
            return self._substitutes(self.base_offset, self._header.records, OVERSIZED_HEADER, detail)
        except BrokenError as error:
            detail = f"the record's batch cannot be inflated by {CODECS.get(codec, f'codec {codec}')}: {error}"
            return self._substitutes(self.base_offset, self._header.records, UNREADABLE_HEADER, detail)
        _budget.bytes_left -= len(plain)
        plain[: _HEADER.size] = self._batch[: _HEADER.size]
        plain[_ATTRIBUTES_AT + 1] &= 0xFF ^ _CODEC_MASK
        return self._records(memoryview(plain))

    def _records(self, plain: memoryview) -> Iterator[Any]:
        """Yield the records by aiokafka's own reader, as long as it understands them."""
        previous, last, found = self.base_offset - 1, self.next_offset - 1, 0
        try:
            for record in DefaultRecordBatch(plain):
                if not previous < record.offset <= last:
                    break
                previous = record.offset
                found += 1
                yield record
            else:
                return
        except _READER_ERRORS:
            pass  # aiokafka raises these for what a producer wrote; the lenient reader tells what is what
        yield from self._read_leniently(plain, found, previous)

    def _read_leniently(self, plain: memoryview, skip: int, previous: int) -> Iterator[Any]:
        """Yield the records after the first ``skip``, which end at offset ``previous``; substitutes for the broken ones."""
        position, last = _HEADER.size, self.next_offset - 1
        for index in range(self._header.records):
            try:
                start, end = frame(plain, position)
            except MalformedError as error:
                detail = f"the record's batch is malformed from offset {previous + 1} on: {error}"
                yield from self._substitutes(previous + 1, self._header.records - index, UNREADABLE_HEADER, detail)
                return
            position = end
            if index < skip:
                continue
            try:
                record = self._lenient(read_record(plain[start:end]))
                _check_offset(record.offset, previous, last)
            except MalformedError as error:
                yield from self._substitutes(previous + 1, 1, UNREADABLE_HEADER, f"the record is malformed: {error}")
                previous += 1
            else:
                previous = record.offset
                yield record

    def _lenient(self, record: LenientRecord) -> "_Record":
        header = self._header
        timestamp = header.max_timestamp if header.timestamp_type else header.first_timestamp + record.timestamp_delta
        offset = self.base_offset + record.offset_delta
        timestamp = (timestamp + 2**63) % 2**64 - 2**63  # as aiokafka's reader, whose numbers have 64 bits
        return _Record(offset, timestamp, header.timestamp_type, record.key, record.value, record.headers)

    def _substitutes(self, offset: int, records: int, name: str, detail: str) -> Iterator["_Record"]:
        """Yield a substitute for each of ``records`` offsets from ``offset`` on, but none beyond the batch."""
        headers = ((name, detail.encode()),)
        header = self._header
        timestamp = header.max_timestamp if header.timestamp_type else header.first_timestamp
        # A batch whose header denies that it has records still occupies its offsets; one stands for all of them.
        for one in range(offset, min(offset + max(records, 1), self.next_offset)):
            yield _Record(one, timestamp, header.timestamp_type, None, None, headers)


def _check_offset(offset: int, previous: int, last: int) -> None:
    if not previous < offset <= last:
        raise MalformedError(f"it says that it has offset {offset}, after {previous} and up to {last}")


class _LegacyBatch:
    """A message of the formats before Kafka 0.11. Compressed, it is not opened: no bound could be kept."""

    is_control_batch = False
    is_transactional = False
    producer_id = None

    def __init__(self, batch: memoryview) -> None:
        self._original = LegacyRecordBatch(batch, batch[_MAGIC_AT])
        self.base_offset: int = _FRAME.unpack_from(batch)[0]
        self.next_offset: int = self._original.next_offset
        self._is_compressed = bool(batch[_MAGIC_AT + 1] & _CODEC_MASK)
        _budget.bytes_left -= len(batch)

    def validate_crc(self) -> bool:
        """Return whether the checksum is right."""
        return bool(self._original.validate_crc())

    def __iter__(self) -> Iterator[Any]:
        if not self._is_compressed:
            return iter(self._original)
        detail = "a compressed message of a format before Kafka 0.11; use a newer client"
        return iter([_Record(self.base_offset, -1, 0, None, None, ((UNREADABLE_HEADER, detail.encode()),))])


@dataclass(frozen=True, slots=True)
class _Record:
    """What aiokafka asks of a record."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: _Headers
    checksum: None = None


class GuardedResult(fetcher.FetchResult):  # type: ignore[misc]  # aiokafka has no types
    """Takes the place of aiokafka's ``FetchResult``: hands on no more than the poll may still take."""

    _partition_records: Any
    _damage: CorruptRecordException | None = None

    def getall(self, max_records: int | None = None) -> list[Any]:
        """Return the next records; ``has_more`` says whether the fetch has others.

        Raises ``CorruptRecordException``, every time, once the damaged batch is the next one.
        """
        limit = _budget.records_left if max_records is None else min(max_records, _budget.records_left)
        if limit <= 0 or _budget.bytes_left <= 0 or not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        if self._damage is not None:
            raise self._damage
        found: list[Any] = []
        budget, records = _budget, self._partition_records
        try:
            for record in records:
                found.append(record)
                if len(found) >= limit or budget.bytes_left <= 0:
                    break
            else:
                self._partition_records = None
        except CorruptRecordException as error:
            self._damage = _damaged(self._topic_partition, records.next_fetch_offset, error)
            if not found:
                raise self._damage from None
        budget.records_left -= len(found)
        self._assignment.state_value(self._topic_partition).consumed_to(records.next_fetch_offset)
        return found


def _damaged(place: Any, offset: int, error: CorruptRecordException) -> CorruptRecordException:
    damage = CorruptRecordException(
        f"{place.topic}/{place.partition}: the batch at offset {offset} is damaged ({error}). No producer can cause "
        "this: the broker checks a batch when it takes it. Make another replica the partition's leader, or, if every "
        "replica has the damage, delete the records up to and with that batch (kafka-delete-records.sh); nothing is "
        "skipped meanwhile"
    )
    log.critical("%s", damage)
    return damage


def guard() -> None:
    """Put the guarded classes in the place of aiokafka's, for every consumer of this process; again is harmless."""
    if fetcher.MemoryRecords is GuardedRecords:
        return
    fetcher.MemoryRecords = GuardedRecords
    fetcher.FetchResult = GuardedResult
    fetcher.Fetcher.fetched_records = _renewing(fetcher.Fetcher.fetched_records)


def _renewing(fetched_records: Callable[..., Any]) -> Callable[..., Any]:
    async def fetched_records_within_budget(*arguments: Any, **options: Any) -> Any:
        # It returns as soon as it has found anything, so one budget serves one answer.
        _budget.renew()
        return await fetched_records(*arguments, **options)

    return fetched_records_within_budget
