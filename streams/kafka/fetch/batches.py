"""The records of one fetched batch, whatever its producer put into it: by aiokafka's reader, leniently, or substitutes.

Records come in pieces, lists made by one call of the C reader, because a Python loop that touches each record costs several
times what reading it does.
"""

import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from operator import lt
from typing import Any, Final

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from schemas.codec.records import OVERSIZED_HEADER, UNREADABLE_HEADER
from streams.kafka.fetch.decompress import CODECS, BrokenError, TooLargeError, decompress
from streams.kafka.fetch.records import LenientRecord, MalformedError, frame, read_record

#: The bytes before a batch's own: its base offset, and its length from there.
FRAME: Final = struct.Struct(">qi")
#: Base offset, length, leader epoch, magic, checksum, attributes, last offset delta, first and latest timestamp, producer
#: id, producer epoch, base sequence, number of records.
HEADER: Final = struct.Struct(">qiibIhiqqqhii")
MAGIC_AT: Final = 16
_ATTRIBUTES_AT: Final = 21
_CODEC_MASK: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08

#: A length beyond all sense shows as one of the last two.
_READER_ERRORS: Final = (CorruptRecordException, ValueError, OverflowError, MemoryError, SystemError)

_Headers = tuple[tuple[str, bytes | None], ...]


class Budget(threading.local):
    """What the poll under way may still hand on; each consumer polls in a thread of its own."""

    def __init__(self, poll_bytes: int, poll_records: int) -> None:
        self._whole = poll_bytes, poll_records
        self.renew()

    def renew(self) -> None:
        """Begin a poll."""
        self.bytes_left, self.records_left = self._whole
        #: What the next piece may hold, at least 1: ``records_left``, or less if fewer were asked for.
        self.piece_records = self.records_left


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring records of one batch, at least one, in rising order of their offsets.

    To aiokafka it is a single record, that of the last offset.
    """

    records: list[Any]

    @property
    def offset(self) -> int:
        """Offset of the last record."""
        return int(self.records[-1].offset)


class Fetched(list[Any]):
    """The records of one partition from ``start`` to before ``next_offset``: between these offsets its log has no others.

    A log also has offsets without a record: transaction markers, aborted records, what compaction removed. So it is true
    if it covers any offset, with or without a record; aiokafka's fetcher hands it on for that.
    """

    __slots__ = ("next_offset", "start")

    def __init__(self, records: Iterable[Any], start: int, next_offset: int) -> None:
        super().__init__(records)
        self.start = start
        self.next_offset = next_offset

    def __bool__(self) -> bool:
        return self.next_offset > self.start


def _pieces(records: Iterator[Any], budget: Budget) -> Iterator[Piece]:
    """Cut what comes one by one into pieces of what the poll may still take."""
    while found := list(islice(records, _most(budget))):
        yield Piece(found)


def _most(budget: Budget) -> int:
    # Once the bytes of the poll are used up it ends with the next piece, which is therefore small.
    return budget.piece_records if budget.bytes_left > 0 else 1


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
        fields = HEADER.unpack_from(batch)
        return cls(fields[0], fields[5], fields[6], fields[7], fields[8], fields[12])

    @property
    def timestamp_type(self) -> int:
        return int(bool(self.attributes & _LOG_APPEND_TIME))


class GuardedBatch:
    """Takes the place of aiokafka's ``DefaultRecordBatch``; its records have the batch's offsets, in rising order."""

    def __init__(self, batch: memoryview, largest_bytes: int, budget: Budget) -> None:
        self._batch = batch
        self._largest_bytes = largest_bytes
        self._budget = budget
        self._original = original = DefaultRecordBatch(batch)
        self.base_offset: int = original.base_offset
        self.next_offset: int = original.next_offset
        self.producer_id: int = original.producer_id
        self.is_control_batch: bool = original.is_control_batch
        self.is_transactional: bool = original.is_transactional

    def validate_crc(self) -> bool:
        """Return whether the checksum is right."""
        return bool(self._original.validate_crc())

    def __next__(self) -> Any:
        """Return the first record, as aiokafka asks a control batch for."""
        return next(self._original)

    def __iter__(self) -> Iterator[Piece]:
        codec = self._original.compression_type
        self._budget.bytes_left -= len(self._batch)
        if not codec:
            return self._records(self._batch, self._original)
        try:
            plain = decompress(codec, self._batch[HEADER.size :], HEADER.size, self._largest_bytes)
        except TooLargeError:
            compressed_bytes = len(self._batch) - HEADER.size
            detail = (
                f"the record's batch is a decompression bomb: its {compressed_bytes} bytes of {CODECS[codec]} decompress "
                f"to more than the limit of {self._largest_bytes} bytes for {self._header.records} records; "
                "send smaller batches"
            )
            return self._all_substituted(OVERSIZED_HEADER, detail)
        except BrokenError as error:
            detail = f"the record's batch cannot be decompressed by {CODECS.get(codec, f'codec {codec}')}: {error}"
            return self._all_substituted(UNREADABLE_HEADER, detail)
        self._budget.bytes_left -= len(plain)
        plain[: HEADER.size] = self._batch[: HEADER.size]
        plain[_ATTRIBUTES_AT + 1] &= 0xFF ^ _CODEC_MASK
        return self._records(memoryview(plain), DefaultRecordBatch(plain))

    @cached_property
    def _header(self) -> "_Header":
        return _Header.read(self._batch)

    def _records(self, plain: memoryview, reader: Any) -> Iterator[Piece]:
        """Yield the records by aiokafka's own ``reader``, as long as it understands them."""
        previous, last, read = self.base_offset - 1, self.next_offset - 1, 0
        records = chain(reader)  # an iterator that islice may ask again; the reader itself may be asked only once
        while True:
            most = _most(self._budget)
            found: list[Any] = []
            try:
                found.extend(islice(records, most))  # keeps what came before the reader raised
            except _READER_ERRORS:
                is_readable = False  # aiokafka raises these for what a producer wrote
            else:
                is_readable = True
            rising = _rising(found, previous, last)
            is_readable = is_readable and rising == len(found)
            del found[rising:]
            if found:
                read, previous = read + rising, found[-1].offset
                yield Piece(found)
            if not is_readable:
                break
            if rising < most:
                return
        # The lenient reader tells what is what.
        yield from _pieces(self._read_leniently(plain, read, previous), self._budget)

    def _read_leniently(self, plain: memoryview, skip: int, previous: int) -> Iterator[Any]:
        """Yield the records after the first ``skip``, which end at offset ``previous``; substitutes for the broken ones."""
        position, last = HEADER.size, self.next_offset - 1
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

    def _all_substituted(self, name: str, detail: str) -> Iterator[Piece]:
        return _pieces(self._substitutes(self.base_offset, self._header.records, name, detail), self._budget)

    def _substitutes(self, offset: int, records: int, name: str, detail: str) -> Iterator["_Record"]:
        """Yield a substitute for each of ``records`` offsets from ``offset`` on, but none beyond the batch."""
        headers = ((name, detail.encode()),)
        header = self._header
        timestamp = header.max_timestamp if header.timestamp_type else header.first_timestamp
        # A batch whose header denies that it has records still occupies its offsets; one stands for all of them.
        for one in range(offset, min(offset + max(records, 1), self.next_offset)):
            yield _Record(one, timestamp, header.timestamp_type, None, None, headers)


def _rising(records: list[Any], previous: int, last: int) -> int:
    """Return how many of the first records have offsets that rise, from above ``previous`` up to ``last``."""
    offsets = [record.offset for record in records]
    if not offsets or (previous < offsets[0] and offsets[-1] <= last and all(map(lt, offsets, offsets[1:]))):
        return len(offsets)
    for index, offset in enumerate(offsets):
        if not previous < offset <= last:
            return index
        previous = offset
    return len(offsets)


def _check_offset(offset: int, previous: int, last: int) -> None:
    if not previous < offset <= last:
        raise MalformedError(f"it says that it has offset {offset}, after {previous} and up to {last}")


class LegacyBatch:
    """A message of the formats before Kafka 0.11. Compressed, it is not opened: no bound could be kept."""

    is_control_batch = False
    is_transactional = False
    producer_id = None

    def __init__(self, batch: memoryview, budget: Budget) -> None:
        self._original = LegacyRecordBatch(batch, batch[MAGIC_AT])
        self.base_offset: int = FRAME.unpack_from(batch)[0]
        self.next_offset: int = self._original.next_offset
        self._is_compressed = bool(batch[MAGIC_AT + 1] & _CODEC_MASK)
        budget.bytes_left -= len(batch)

    def validate_crc(self) -> bool:
        """Return whether the checksum is right."""
        return bool(self._original.validate_crc())

    def __iter__(self) -> Iterator[Piece]:
        if self._is_compressed:
            detail = "a compressed message of a format before Kafka 0.11; use a newer client"
            record = _Record(self.base_offset, -1, 0, None, None, ((UNREADABLE_HEADER, detail.encode()),))
        else:
            (original,) = self._original
            # The first format has no timestamps.
            timestamp = -1 if original.timestamp is None else original.timestamp
            record = _Record(original.offset, timestamp, original.timestamp_type or 0, original.key, original.value, ())
        yield Piece([record])


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
