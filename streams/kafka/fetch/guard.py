"""Between aiokafka's fetcher and the pipeline: no batch, however it was made, kills a worker or fills its memory.

aiokafka decompresses a fetched batch whole, hands a fetch on whole, and raises out of the consumer at the first byte that
it does not understand, again after every restart. With :func:`guard`:

* A batch that decompresses to more than ``LARGEST_BATCH_BYTES`` is never decompressed; nor is one whose payload is broken
  although its checksum is right. Each of its offsets becomes a substitute: a record without a value, whose only header says
  why. The codec makes a dead letter of it, so every offset is accounted for. Where only some records of a batch cannot be
  read, only those are substituted.
* What a poll hands on says which offsets of the log it covers, also where none of them holds a record.
* A header's name that is not UTF-8 is escaped; aiokafka would raise.
* One poll hands on at most ``POLL_BYTES`` and ``POLL_RECORDS``; what is left waits for the next poll. So a batch of many
  million tiny records is bounded as well.

Records stay what aiokafka's C reader makes them, and move in pieces of whole batches (``streams/kafka/fetch/batches.py``).

What still raises is a batch whose checksum is wrong, or whose framing is: a broker checks both when it takes the batch, so
they are damage on its disk or on the way, nothing a producer can send. The worker ends, says where, and what to do. (The
embedded broker checks less; there a producer of one's own can do it.)

Everything of aiokafka that is replaced is in :func:`guard`, which rejects another version than the one it was written for.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import aiokafka
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord

from streams.kafka.fetch.batches import FRAME, HEADER, MAGIC_AT, Budget, Fetched, GuardedBatch, LegacyBatch, Piece

#: A constant and no setting: another limit would change what the last record applied looks like, by which a log is
#: recognised after a restart. Producers fill batches of 16 kB to 1 MB.
LARGEST_BATCH_BYTES: Final = 64 * 1024 * 1024
#: Decompressed bytes after which a poll opens no further batch.
POLL_BYTES: Final = 64 * 1024 * 1024
POLL_RECORDS: Final = 150_000

#: The version whose private classes are replaced here.
WRITTEN_FOR: Final = "0.14.0"

log = logging.getLogger("classpulse.fetch")

_SMALLEST_LEGACY_BYTES: Final = 26

_budget = Budget(POLL_BYTES, POLL_RECORDS)


class GuardedRecords:
    """Stands in for aiokafka's ``MemoryRecords``: the batches of one partition in one fetch.

    ``largest_batch_bytes`` bounds what one batch decompresses to.
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
        if batch[MAGIC_AT] < 2:
            return LegacyBatch(batch, _budget)
        if len(batch) < HEADER.size:
            raise CorruptRecordException(f"a batch of {len(batch)} bytes is too short to be one")
        return GuardedBatch(batch, self._largest_batch_bytes, _budget)

    def _next_end(self) -> int | None:
        if len(self._fetched) - self._position < FRAME.size:
            return None
        _offset, length = FRAME.unpack_from(self._fetched, self._position)
        if length < 0:
            raise CorruptRecordException(f"a batch says that it is {length} bytes long")
        end = self._position + FRAME.size + int(length)
        return end if end <= len(self._fetched) else None


class PiecewiseRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka has no types
    """Stands in for aiokafka's ``PartitionRecords``: what it yields are lists of records, as the reader made them.

    Transactions, control batches and the offset to fetch next are aiokafka's own code, to which a piece is a record.
    """

    next_fetch_offset: int

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self._key_deserializer is not None or self._value_deserializer is not None:
            raise TypeError("a guarded consumer has no deserializers; decode the records that it returns")

    def _contains_abort_marker(self, control_batch: Any) -> bool:
        """Return whether a transaction was aborted; compaction may leave a control batch empty, which says nothing."""
        marker = next(control_batch, None)
        return marker is not None and bool(ControlRecord.parse(marker.key) == ABORT_MARKER)

    def _consumer_record(self, _partition: Any, piece: Piece) -> list[Any]:
        """Return the records, without those before the offset that was asked for."""
        records = piece.records
        if records[0].offset >= self.next_fetch_offset:
            return records
        return [record for record in records if record.offset >= self.next_fetch_offset]


class GuardedResult(fetcher.FetchResult):  # type: ignore[misc]  # aiokafka has no types
    """Stands in for aiokafka's ``FetchResult``: hands on no more than the poll may still take."""

    _partition_records: Any
    _damage: CorruptRecordException | None = None

    def getone(self) -> Any:
        """Return the next record, or None; raises as :meth:`getall`."""
        _budget.renew()
        found = self.getall(1)
        return found[0] if len(found) else None

    def getall(self, max_records: int | None = None) -> list[Any]:
        """Return the next records, as :class:`Fetched` unless none may be taken; ``has_more``: the fetch has others.

        Raises ``CorruptRecordException``, every time, once the damaged batch is the next one.
        """
        limit = _budget.records_left if max_records is None else min(max_records, _budget.records_left)
        if limit <= 0 or _budget.bytes_left <= 0 or not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        if self._damage is not None:
            raise self._damage
        budget, pieces = _budget, self._partition_records
        start = pieces.next_fetch_offset
        found = Fetched((), start, start)
        budget.piece_records = limit
        try:
            for piece in pieces:
                found += piece
                budget.piece_records = limit - len(found)
                if len(found) >= limit or budget.bytes_left <= 0:
                    piece.clear()  # aiokafka holds on to it until the next poll
                    break
            else:
                self._partition_records = None
        except CorruptRecordException as error:
            self._damage = _damaged(self._topic_partition, pieces.next_fetch_offset, error)
            if not len(found):
                raise self._damage from None
        budget.records_left -= len(found)
        found.next_offset = pieces.next_fetch_offset
        self._assignment.state_value(self._topic_partition).consumed_to(found.next_offset)
        return found


def _damaged(partition: Any, offset: int, error: CorruptRecordException) -> CorruptRecordException:
    damage = CorruptRecordException(
        f"{partition.topic}/{partition.partition}: the batch at offset {offset} is damaged ({error}). No producer can "
        "cause this: the broker checks a batch when it takes it. Make another replica the partition's leader, or, if every "
        "replica has the damage, delete the records up to and with that batch (kafka-delete-records.sh); nothing is "
        "skipped meanwhile"
    )
    log.critical("%s", damage)
    return damage


def guard() -> None:
    """Put the guarded classes in the place of aiokafka's, for every consumer of this process; again is harmless.

    Raises ``ImportError`` if aiokafka is of another version than its private classes were replaced in.
    """
    if fetcher.MemoryRecords is GuardedRecords:
        return
    if aiokafka.__version__ != WRITTEN_FOR:
        raise ImportError(f"the fetch guard is written for aiokafka {WRITTEN_FOR}; {aiokafka.__version__} is installed")
    fetcher.MemoryRecords = GuardedRecords
    fetcher.PartitionRecords = PiecewiseRecords
    fetcher.FetchResult = GuardedResult
    fetcher.Fetcher.fetched_records = _renewing(fetcher.Fetcher.fetched_records)


def _renewing(fetched_records: Callable[..., Any]) -> Callable[..., Any]:
    async def fetched_records_within_budget(*arguments: Any, **options: Any) -> Any:
        # It returns as soon as it has found anything, so one budget serves one answer.
        _budget.renew()
        return await fetched_records(*arguments, **options)

    return fetched_records_within_budget
