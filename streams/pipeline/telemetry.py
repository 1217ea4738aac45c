"""Every Prometheus metric of the worker, declared once with its kind and meaning; ``docs/operations.md`` is held to it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

_PARTITION: Final = ("topic", "partition")
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LATENCY_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_ROWS: Final = (1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000)


class Moment(Gauge):
    """When something last happened, in seconds since the epoch; shown once it has happened, and never as 1970."""

    def collect(self) -> list[Metric]:
        """Return the metric, if it has a value."""
        return [metric for metric in super().collect() if any(sample.value for sample in metric.samples)]


class Telemetry:
    """The worker's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"classpulse_{name}", meaning, labels, registry=self.registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"classpulse_{name}", meaning, labels, registry=self.registry)

        def moment(name: str, meaning: str) -> Moment:
            return Moment(f"classpulse_{name}", meaning, registry=self.registry)

        def histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"classpulse_{name}", meaning, labels, buckets=buckets, registry=self.registry)

        self.consumed = counter("consumed_records", "Records read and checkpointed", *_PARTITION)
        self.stored = counter("stored_events", "Unique events stored", *_PARTITION)
        self.duplicates = counter("duplicate_events", "Records dropped because their event was stored before", *_PARTITION)
        self.dead_letters = counter("dead_letters", "Records rejected", "topic", "reason")
        self.metric_rows = counter("metric_rows", "Metric rows written, revisions included", "family")
        self.retries = counter("clickhouse_retries", "Calls to ClickHouse that failed and were repeated")
        self.offset_gaps = counter("offset_gap_records", "Offsets that Kafka dropped before they were read", *_PARTITION)
        self.reseeks = counter("reseeks", "Times the consumer was sent back to the expected offset", *_PARTITION)
        self.stalled = counter(
            "stalled_partitions", "Times a stalled partition was read again from its offset", *_PARTITION
        )
        self.new_epochs = counter("new_epochs", "Times a topic was found recreated or truncated", *_PARTITION)
        self.respelled_students = gauge(
            "respelled_student_ids", "Different student ids in another spelling than the one that counts (Unicode NFKC)"
        )
        self.commit_failures = counter("commit_failures", "Kafka commits rejected; harmless, lag tools show old values")
        self.dead_letter_retries = counter("dead_letter_retries", "Attempts to publish dead letters that were repeated")
        self.circuit_trips = counter("circuit_trips", "Times most of a partition's records were rejected", *_PARTITION)
        self.circuit_open = gauge(
            "circuit_open", "1: the partition is paused, or on trial, since most recent records were rejected", *_PARTITION
        )
        self.lag_records = gauge(
            "lag_records", "Offsets that may be read and are not yet checkpointed; open transactions may not", *_PARTITION
        )
        self.open_transaction_seconds = gauge(
            "open_transaction_seconds",
            "How long an open transaction has held back the records after it; 0: none",
            *_PARTITION,
        )
        self.lag_seconds = gauge(
            "lag_seconds", "While there is lag: seconds since the newest checkpointed record came", *_PARTITION
        )
        self.watermark_delay_seconds = gauge("watermark_delay_seconds", "Clock minus watermark, in event time", *_PARTITION)
        self.cached_rows = gauge("cached_rows", "Stored events held in memory", "family")
        self.missing_partitions = gauge(
            "missing_partitions", "Declared partitions that Kafka does not have or no broker leads", "topic"
        )
        self.started_timestamp = moment("started_timestamp_seconds", "When this worker began to read its partitions")
        self.checkpoint_timestamp = moment("checkpoint_timestamp_seconds", "When this worker last wrote a checkpoint")
        self.partitions = gauge("assigned_partitions", "Partitions this worker is assigned")
        self.batch_rows = histogram("batch_records", "Records in a batch from Kafka", _ROWS)
        self.flush_rows = histogram("flush_records", "Records in a write to ClickHouse", _ROWS)
        self.stage_seconds = histogram("stage_seconds", "Duration of a stage of the pipeline", _SECONDS, "stage")
        self.rebuild_seconds = histogram("rebuild_seconds", "Reading stored events back for open keys", _SECONDS)
        self.queryable_seconds = histogram(
            "event_to_queryable_seconds",
            "From a record's arrival in Kafka to its metrics being queryable; the oldest record of each write",
            _LATENCY_SECONDS,
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of the pipeline."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(time.perf_counter() - started)
