"""The way of an event, from a batch of Kafka records to queryable metrics:

    following -> decode_batch -> hold -> take -> write -> finish

``following``, ``decode_batch`` and ``hold`` are in ``streams/pipeline/intake.py``; :meth:`Pipeline.write` is the second
half. It drops duplicates, folds the fresh events into metrics and writes, in this order: (1) dead letters and events, (2)
the metric rows that changed, as absolute values, (3) the checkpoint, once the broker has the dead letters. A crash anywhere
between is harmless, because every step can be repeated without a second effect: see ``docs/delivery.md``. Folding needs no
store, so the database takes the events meanwhile.

Threads: the event loop owns the partitions and calls everything but ``decode_batch``, ``load_checkpoints`` and ``write``,
which may run in threads of their own, each one at a time; ``write`` may block for as long as ClickHouse is away. It
inserts the events by the executor ``inserting``, and calls no store while that is under way.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from schemas.codec.decode import Record
from schemas.events.event_types import FAMILIES, Family
from schemas.metrics.rules import MetricRules
from sinks.stores.checkpoints import Checkpoint, CheckpointStore
from sinks.stores.dead_letters import DeadLetterStore, DeadLetterTopic
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from streams.core.families import FIGURES
from streams.core.state import Added, Facts
from streams.pipeline.breaker import Breaker
from streams.pipeline.intake import Before, Decoder, Following, following
from streams.pipeline.partition import Batch, Chunk, Log, Partition, PartitionWrite, Place, resume_point
from streams.pipeline.telemetry import Telemetry

Checkpoints = Mapping[Place, Checkpoint]
#: Facts folded at once; what folding holds in memory grows with them, and fewer cost more for each.
FOLD_MAX_ROWS: Final = 100_000
#: Keys read back at once: what is read is text, several times what it is as facts.
LOAD_MAX_KEYS: Final = 200
#: Metrics inserted at once; on their way they are in memory several times. Each insert costs the server some ms whatever
#: is in it.
INSERT_MAX_ROWS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where the pipeline writes."""

    events: EventStore
    metrics: MetricStore
    checkpoints: CheckpointStore
    dead_letters: DeadLetterStore
    dead_letter_topic: DeadLetterTopic


@dataclass(frozen=True, slots=True)
class Rules:
    """What the pipeline is told about time and size."""

    out_of_orderness_us: int
    idle_us: int
    cache_max_rows: int
    figures: MetricRules = field(default_factory=MetricRules)
    #: Refused share of a partition's recent records that opens its circuit; 0 switches that off.
    breaker_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Write:
    """What one write consists of; ``below`` gives the position under which each partition's events are stored."""

    parts: list[PartitionWrite]
    below: dict[str, dict[int, int]]
    #: False if the events were read from the store.
    new: bool = True


class Pipeline:
    """The partitions this worker owns, and the facts of their open keys."""

    def __init__(
        self,
        sinks: Sinks,
        rules: Rules,
        decoder: Decoder,
        telemetry: Telemetry,
        now_us: Callable[[], int],
        inserting: Executor,
    ) -> None:
        self._sinks = sinks
        self._rules = rules
        self._decoder = decoder
        self._telemetry = telemetry
        self._now_us = now_us
        self.partitions: dict[Place, Partition] = {}
        #: Nothing was written yet since the partitions were taken over.
        self.is_fresh = True
        self._inserting = inserting
        #: Records whose events ClickHouse will not take, by position, with what it says: dead letters when read again.
        self._refused: dict[Place, dict[int, str]] = {}
        self._facts = {
            family.name: Facts(FIGURES[family.name].fact_schema(family), rules.cache_max_rows) for family in FAMILIES
        }

    @property
    def pending_records(self) -> int:
        """Records decoded and not yet handed to a write."""
        return sum(partition.pending_records for partition in self.partitions.values())

    @property
    def pending_bytes(self) -> int:
        """What is decoded and not yet handed to a write holds in memory, about."""
        return sum(partition.pending_bytes for partition in self.partitions.values())

    def release(self) -> None:
        """Let go of every partition, and of what is held but not written: whoever owns it next reads it again."""
        self.partitions = {}

    def load_checkpoints(self) -> Checkpoints:
        """Read the checkpoints, and forget the facts: another worker may have added to them meanwhile."""
        for facts in self._facts.values():
            facts.clear()
        return self._sinks.checkpoints.load()

    def stored_position(self, place: Place) -> int:
        """Return the position of the latest checkpoint, whoever wrote it; 0 without one."""
        saved = self._sinks.checkpoints.load().get(place)
        return saved.position if saved is not None else 0

    def assign(self, logs: Mapping[Place, Log], saved: Checkpoints) -> dict[Place, int]:
        """Take over these partitions, given what Kafka says of their logs; return where to read on.

        Nothing may have been written between ``load_checkpoints`` and this; call ``release`` before.
        """
        families = {family.topic: family for family in FAMILIES}
        for (topic, number), log in logs.items():
            before = saved.get((topic, number))
            point = resume_point(before, topic, number, log)
            if before is not None and point.epoch != before.epoch:
                self._telemetry.new_epochs.labels(topic, str(number)).inc()
            partition = Partition.resumed(families[topic], point, self._now_us())
            partition.breaker = Breaker(self._rules.breaker_share)
            if before is not None and point.epoch != before.epoch:
                partition.ended = before
            self.partitions[topic, number] = partition
        self._refused = {place: refused for place, refused in self._refused.items() if place in self.partitions}
        self.is_fresh = True
        self._telemetry.partitions.set(len(self.partitions))
        return {place: partition.next_offset for place, partition in self.partitions.items()}

    def adopt(self, partition: Partition) -> None:
        """Count what an ended epoch stored above its last checkpoint, and its metrics: a write was cut short there.

        Nobody will read those records again, since their log is gone. May be repeated after a crash.
        """
        before, after, family = partition.ended, partition.checkpoint, partition.family
        if before is None:
            raise ValueError("no epoch ended here")
        between = (before.position, after.position)
        columns = FIGURES[family.name].fact_columns
        events = self._sinks.events.stored_between(family, columns, after.partition, between)
        letters = self._sinks.dead_letters.count_between(after.topic, after.partition, between)
        if letters or not events.is_empty():
            chunk = Chunk(events, [], events.height, after.next_offset, 0, 0, 0, after.last_offset, after.last_fingerprint)
            write = Write([PartitionWrite(partition, before, after, [chunk], letters)], self._below(), new=False)
            write.below[family.name][after.partition] = before.position
            if (checkpoints := self.write(write)) is not None:
                self.finish(write, checkpoints)
        partition.ended = None

    def following(self, batch: Batch) -> tuple[Partition, Following] | None:
        """Return what the batch means for its partition, or None if another worker owns that now."""
        partition = self.partitions.get((batch.topic, batch.partition))
        if partition is None:
            return None
        found = following(partition, batch)
        labels = (batch.topic, str(batch.partition))
        if found.read_again_from is not None:
            self._telemetry.reseeks.labels(*labels).inc()
        if found.hole:
            self._telemetry.offset_holes.labels(*labels).inc(found.hole)
        return partition, found

    def decode_batch(self, partition: Partition, batch: Batch, records: Sequence[Record]) -> Chunk:
        """Turn records into columns and dead letters."""
        refused = self._refused.get((batch.topic, batch.partition), {})
        self._telemetry.batch_rows.observe(len(records))
        with self._telemetry.stage("decode"):
            before = Before(partition.checkpoint.epoch, partition.watermark.max_time_us)
            return self._decoder.decode_batch(partition.family, batch, records, before, self._now_us(), refused)

    def hold(self, partition: Partition, chunk: Chunk) -> None:
        """Keep a decoded batch for the next write."""
        # A record may bear any time: one that is replayed, or sent by a device after an outage.
        chunk = replace(chunk, oldest_ms=max(chunk.oldest_ms, partition.read_up_ms))
        partition.hold(chunk, self._rules.out_of_orderness_us, self._now_us())

    def take(self) -> Write | None:
        """Hand over everything held as one write; None if nothing is held."""
        parts = [partition.take() for partition in self.partitions.values() if partition.chunks]
        if not parts:
            return None
        return Write(parts, self._below())

    def _below(self) -> dict[str, dict[int, int]]:
        below: dict[str, dict[int, int]] = {family.name: {} for family in FAMILIES}
        for (_topic, number), partition in self.partitions.items():
            below[partition.family.name][number] = partition.checkpoint.position
        return below

    def write(self, write: Write) -> list[Checkpoint] | None:
        """Write everything; return the new checkpoints, in the order of the parts.

        None if ClickHouse will never take some of the events. Then the partitions are to be assigned again: from their
        checkpoints on everything is read once more, those records become dead letters, and all others are written.
        """
        parts = write.parts
        self._telemetry.flush_rows.observe(sum(chunk.records for part in parts for chunk in part.chunks))
        letters = [letter for part in parts for letter in part.dead_letters]
        published = self._sinks.dead_letter_topic.publish(letters)
        with self._telemetry.stage("dead_letters"):
            self._sinks.dead_letters.insert(letters)
        added = {family.name: self._drop_duplicates(family, write) for family in FAMILIES}
        storing = self._inserting.submit(self._store_events, added) if write.new else None
        try:
            figures = {family.name: self._fold(family, added[family.name], write) for family in FAMILIES}
        finally:
            all_stored = storing is None or storing.result()
        if not all_stored:
            return None
        self._store_metrics(figures)
        checkpoints = [part.counted(_stored(part, added[part.partition.family.name].fresh)) for part in parts]
        with self._telemetry.stage("checkpoint"):
            published.result()
            self._sinks.checkpoints.save(checkpoints)
        return checkpoints

    def finish(self, write: Write, checkpoints: Sequence[Checkpoint]) -> None:
        """Note that a write is done."""
        self.is_fresh = False
        clock_seconds = time.time()
        for part, after in zip(write.parts, checkpoints, strict=True):
            part.partition.checkpoint = after
            if refused := self._refused.pop((after.topic, after.partition), {}):
                self._refused[after.topic, after.partition] = {
                    position: text for position, text in refused.items() if position >= after.position
                }
            labels = (after.topic, str(after.partition))
            self._telemetry.consumed.labels(*labels).inc(after.consumed - part.before.consumed)
            self._telemetry.stored.labels(*labels).inc(after.stored - part.before.stored)
            self._telemetry.duplicates.labels(*labels).inc(after.duplicates - part.before.duplicates)
            for letter in part.dead_letters:
                self._telemetry.dead_letters.labels(letter.topic, letter.reason).inc()
            oldest = [chunk.oldest_ms for chunk in part.chunks if chunk.records]
            if write.new and oldest:
                self._telemetry.queryable_seconds.observe(max(0.0, clock_seconds - min(oldest) / 1000))
        self._telemetry.checkpoint_timestamp.set(clock_seconds)

    def idle_checkpoints(self) -> list[Checkpoint]:
        """Let the watermarks of partitions without records follow the clock; return the checkpoints that changed."""
        now_us, idle_us = self._now_us(), self._rules.idle_us
        moved = []
        for partition in self.partitions.values():
            later = partition.watermark.idle(now_us, idle_us)
            settled = partition.checkpoint.next_offset == partition.next_offset and partition.watermark.max_time_us
            silent = now_us - partition.last_record_us >= idle_us
            if settled and silent and later.value_us - partition.watermark.value_us >= idle_us:
                partition.watermark = later
                partition.checkpoint = replace(partition.checkpoint, watermark_us=later.value_us)
                moved.append(partition.checkpoint)
        return moved

    def save_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Write checkpoints without events."""
        self._sinks.checkpoints.save(checkpoints)

    def _drop_duplicates(self, family: Family, write: Write) -> Added:
        """Return the events of ``family`` that are not stored yet, and the facts of their keys."""
        held = [chunk.events for part in write.parts if part.partition.family is family for chunk in part.chunks]
        events = pl.concat(held) if held else pl.DataFrame()
        if events.is_empty():
            return Added(events, events, events)
        facts, columns = self._facts[family.name], FIGURES[family.name].fact_columns
        keys = events["key"].unique().to_list()
        if missing := facts.missing(keys):
            with self._telemetry.rebuild_seconds.time():
                for start in range(0, len(missing), LOAD_MAX_KEYS):
                    part = missing[start : start + LOAD_MAX_KEYS]
                    facts.load(part, self._sinks.events.facts(family, columns, part, write.below[family.name]))
        with self._telemetry.stage("dedupe"):
            facts.touch(keys)
            return facts.add(events)

    def _store_events(self, added: Mapping[str, Added]) -> bool:
        """Store the events and note the duplicates; return False, and note which, if events are refused."""
        all_stored = True
        with self._telemetry.stage("store_events"):
            for family in FAMILIES:
                for (number, position), text in self._sinks.events.insert(family, added[family.name].fresh).items():
                    self._refused.setdefault((family.topic, number), {})[position] = text
                    all_stored = False
            if all_stored:
                for family in FAMILIES:
                    self._sinks.events.note_duplicates(family, added[family.name].dropped)
        return all_stored

    def _fold(self, family: Family, added: Added, write: Write) -> pl.DataFrame | None:
        """Return the metric rows that change; None without a fresh event."""
        if added.fresh.is_empty():
            return None
        facts = self._facts[family.name]
        with self._telemetry.stage("fold"):
            slices = facts.slices(added.facts, FOLD_MAX_ROWS)
            rows = pl.concat([FIGURES[family.name].rows(known, fresh, self._rules.figures) for known, fresh in slices])
            facts.shrink()
        self._telemetry.cached_rows.labels(family.name).set(facts.height)
        return rows.join(_origin(family, added.fresh, write), on="key")

    def _store_metrics(self, figures: Mapping[str, pl.DataFrame | None]) -> None:
        with self._telemetry.stage("store_figures"):
            written = {name: rows for name, rows in figures.items() if rows is not None}
            if written:
                for part in pl.concat(written.values()).iter_slices(INSERT_MAX_ROWS):
                    self._sinks.metrics.upsert(part)
            for name, rows in written.items():
                self._telemetry.metric_rows.labels(name).inc(rows.height)


def _stored(part: PartitionWrite, fresh: pl.DataFrame) -> int:
    if fresh.is_empty():
        return 0
    return fresh.filter(pl.col("partition") == part.before.partition).height


def _origin(family: Family, fresh: pl.DataFrame, write: Write) -> pl.DataFrame:
    """Return the topic, the partition and the revision of the rows of each key."""
    revisions = {part.after.partition: part.after.position for part in write.parts if part.partition.family is family}
    return (
        fresh.group_by("key")
        .agg(pl.col("partition").first())
        .with_columns(
            pl.lit(family.topic).alias("topic"),
            pl.col("partition").replace_strict(revisions, return_dtype=pl.UInt64).alias("revision"),
        )
    )
