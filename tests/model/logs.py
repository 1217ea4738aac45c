"""A Kafka partition's log, and what must come of it: the expected_log that checkpoints, counters and rows are held to."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sinks.stores.checkpoints import NO_OFFSET, Checkpoint
from streams.pipeline.batch import TopicPartition, fingerprint
from streams.pipeline.partition import Log
from tests.model.vocabulary import Record, Told

Identity = tuple[str, str, str]


@dataclass
class Entry:
    """One record; ``lost`` if the log dropped it before anybody read it."""

    record: Record
    told: Told
    fetched: bool = False
    removed: bool = False
    lost: bool = False


@dataclass
class PartitionLog:
    """The records of one partition since it was created; offsets without an entry never had a record.

    A transaction that is open holds back all records from ``held_from`` on, those of others as well.
    """

    entries: dict[int, Entry] = field(default_factory=dict)
    start: int = 0
    end: int = 0
    held_from: int | None = None
    #: Offsets of the records of the open transaction.
    undecided: list[int] = field(default_factory=list)

    @property
    def readable_end(self) -> int:
        """The last stable offset: the end, or where an open transaction begins."""
        return self.end if self.held_from is None else self.held_from

    def append(self, told: Told, timestamp_ms: int, *, in_transaction: bool = False) -> None:
        """Add a record at the end."""
        record = Record(self.end, told.key.encode(), told.value, timestamp_ms)
        self.entries[self.end] = Entry(record, told)
        if in_transaction:
            self.held_from = self.end if self.held_from is None else self.held_from
            self.undecided.append(self.end)
        self.end += 1

    def end_transaction(self, *, is_committed: bool) -> None:
        """Write the marker that ends the open transaction, if there is one; aborted records are never read."""
        if self.held_from is None:
            return
        for offset in () if is_committed else self.undecided:
            self.remove(offset)
        self.held_from, self.undecided = None, []
        self.end += 1

    def remove(self, offset: int) -> None:
        """Drop one record, as compaction does."""
        entry = self.entries[offset]
        entry.removed = True
        entry.lost = not entry.fetched

    def retain_from(self, start: int) -> None:
        """Drop everything below ``start``, as retention does."""
        for offset in range(self.start, start):
            if offset in self.entries and not self.entries[offset].removed:
                self.remove(offset)
        self.start = start

    def lose_from(self, offset: int) -> None:
        """Note that what is dropped from ``offset`` on has been read in vain: nobody has applied it."""
        for at, entry in self.entries.items():
            entry.lost = entry.lost or (entry.removed and at >= offset)

    def truncated(self, end: int) -> "PartitionLog":
        """Return the log without what is from ``end`` on, as after an unclean election."""
        kept = {offset: entry for offset, entry in self.entries.items() if offset < end}
        return PartitionLog(kept, self.start, end)

    def fetch(self, offset: int, count: int) -> tuple[int, list[Record], int]:
        """Return what a fetch covers: first offset, up to ``count`` records, next offset.

        Out of range begins again at the log's start. What comes after the last record that fits is left to the next one.
        """
        if not self.start <= offset <= self.end:
            offset = self.start
        there = [
            entry for at, entry in sorted(self.entries.items()) if offset <= at < self.readable_end and not entry.removed
        ]
        next_offset = max(offset, self.readable_end)
        if len(there) > count:
            del there[count:]
            next_offset = there[-1].record.offset + 1
        for entry in there:
            entry.fetched = True
        return offset, [entry.record for entry in there], next_offset

    def fingerprint(self, offset: int) -> int | None:
        """Return the fingerprint of the record at an offset, None if there is none."""
        entry = self.entries.get(offset)
        return fingerprint(entry.record) if entry is not None and not entry.removed else None

    def as_seen(self, start: int, end: int, saved: Checkpoint | None) -> Log:
        """Return what a worker learns of the log, given the range it was told earlier."""
        asked = saved.last_offset if saved is not None and saved.last_offset != NO_OFFSET else None
        return Log(start, end, None if asked is None else self.fingerprint(asked))


@dataclass
class Stored:
    """Where an event belongs: its time, and the position of its first record."""

    time_us: int
    position: int


@dataclass(frozen=True)
class Opened:
    """An epoch: its first offset, the last checkpoint before it, and what was adopted of the epoch before it."""

    start: int
    base: Checkpoint | None
    log: PartitionLog
    adopted: tuple[tuple[Identity, Stored], ...] = ()
    adopted_letters: tuple[int, ...] = ()


@dataclass
class Expectation:
    """What is below a point: counters, events, and positions of dead letters."""

    checkpoint: Checkpoint
    events: dict[Identity, Stored]
    letters: set[int]


class ExpectedLog:
    """What must be true of one partition, epoch by epoch."""

    def __init__(self, place: TopicPartition) -> None:
        self.place = place
        self.epochs: dict[int, Opened] = {}

    def open(self, epoch: int, opened: Opened, *, begins: bool) -> None:
        """Note that a worker reads ``opened.log`` in ``epoch``, which begins there or is gone on with."""
        known = self.epochs.get(epoch)
        if known is None or (begins and (known.log is not opened.log or known.base != opened.base)):
            self.epochs[epoch] = opened
        elif known.log is not opened.log:
            self.epochs[epoch] = replace(known, log=opened.log)

    def below(self, epoch: int, next_offset: int) -> Expectation:
        """Return what must be the case below an offset of an epoch."""
        found = Expectation(Checkpoint(*self.place), {}, set())
        for number in range(epoch + 1):
            opened = self.epochs[number]
            after = self.epochs.get(number + 1)
            end = after.base.next_offset if number < epoch and after is not None and after.base else next_offset
            self._adopt(opened, found)
            self._read(number, opened, end, found)
        found.checkpoint = replace(found.checkpoint, epoch=epoch, next_offset=next_offset)
        return found

    def everything(self) -> Expectation:
        """Return what must be the case once everything is read in the latest epoch."""
        latest = max(self.epochs)
        return self.below(latest, self.epochs[latest].log.end)

    @staticmethod
    def _adopt(opened: Opened, found: Expectation) -> None:
        new = {identity: stored for identity, stored in opened.adopted if identity not in found.events}
        letters = [position for position in opened.adopted_letters if position not in found.letters]
        found.events.update(new)
        found.letters.update(letters)
        found.checkpoint = replace(
            found.checkpoint,
            consumed=found.checkpoint.consumed + len(opened.adopted) + len(letters),
            stored=found.checkpoint.stored + len(new),
            duplicates=found.checkpoint.duplicates + len(opened.adopted) - len(new),
            dead_letters=found.checkpoint.dead_letters + len(letters),
        )

    @staticmethod
    def _read(number: int, opened: Opened, end: int, found: Expectation) -> None:
        consumed = stored = letters = 0
        for told, offset in _entries(opened.log, opened.start, end):
            position = Checkpoint("", 0, number, offset).position
            consumed += 1
            if told.identity is None:
                letters += 1
                found.letters.add(position)
            elif told.identity not in found.events:
                stored += 1
                found.events[told.identity] = Stored(told.time_us, position)
        before = found.checkpoint
        found.checkpoint = replace(
            before,
            consumed=before.consumed + consumed,
            stored=before.stored + stored,
            duplicates=before.duplicates + consumed - stored - letters,
            dead_letters=before.dead_letters + letters,
        )


def _entries(log: PartitionLog, start: int, end: int) -> Iterable[tuple[Told, int]]:
    for offset in range(start, end):
        entry = log.entries.get(offset)
        if entry is not None and not entry.lost:
            yield entry.told, offset
