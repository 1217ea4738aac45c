"""The way of an event, from a batch of Kafka records to queryable figures. Read :meth:`Pipeline.apply`, then
:meth:`Pipeline.flush`.

``apply`` decodes a batch and holds it. ``flush`` drops duplicates, folds the fresh events into figures and writes, in
this order: (1) dead letters and events, (2) the metric rows that changed, as absolute values, (3) the checkpoint. A
crash anywhere between is harmless, because every step can be repeated without a second effect: see
``docs/delivery.md``. One thread at a time calls this; it may block for as long as ClickHouse is away.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from schemas.codec import ClockLimits, Decoded, decode
from schemas.event_types import FAMILIES, Family
from schemas.pseudonym import Pseudonymizer
from sinks.checkpoints import Checkpoint, CheckpointStore
from sinks.dead_letters import DeadLetter, DeadLetterStore, DeadLetterTopic
from sinks.events import EventStore
from sinks.metrics import MetricStore
from streams.core.facts import Facts
from streams.figures import FIGURES
from streams.partition import Batch, Partition, Pending, resume_point
from streams.telemetry import Telemetry

Place = tuple[str, int]


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

    clock: ClockLimits
    max_value_bytes: int
    out_of_orderness_us: int
    idle_us: int
    time_zone: str
    cache_max_rows: int


class Pipeline:
    """The partitions this worker owns and the facts of their open keys."""

    def __init__(
        self,
        sinks: Sinks,
        rules: Rules,
        pseudonymizer: Pseudonymizer,
        telemetry: Telemetry,
        now_us: Callable[[], int],
    ) -> None:
        self._sinks = sinks
        self._rules = rules
        self._pseudonymizer = pseudonymizer
        self._telemetry = telemetry
        self._now_us = now_us
        self.partitions: dict[Place, Partition] = {}
        self._facts = {
            family.name: Facts(FIGURES[family.name].fact_schema(family), rules.cache_max_rows) for family in FAMILIES
        }

    @property
    def pending_records(self) -> int:
        """Records decoded and not yet written."""
        return sum(partition.pending.records for partition in self.partitions.values())

    def assign(self, logs: Mapping[Place, tuple[int, int]]) -> dict[Place, int]:
        """Take over exactly these partitions, given each log's first and next offset; return where to read on.

        What was decoded but not written is forgotten: whoever owns it now reads it again.
        """
        saved = self._sinks.checkpoints.load()
        for facts in self._facts.values():
            facts.clear()
        topics = {family.topic: family for family in FAMILIES}
        self.partitions = {}
        for (topic, number), (log_start, log_end) in logs.items():
            before = saved.get((topic, number))
            point = resume_point(before, topic, number, log_start, log_end)
            if before is not None and point.epoch != before.epoch:
                self._telemetry.new_epochs.labels(topic, str(number)).inc()
            self.partitions[topic, number] = Partition.resumed(topics[topic], point, self._now_us())
        self._telemetry.partitions.set(len(self.partitions))
        return {place: partition.next_offset for place, partition in self.partitions.items()}

    def apply(self, batch: Batch) -> int | None:
        """Decode a batch and hold it for the next flush.

        Returns the offset to read again from if the batch does not follow on from what was applied, else None.
        """
        partition = self.partitions.get((batch.topic, batch.partition))
        if partition is None:
            return None  # revoked meanwhile; the new owner reads it
        records = [record for record in batch.records if record.offset >= partition.next_offset]
        if not records:
            return None
        if (again_from := self._check_contiguity(partition, records[0].offset)) is not None:
            return again_from
        self._telemetry.batch_rows.observe(len(records))
        with self._telemetry.stage("decode"):
            decoded = decode(
                partition.family,
                records,
                clock=self._rules.clock,
                now_us=self._now_us(),
                max_value_bytes=self._rules.max_value_bytes,
            )
        self._hold(partition, batch, decoded, records)
        return None

    def flush(self) -> list[Checkpoint]:
        """Write everything held; return the new checkpoints. Does nothing if nothing is held."""
        dirty = [partition for partition in self.partitions.values() if partition.pending.records]
        if not dirty:
            return []
        self._telemetry.flush_rows.observe(sum(partition.pending.records for partition in dirty))
        with self._telemetry.stage("dead_letters"):
            letters = [letter for partition in dirty for letter in partition.pending.dead_letters]
            self._sinks.dead_letter_topic.publish(letters)
            self._sinks.dead_letters.insert(letters)
        fresh = {family.name: self._drop_duplicates(family, dirty) for family in FAMILIES}
        with self._telemetry.stage("store_events"):
            for family in FAMILIES:
                self._sinks.events.insert(family, fresh[family.name])
        for family in FAMILIES:
            self._write_figures(family, fresh[family.name])
        checkpoints = [self._checkpoint_after(partition, fresh[partition.family.name]) for partition in dirty]
        with self._telemetry.stage("checkpoint"):
            self._sinks.checkpoints.save(checkpoints)
        for partition, checkpoint in zip(dirty, checkpoints, strict=True):
            self._finish(partition, checkpoint)
        return checkpoints

    def advance_idle_watermarks(self) -> None:
        """Let the watermark of partitions without records follow the clock, and note it in their checkpoints."""
        now_us, idle_us = self._now_us(), self._rules.idle_us
        moved = []
        for partition in self.partitions.values():
            silent = now_us - partition.last_record_us >= idle_us and not partition.pending.records
            later = partition.watermark.idle(now_us, idle_us)
            if silent and partition.watermark.max_time_us and later.value_us - partition.watermark.value_us >= idle_us:
                partition.watermark = later
                partition.checkpoint = partition.advanced(stored=0, duplicates=0)
                moved.append(partition.checkpoint)
        self._sinks.checkpoints.save(moved)

    def _check_contiguity(self, partition: Partition, first_offset: int) -> int | None:
        hole = first_offset - partition.next_offset
        if hole == 0:
            partition.sought = None
            return None
        labels = (partition.checkpoint.topic, str(partition.checkpoint.partition))
        if partition.sought != partition.next_offset:
            # A fetch that raced the seek after a rebalance looks like a hole; only asking again tells them apart.
            partition.sought = partition.next_offset
            self._telemetry.reseeks.labels(*labels).inc()
            return partition.next_offset
        self._telemetry.offset_holes.labels(*labels).inc(hole)
        partition.sought = None
        return None

    def _hold(self, partition: Partition, batch: Batch, decoded: Decoded, records: list) -> None:  # type: ignore[type-arg]
        pending = partition.pending
        events = self._pseudonymizer.apply(decoded.events)
        if not events.is_empty():
            pending.events.append(
                events.with_columns(
                    pl.lit(batch.partition, pl.UInt16).alias("partition"),
                    (pl.col("offset") + partition.position(0)).cast(pl.UInt64).alias("position"),
                ).drop("offset", "row")
            )
            latest_us = events["time_us"].max()
            if isinstance(latest_us, int):
                partition.watermark = partition.watermark.seen(latest_us, self._rules.out_of_orderness_us)
        for reject in decoded.rejects:
            record = records[reject.row]
            pending.dead_letters.append(
                DeadLetter(
                    topic=batch.topic,
                    partition=batch.partition,
                    position=partition.position(record.offset),
                    offset=record.offset,
                    timestamp_ms=record.timestamp,
                    reason=reject.reason,
                    field=reject.field or "",
                    detail=reject.detail,
                    key=record.key,
                    value=record.value,
                    headers=record.headers,
                )
            )
        pending.records += len(records)
        pending.oldest_ms = min(pending.oldest_ms or records[0].timestamp, records[0].timestamp)
        pending.newest_ms = max(pending.newest_ms, records[-1].timestamp)
        partition.next_offset = records[-1].offset + 1
        partition.last_record_us = self._now_us()

    def _drop_duplicates(self, family: Family, dirty: list[Partition]) -> pl.DataFrame:
        """Return the pending events of ``family`` that are not stored yet; their keys' facts are then in memory."""
        held = [frame for partition in dirty if partition.family is family for frame in partition.pending.events]
        if not held:
            return pl.DataFrame()
        events, facts = pl.concat(held), self._facts[family.name]
        keys = events["key"].unique().to_list()
        if missing := facts.missing(keys):
            with self._telemetry.rebuild_seconds.time():
                below = {
                    place[1]: partition.checkpoint.position
                    for place, partition in self.partitions.items()
                    if partition.family is family
                }
                columns = FIGURES[family.name].fact_columns
                facts.load(missing, self._sinks.events.facts(family, columns, missing, below))
        with self._telemetry.stage("dedupe"):
            facts.touch(keys)
            return facts.add(events)

    def _write_figures(self, family: Family, fresh: pl.DataFrame) -> None:
        if fresh.is_empty():
            return
        facts = self._facts[family.name]
        with self._telemetry.stage("fold"):
            known = facts.of(fresh["key"].unique())
            changed = fresh.select(facts.columns).cast(dict(known.schema))
            rows = FIGURES[family.name].rows(known, changed, self._rules.time_zone)
        with self._telemetry.stage("store_figures"):
            self._sinks.metrics.upsert(rows.join(self._origin(family, fresh), on="key"))
        self._telemetry.metric_rows.labels(family.name).inc(rows.height)
        facts.shrink()
        self._telemetry.cached_rows.labels(family.name).set(facts.height)

    def _origin(self, family: Family, fresh: pl.DataFrame) -> pl.DataFrame:
        """Return the topic, the partition and the revision of the rows of each key."""
        revisions = {
            place[1]: partition.position(partition.next_offset)
            for place, partition in self.partitions.items()
            if partition.family is family
        }
        return fresh.group_by("key").agg(pl.col("partition").first()).with_columns(
            pl.lit(family.topic).alias("topic"),
            pl.col("partition").replace_strict(revisions, return_dtype=pl.UInt64).alias("revision"),
        )

    def _checkpoint_after(self, partition: Partition, fresh: pl.DataFrame) -> Checkpoint:
        valid = sum(frame.height for frame in partition.pending.events)
        number = partition.checkpoint.partition
        stored = 0 if fresh.is_empty() else fresh.filter(pl.col("partition") == number).height
        return partition.advanced(stored=stored, duplicates=valid - stored)

    def _finish(self, partition: Partition, after: Checkpoint) -> None:
        before, pending = partition.checkpoint, partition.pending
        labels = (after.topic, str(after.partition))
        self._telemetry.consumed.labels(*labels).inc(after.consumed - before.consumed)
        self._telemetry.stored.labels(*labels).inc(after.stored - before.stored)
        self._telemetry.duplicates.labels(*labels).inc(after.duplicates - before.duplicates)
        for letter in pending.dead_letters:
            self._telemetry.dead_letters.labels(letter.topic, letter.reason).inc()
        if pending.oldest_ms is not None:
            self._telemetry.queryable_seconds.observe(max(0.0, time.time() - pending.oldest_ms / 1000))
        partition.checkpoint = after
        partition.pending = Pending()
