"""The state machine: three workers that each may believe to own any partition, a log that grows, and chance.

Any worker can be assigned any partition at any time without the others hearing of it, so everybody is somebody's zombie.
Each call of a write to a store is a step of its own, which may fail by half, be repeated, kill the worker, or arrive once
more later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sinks.stores.checkpoints import NO_OFFSET, Checkpoint
from sinks.stores.dead_letters import DeadLetter
from streams.pipeline.batch import TopicPartition
from tests.model.draws import OUTCOMES, WORKERS, Turn, records_told, stale_offsets, turns
from tests.model.invariants import (
    InvariantBrokenError,
    check_partition,
    check_settled,
    check_stored,
    load_checkpoints,
    must,
)
from tests.model.logs import ExpectedLog, Opened, PartitionLog, Stored
from tests.model.memory import Database
from tests.model.steps import Request
from tests.model.vocabulary import BASE_US, MINUTE_US, PLACES, tell
from tests.model.workers import IDLE_US, Built, WorkerModel, sinks_in_memory
from tests.oracle.path import Path

__all__ = ["ORPHANS_ARE_ADOPTED", "InvariantBrokenError", "ProtocolMachine"]

#: Whether a new epoch counts what the one before stored above its last checkpoint. Where it does not, a topic is only
#: recreated or truncated while nothing is stored above the checkpoints.
ORPHANS_ARE_ADOPTED = True


@dataclass
class Tally:
    """What a run went through."""

    runs: int = 0
    rules: int = 0
    calls: int = 0
    crashes: int = 0
    echoes: int = 0
    epochs: int = 0
    settled: int = 0


TALLY = Tally()


class ProtocolMachine(RuleBasedStateMachine):
    """The protocol under interleaved workers, crashes and logs that change; subclasses plant mistakes."""

    path_class: ClassVar[type[Path]] = Path
    built: ClassVar[Built] = staticmethod(sinks_in_memory)

    def __init__(self) -> None:
        super().__init__()
        TALLY.runs += 1
        self.database = Database()
        self.echoes: list[Request] = []
        self.published: list[DeadLetter] = []
        self.logs = {place: PartitionLog() for place in PLACES}
        self.expected_logs = {place: ExpectedLog(place) for place in PLACES}
        self.told: dict[TopicPartition, list[Any]] = {place: [] for place in PLACES}
        self.seen: dict[TopicPartition, Checkpoint] = {}
        self.now_us = BASE_US + 60 * MINUTE_US
        self.numbers = 0
        self.outcomes = list(OUTCOMES)
        self.workers = [self._new_worker() for _ in WORKERS]

    # What happens to the logs

    @initialize(data=st.data(), outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=3, max_size=3))
    def begin(self, data: st.DataObject, outcomes: list[str]) -> None:
        """Begin with records and an owner for each partition; decide how each worker will end."""
        self.outcomes = outcomes
        for place in PLACES:
            self._produce(place, data.draw(records_told))
        for number in WORKERS:
            self._assign(number, list(PLACES))

    @rule(place=st.sampled_from(PLACES), drawn=records_told)
    def produce(self, place: TopicPartition, drawn: list[tuple[str, int]]) -> None:
        """Devices send."""
        self._produce(place, drawn)

    @rule(data=st.data(), place=st.sampled_from(PLACES), how=st.sampled_from(["marker", "compact", "retain"]))
    def thin_the_log(self, data: st.DataObject, place: TopicPartition, how: str) -> None:
        """Write a transaction's marker, or drop records that nobody has read or everybody has passed."""
        log, passed = self.logs[place], self._passed_by_all(place)
        if passed is None:
            return
        if how == "marker":
            log.end += 1
        elif how == "retain" and passed > log.start:
            log.retain_from(data.draw(st.integers(log.start + 1, passed)))
        elif how == "compact":
            there = [
                offset
                for offset, entry in log.entries.items()
                if log.start <= offset and not entry.removed and (offset < passed or not entry.fetched)
            ]
            if there:
                log.remove(data.draw(st.sampled_from(sorted(there))))

    @rule(place=st.sampled_from(PLACES), drawn=records_told, ending=st.sampled_from(["commit", "abort", "stay open"]))
    def produce_in_a_transaction(self, place: TopicPartition, drawn: list[tuple[str, int]], ending: str) -> None:
        """Send in the transaction that is open, or a new one, and end it or leave it open."""
        self._produce(place, drawn, in_transaction=True)
        if ending != "stay open":
            self.logs[place].end_transaction(is_committed=ending == "commit")

    @precondition(lambda self: self.quiet_places())
    @rule(data=st.data(), how=st.sampled_from(["recreate", "truncate", "retain"]), drawn=records_told)
    def change_the_log(self, data: st.DataObject, how: str, drawn: list[tuple[str, int]]) -> None:
        """Recreate or truncate a topic, or let retention overtake its readers, while all workers are stopped."""
        place = data.draw(st.sampled_from(self.quiet_places()))
        log = self.logs[place]
        log.end_transaction(is_committed=True)
        for number in WORKERS:
            self._restart(number)
        if how == "recreate":
            self.logs[place] = PartitionLog()
        elif how == "truncate":
            self.logs[place] = log.truncated(data.draw(st.integers(log.start, log.end)))
        elif log.end > log.start:
            log.retain_from(data.draw(st.integers(log.start + 1, log.end)))
            log.lose_from(self.seen[place].next_offset if place in self.seen else 0)
        self._produce(place, drawn)

    # What happens to the workers

    @rule(number=st.sampled_from(WORKERS), places=st.lists(st.sampled_from(PLACES), min_size=1, unique=True))
    def assign(self, number: int, places: list[TopicPartition]) -> None:
        """A rebalance, of which only this worker hears."""
        self._assign(number, places)

    @rule(number=st.sampled_from(WORKERS), places=st.lists(st.sampled_from(PLACES), min_size=1, unique=True))
    def begin_to_assign(self, number: int, places: list[TopicPartition]) -> None:
        """A rebalance that takes its time, in which others go on."""
        self.workers[number].begin_resume(places)

    @precondition(lambda self: any(one.resuming for one in self.workers))
    @rule(data=st.data(), stale=stale_offsets)
    def go_on_assigning(self, data: st.DataObject, stale: list[int]) -> None:
        """The checkpoints are read, then the ranges of the logs; then they are probed and the partitions taken over."""
        self._go_on_assigning(data.draw(st.sampled_from([n for n in WORKERS if self.workers[n].resuming])), stale)

    @precondition(lambda self: self._reading())
    @rule(data=st.data(), count=st.integers(1, 5))
    def fetch(self, data: st.DataObject, count: int) -> None:
        """Fetch records, which stay on their way."""
        number, place = data.draw(st.sampled_from(self._reading()))
        self.workers[number].fetch(place, self.logs[place], count)

    @precondition(lambda self: self._on_their_way())
    @rule(data=st.data())
    def handle(self, data: st.DataObject) -> None:
        """Take in a batch."""
        number, place = data.draw(st.sampled_from(self._on_their_way()))
        self.workers[number].handle(place)

    @rule(turns=turns)
    def work(self, turns: list[Turn]) -> None:
        """Workers do what comes next, in turns: go on writing, take records in, or begin to write them."""
        for turn in turns:
            self._work(turn)
            self.invariants_hold()

    @rule(turns=turns)
    def work_on(self, turns: list[Turn]) -> None:
        """As ``work``, which must happen in every run: Hypothesis leaves some rules out of each."""
        self.work(turns)

    @precondition(lambda self: self._writing() or self._holding())
    @rule(data=st.data())
    def write_to_the_end(self, data: st.DataObject) -> None:
        """Finish what is under way, or else write what is held."""
        worker = self.workers[data.draw(st.sampled_from([*self._writing(), *self._holding()]))]
        if worker.job is None:
            worker.begin_write()
        worker.complete()

    @rule(number=st.sampled_from(WORKERS), what=st.sampled_from(["crash", "stop", "forget", "idle", "idle"]))
    def disturb(self, number: int, what: str) -> None:
        """A worker dies and comes back with nothing, writes what it has and leaves, empties its cache, or idles."""
        worker = self.workers[number]
        if what == "stop":
            worker.write_all()
        if what in {"crash", "stop"}:
            self._restart(number)
        elif what == "forget" and worker.job is None:
            for cache in worker.path.writer._caches.values():
                cache.clear()
        elif what == "idle":
            self.now_us += IDLE_US
            if worker.job is None and worker.resuming is None and (moved := worker.path.partitions.idle_checkpoints()):
                worker.begin(lambda: worker.path.writer.save_checkpoints(moved))

    @precondition(lambda self: self.echoes)
    @rule(data=st.data())
    def echo(self, data: st.DataObject) -> None:
        """An insert arrives again, or at last."""
        self._arrive(data.draw(st.integers(0, len(self.echoes) - 1)))

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        """The engine merges a table."""
        self.database.tables[data.draw(st.sampled_from(sorted(self.database.tables)))].merge()

    def teardown(self) -> None:
        """Settle, and leave no thread behind."""
        try:
            self._settle()
        finally:
            for worker in self.workers:
                worker.kill()

    # What must hold

    @invariant()
    def invariants_hold(self) -> None:
        """Hold what any reader sees to the invariants."""
        TALLY.rules += 1
        points = load_checkpoints(self.database)
        for place, point in points.items():
            if point != self.seen.get(place):
                check_partition(self.database, self.published, self.expected_logs[place], point, self.seen.get(place))
        for expected_log in self.expected_logs.values():
            if expected_log.epochs:
                check_stored(self.database, expected_log)
        self.seen = points

    def quiet_places(self) -> list[TopicPartition]:
        """Return the partitions of which nothing is under way, and nothing stored above the checkpoint."""
        if self.echoes or any(one.job or one.path.partitions.pending_records for one in self.workers):
            return []
        return [place for place in PLACES if ORPHANS_ARE_ADOPTED or not any(self._orphans(place))]

    def _orphans(self, place: TopicPartition) -> tuple[list[tuple[Any, Stored]], list[int]]:
        saved = self.seen.get(place)
        position = saved.position if saved is not None else 0
        names = ("key", "source", "id")
        events = [
            (tuple(row[name] for name in names), Stored(row["time_us"], row["position"]))
            for row in self.database.tables[f"events_{place[0].rsplit('.', 1)[1]}"].final()
            if row["partition"] == place[1] and row["position"] >= position
        ]
        letters = [
            row["position"]
            for row in self.database.tables["dead_letters"].final()
            if (row["topic"], row["partition"]) == place and row["position"] >= position
        ]
        return events, letters

    def _passed_by_all(self, place: TopicPartition) -> int | None:
        """Return the offset behind everybody; None while the checkpoint speaks of another log.

        A record missing exactly where that log's last one was would hide that the topic was recreated.
        """
        saved = self.seen.get(place)
        if saved is not None and self.expected_logs[place].epochs[saved.epoch].log is not self.logs[place]:
            return None
        points = [saved.next_offset if saved is not None else 0]
        for worker in self.workers:
            if place in worker.path.partitions:
                points.append(worker.path.partitions[place].next_offset)
            if worker.resuming is not None and worker.resuming.saved is not None and place in worker.resuming.saved:
                points.append(worker.resuming.saved[place].next_offset)
        return min(points)

    def _reading(self) -> list[tuple[int, TopicPartition]]:
        return [(n, place) for n in WORKERS for place in self.workers[n].places]

    def _on_their_way(self) -> list[tuple[int, TopicPartition]]:
        return [(n, place) for n in WORKERS for place, batches in self.workers[n].inbox.items() if batches]

    def _writing(self) -> list[int]:
        return [n for n in WORKERS if self.workers[n].job is not None]

    def _holding(self) -> list[int]:
        return [n for n in WORKERS if self.workers[n].job is None and self.workers[n].path.partitions.pending_records]

    def _work(self, turn: Turn) -> None:
        worker, place = self.workers[turn.worker], turn.place
        if worker.job is not None:
            TALLY.calls += 1
            if not worker.advance(turn.order):
                self._restart(turn.worker)
        elif worker.resuming is not None:
            self._go_on_assigning(turn.worker, [])
        elif turn.rebalance is not None or place not in worker.path.partitions:
            self._assign(turn.worker, list(PLACES), turn.rebalance or [])
        else:
            worker.fetch(place, self.logs[place], turn.records)
            if worker.inbox.get(place):
                worker.handle(place)
            if turn.write:
                worker.begin_write()

    def _new_worker(self) -> WorkerModel:
        return WorkerModel.started(
            self.path_class, type(self).built, self.database, self.echoes, self.published, lambda: self.now_us
        )

    def _restart(self, number: int) -> None:
        worker = self.workers[number]
        if worker.resuming is not None or worker.job is not None or worker.fetch_at:
            TALLY.crashes += 1
            worker.kill()
            self.workers[number] = self._new_worker()

    def _produce(self, place: TopicPartition, drawn: list[tuple[str, int]], *, in_transaction: bool = False) -> None:
        for kind, seed in drawn:
            self.numbers += 1
            told = tell(place, kind, seed, self.numbers, self.told[place])
            self.told[place].append(told)
            self.logs[place].append(told, BASE_US // 1000 + self.numbers, in_transaction=in_transaction)

    def _arrive(self, index: int) -> None:
        TALLY.echoes += 1
        request = self.echoes.pop(index)
        self.database.insert(request.what, request.rows)

    def _assign(self, number: int, places: list[TopicPartition], stale: Sequence[int] = ()) -> None:
        worker = self.workers[number]
        worker.complete()
        worker.begin_resume(places)
        worker.load(self.logs)
        self._take_over(number, stale)

    def _go_on_assigning(self, number: int, stale: Sequence[int]) -> None:
        worker = self.workers[number]
        if worker.resuming is not None and worker.resuming.saved is None:
            worker.complete()
            worker.load(self.logs)
        else:
            self._take_over(number, stale)

    def _take_over(self, number: int, stale: Sequence[int]) -> None:
        """Probe the logs and assign; fetches from elsewhere may be on their way before the seek."""
        worker = self.workers[number]
        resuming = worker.resuming
        if resuming is None or resuming.saved is None:
            raise RuntimeError("the checkpoints are not read yet")
        saved = resuming.saved
        seen = {
            place: self.logs[place].as_seen(start, end, saved.get(place)) for place, (start, end) in resuming.ranges.items()
        }
        orphans = {place: self._orphans(place) for place in seen}
        worker.inbox.clear()
        for place in seen:
            worker.fetch_at[place] = stale[0] if stale else 0
            for _fetch in stale:
                worker.fetch(place, self.logs[place], 2)
        worker.end_resume(seen)
        for place in seen:
            self._note_epoch(number, place, saved.get(place), orphans[place])
        worker.complete()

    def _note_epoch(
        self,
        number: int,
        place: TopicPartition,
        saved: Checkpoint | None,
        orphans: tuple[list[tuple[Any, Stored]], list[int]],
    ) -> None:
        point, log = self.workers[number].path.partitions[place].checkpoint, self.logs[place]
        if saved is None:
            self.expected_logs[place].open(0, Opened(point.next_offset, None, log), begins=True)
            return
        begins = point.epoch != saved.epoch
        must(begins == self._is_another_log(place, saved), "a new epoch begins where the log is another", place=place)
        adopted = (tuple(orphans[0]), tuple(orphans[1])) if begins and ORPHANS_ARE_ADOPTED else ((), ())
        TALLY.epochs += begins
        self.expected_logs[place].open(point.epoch, Opened(point.next_offset, saved, log, *adopted), begins=begins)

    def _is_another_log(self, place: TopicPartition, saved: Checkpoint) -> bool:
        log, known = self.logs[place], self.expected_logs[place].epochs[saved.epoch].log
        if log is known:
            return saved.next_offset < log.start
        offset = saved.last_offset
        if offset == NO_OFFSET or log.fingerprint(offset) is None:
            return not log.start <= saved.next_offset <= log.readable_end
        return log.fingerprint(offset) != known.fingerprint(offset)

    def _settle(self) -> None:
        """End every worker somehow, let one owner read everything, and hold the outcome to the invariants."""
        TALLY.settled += 1
        late = []
        for log in self.logs.values():
            log.end_transaction(is_committed=True)
        for number in WORKERS:
            worker, ending = self.workers[number], self.outcomes[number]
            if ending == "finish":
                worker.write_all()
            elif ending == "finish later":
                late.append(worker)
                worker.resuming = None
                continue
            self._restart(number)
        owner = self._new_worker()
        self.workers.append(owner)
        self._assign(len(WORKERS), list(PLACES))
        for place in PLACES:
            for _round in range(200):
                owner.fetch(place, self.logs[place], 10)
                if not owner.inbox.get(place):
                    break
                owner.handle(place)
                if owner.path.partitions.pending_records > 24:
                    owner.write_all()
        owner.write_all()
        for worker in late:
            worker.write_all()
        while self.echoes:
            self._arrive(0)
        for number in WORKERS:
            self._restart(number)
        self.workers.pop().kill()
        self.invariants_hold()
        check_settled(self.database, self.expected_logs, self.seen)
