"""One write, from decoded events to a checkpoint: duplicates are dropped, metrics are folded, and all of it is stored.

The order is: (1) dead letters and events, (2) the metric rows that changed, as absolute values, (3) the checkpoint, once
the broker has the dead letters. A crash anywhere between is harmless, because every step can be repeated without a second
effect: see ``docs/delivery.md``. Folding needs no store, so ClickHouse takes the events meanwhile.

Everything here runs in one thread and may block for as long as ClickHouse is away. It inserts the events by the executor
``inserting``, and calls no store while that is under way.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from schemas.events.event_types import FAMILIES, Family
from sinks.stores.checkpoints import Checkpoint, CheckpointStore
from sinks.stores.dead_letters import DeadLetterStore, DeadLetterTopic
from sinks.stores.events import EventStore
from sinks.stores.metrics import MetricStore
from streams.core.event_cache import Added, EventCache
from streams.core.families import FOLDS
from streams.pipeline.batch import TopicPartition
from streams.pipeline.partition import Partition
from streams.pipeline.partitions import Checkpoints, RejectedRecords, StoredBelow, Write
from streams.pipeline.rules import Rules
from streams.pipeline.telemetry import Telemetry

#: Stored events folded at once; what folding needs in memory grows with them, and fewer cost more for each.
FOLD_MAX_ROWS: Final = 100_000
#: Keys read back at once: what is read is text, several times what it is in the cache.
LOAD_MAX_KEYS: Final = 200
#: Metrics inserted at once; on their way they are in memory several times. Each insert costs the server some ms whatever
#: is in it.
INSERT_MAX_ROWS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where a write goes."""

    events: EventStore
    metrics: MetricStore
    checkpoints: CheckpointStore
    dead_letters: DeadLetterStore
    dead_letter_topic: DeadLetterTopic


@dataclass(frozen=True, slots=True)
class Rejected:
    """ClickHouse will never take the events of these records, and nothing was checkpointed.

    The partitions are to be assigned again: from their checkpoints on everything is read once more, these records become
    dead letters, and all others are written.
    """

    records: RejectedRecords


class Writer:
    """The stores, and the cached events of the keys that are open."""

    def __init__(self, sinks: Sinks, rules: Rules, telemetry: Telemetry, inserting: Executor) -> None:
        self._sinks = sinks
        self._rules = rules
        self._telemetry = telemetry
        self._inserting = inserting
        self._caches = {
            family.name: EventCache(FOLDS[family.name].cached_schema(family), rules.cache_max_rows) for family in FAMILIES
        }

    def write(self, write: Write) -> list[Checkpoint] | Rejected:
        """Write everything; return the new checkpoints, in the order of the parts."""
        parts = write.parts
        self._telemetry.flush_rows.observe(sum(chunk.records for part in parts for chunk in part.chunks))
        dead_letters = [letter for part in parts for letter in part.dead_letters]
        published = self._sinks.dead_letter_topic.publish(dead_letters)
        with self._telemetry.stage("dead_letters"):
            self._sinks.dead_letters.insert(dead_letters)
        added = {one.name: self._drop_duplicates(one, _events(write, one), write.below) for one in FAMILIES}
        storing = self._inserting.submit(self._store_events, added)
        try:
            rows = {one.name: self._fold(one, added[one.name], _revisions(write, one)) for one in FAMILIES}
        finally:
            rejected = storing.result()
        if rejected:
            return Rejected(rejected)
        self._store_metrics(rows)
        checkpoints = [part.counted(_stored(part.before, added[part.family.name].fresh)) for part in parts]
        with self._telemetry.stage("checkpoint"):
            published.result()
            self._sinks.checkpoints.save(checkpoints)
        return checkpoints

    def load_checkpoints(self) -> Checkpoints:
        """Read the checkpoints, and forget the cached events: another worker may have added to them meanwhile."""
        for cache in self._caches.values():
            cache.clear()
        return self._sinks.checkpoints.load()

    def stored_position(self, topic_partition: TopicPartition) -> int:
        """Return the position of the latest checkpoint, whoever wrote it; 0 without one."""
        saved = self._sinks.checkpoints.load().get(topic_partition)
        return saved.position if saved is not None else 0

    def save_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Write checkpoints without events."""
        self._sinks.checkpoints.save(checkpoints)

    def count_ended_epoch(self, partition: Partition, below: StoredBelow) -> Checkpoint:
        """Count what an ended epoch stored above its last checkpoint, and its metrics: a write was cut short there.

        Nobody will read those records again, since their log is gone. May be repeated after a crash. Returns the
        checkpoint of the new epoch with their counts.
        """
        before, after, family = partition.ended, partition.checkpoint, partition.family
        if before is None:
            raise ValueError("no epoch ended here")
        between = (before.position, after.position)
        columns = FOLDS[family.name].cached_columns
        events = self._sinks.events.stored_between(family, columns, after.partition, between)
        rejected = self._sinks.dead_letters.count_between(after.topic, after.partition, between)
        if events.is_empty() and not rejected:
            return after
        known = {**below, family.name: {**below[family.name], after.partition: before.position}}
        added = self._drop_duplicates(family, events, known)
        self._store_metrics({family.name: self._fold(family, added, {after.partition: after.position})})
        counted = replace(
            after,
            consumed=after.consumed + events.height + rejected,
            stored=after.stored + added.fresh.height,
            duplicates=after.duplicates + added.dropped.height,
            dead_letters=after.dead_letters + rejected,
        )
        with self._telemetry.stage("checkpoint"):
            self._sinks.checkpoints.save([counted])
        return counted

    def _drop_duplicates(self, family: Family, events: pl.DataFrame, below: StoredBelow) -> Added:
        """Return the events that are not stored yet, and those that are; their keys are in the cache afterwards."""
        if events.is_empty():
            return Added(events, events, events)
        cache, columns = self._caches[family.name], FOLDS[family.name].cached_columns
        keys = events["key"].unique().to_list()
        if missing := cache.missing(keys):
            with self._telemetry.rebuild_seconds.time():
                for start in range(0, len(missing), LOAD_MAX_KEYS):
                    some = missing[start : start + LOAD_MAX_KEYS]
                    cache.load(some, self._sinks.events.events_of(family, columns, some, below[family.name]))
        with self._telemetry.stage("dedupe"):
            cache.touch(keys)
            return cache.add(events)

    def _store_events(self, added: Mapping[str, Added]) -> RejectedRecords:
        """Store the events and note the duplicates, unless events are rejected: then return which."""
        rejected: RejectedRecords = {}
        with self._telemetry.stage("store_events"):
            for family in FAMILIES:
                for (number, position), text in self._sinks.events.insert(family, added[family.name].fresh).items():
                    rejected.setdefault((family.topic, number), {})[position] = text
            if not rejected:
                for family in FAMILIES:
                    self._sinks.events.note_duplicates(family, added[family.name].dropped)
        return rejected

    def _fold(self, family: Family, added: Added, revisions: Mapping[int, int]) -> pl.DataFrame | None:
        """Return the metric rows that change; None without a fresh event. ``revisions`` are those of the partitions."""
        if added.fresh.is_empty():
            return None
        cache = self._caches[family.name]
        with self._telemetry.stage("fold"):
            slices = cache.slices(added.cached, FOLD_MAX_ROWS)
            rows = pl.concat([FOLDS[family.name].rows(known, fresh, self._rules.metrics) for known, fresh in slices])
            cache.shrink()
        self._telemetry.cached_rows.labels(family.name).set(cache.height)
        return rows.join(_origin(family, added.fresh, revisions), on="key")

    def _store_metrics(self, rows: Mapping[str, pl.DataFrame | None]) -> None:
        with self._telemetry.stage("store_metrics"):
            changed = {name: frame for name, frame in rows.items() if frame is not None}
            if changed:
                for part in pl.concat(changed.values()).iter_slices(INSERT_MAX_ROWS):
                    self._sinks.metrics.upsert(part)
            for name, frame in changed.items():
                self._telemetry.metric_rows.labels(name).inc(frame.height)


def _events(write: Write, family: Family) -> pl.DataFrame:
    frames = [chunk.events for part in write.parts if part.family.name == family.name for chunk in part.chunks]
    return pl.concat(frames) if frames else pl.DataFrame()


def _revisions(write: Write, family: Family) -> dict[int, int]:
    return {part.after.partition: part.after.position for part in write.parts if part.family.name == family.name}


def _stored(before: Checkpoint, fresh: pl.DataFrame) -> int:
    return 0 if fresh.is_empty() else fresh.filter(pl.col("partition") == before.partition).height


def _origin(family: Family, fresh: pl.DataFrame, revisions: Mapping[int, int]) -> pl.DataFrame:
    """Return the topic, the partition and the revision of the rows of each key."""
    return (
        fresh.group_by("key")
        .agg(pl.col("partition").first())
        .with_columns(
            pl.lit(family.topic).alias("topic"),
            pl.col("partition").replace_strict(revisions, return_dtype=pl.UInt64).alias("revision"),
        )
    )
