"""Sequences by name: the shortest ones that broke an invariant of the protocol, or that must not.

Those marked as expected failures are limits that ``docs/delivery.md`` has to name, or mistakes that wait for their mending;
a mark that has become wrong fails the test.
"""

import pytest

from tests.model import machine
from tests.model.invariants import InvariantBrokenError
from tests.model.logs import PartitionLog
from tests.model.machine import ProtocolMachine
from tests.model.steps import GO
from tests.model.vocabulary import PLACES

PLACE = PLACES[0]


class Play:
    """The machine, played by hand on one partition."""

    def __init__(self) -> None:
        self.machine = ProtocolMachine()

    def send(self, count: int, first_seed: int = 0) -> None:
        """Produce fresh events."""
        self.machine._produce(PLACE, [("fresh", first_seed + n) for n in range(count)])

    def assign(self, number: int) -> None:
        """Give the partition to a worker."""
        self.machine._assign(number, [PLACE])

    def read(self, number: int, count: int) -> None:
        """Let a worker fetch once and take in."""
        worker = self.machine.workers[number]
        worker.fetch(PLACE, self.machine.logs[PLACE], count)
        worker.handle(PLACE)

    def write(self, number: int) -> None:
        """Let a worker write everything."""
        self.machine.workers[number].write_all()
        self.machine.invariants_hold()

    def recreate(self) -> None:
        """Delete the topic and create it again."""
        self.machine.logs[PLACE] = PartitionLog()

    def settle(self) -> None:
        """Hold everything to the invariants, now and at the end."""
        self.machine.invariants_hold()
        self.machine.teardown()


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Return a new play, in which a new epoch adopts what the one before left."""
    monkeypatch.setattr(machine, "ORPHANS_ARE_ADOPTED", True)
    return Play()


def _take_over_with_fetches_from(play: Play, offsets: list[int]) -> None:
    play.machine.workers[0].begin_resume([PLACE])
    play.machine.workers[0].load(play.machine.logs)
    play.machine._take_over(0, offsets)


def test_one_fetch_that_raced_the_seek(play: Play) -> None:
    """One batch from elsewhere, fetched before the seek, sends the consumer back; nothing is lost."""
    play.send(8)
    _take_over_with_fetches_from(play, [4])
    play.machine.workers[0].handle(PLACE)
    play.read(0, 5)
    play.write(0)
    play.settle()


def test_two_fetches_that_raced_the_seek(play: Play) -> None:
    """Two batches from elsewhere, both fetched before the seek, are no proof of a hole."""
    play.send(8)
    _take_over_with_fetches_from(play, [4, 6])
    play.machine.workers[0].handle(PLACE)
    play.machine.workers[0].handle(PLACE)
    play.write(0)
    play.settle()


def test_a_zombie_does_not_step_over_what_retention_dropped(play: Play) -> None:
    """Retention drops what the owner has applied and a paused worker has not: the paused worker must not go on."""
    play.send(10)
    play.assign(0)
    play.assign(1)
    play.read(0, 3)
    play.write(0)
    play.read(1, 8)
    play.write(1)
    play.machine.logs[PLACE].retain_from(6)
    play.read(0, 2)
    play.read(0, 9)
    play.write(0)
    play.settle()


@pytest.mark.xfail(
    raises=InvariantBrokenError, strict=True, reason="an ended epoch is adopted once, and its zombie writes later"
)
def test_a_zombie_of_an_ended_epoch_changes_nothing(play: Play) -> None:
    """A write of the recreated topic's readers that arrives after the new epoch began."""
    play.send(6)
    play.assign(0)
    play.read(0, 2)
    play.write(0)
    play.read(0, 4)
    play.machine.workers[0].begin_write()
    play.recreate()
    play.send(3)
    play.assign(1)
    play.read(1, 3)
    play.write(1)
    play.machine.workers[0].complete()
    play.settle()


def test_what_an_ended_epoch_left_is_adopted(play: Play) -> None:
    """A write cut short before its checkpoint, and the topic recreated: its events are counted, its metrics right."""
    play.send(6)
    play.assign(0)
    play.read(0, 2)
    play.write(0)
    play.read(0, 4)
    _write_up_to_the_checkpoint(play)
    play.recreate()
    play.send(3, first_seed=50)
    play.assign(1)
    play.read(1, 3)
    play.write(1)
    play.settle()


@pytest.mark.xfail(raises=InvariantBrokenError, strict=True, reason="without a checkpoint nothing tells the two logs apart")
def test_a_topic_recreated_before_its_first_checkpoint(play: Play) -> None:
    """As above, but before the partition's first checkpoint."""
    play.send(4)
    play.assign(0)
    play.read(0, 4)
    _write_up_to_the_checkpoint(play)
    play.recreate()
    play.send(3, first_seed=50)
    play.assign(1)
    play.read(1, 3)
    play.write(1)
    play.settle()


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_topic_recreated_after_a_log_that_ended_in_a_marker(play: Play, is_committed: bool) -> None:
    """The last record applied is recognised by its own offset, whatever markers and aborted records came after it."""
    play.send(3)
    play.machine._produce(PLACE, [("fresh", 40)], in_transaction=True)
    play.machine.logs[PLACE].end_transaction(is_committed=is_committed)
    play.assign(0)
    play.read(0, 9)
    play.write(0)
    point = play.machine.seen[PLACE]
    assert (point.next_offset, point.last_offset) == (5, 3 if is_committed else 2)
    play.assign(1)
    assert play.machine.workers[1].path.partitions[PLACE].checkpoint == point
    play.recreate()
    play.send(9, first_seed=50)
    play.assign(1)
    assert play.machine.workers[1].path.partitions[PLACE].checkpoint.epoch == 1
    play.settle()


def test_the_logs_end_is_not_older_than_the_checkpoint(play: Play) -> None:
    """The checkpoint moves on between the two questions, and its last record is compacted away: still the same log."""
    play.send(4)
    play.assign(0)
    play.read(0, 4)
    play.write(0)
    play.machine.workers[1].begin_resume([PLACE])
    play.send(3, first_seed=20)
    play.read(0, 4)
    play.write(0)
    play.machine.logs[PLACE].remove(6)
    play.machine.workers[1].load(play.machine.logs)
    play.machine._take_over(1, [])
    play.settle()


def _write_up_to_the_checkpoint(play: Play) -> None:
    worker = play.machine.workers[0]
    worker.begin_write()
    while worker.job is not None and worker.job.steps.at is not None and worker.job.steps.at.what != "checkpoints":
        worker.advance(GO)
    play.machine._restart(0)
