"""From an event to its metrics: how long until what a device sent can be queried in ClickHouse, at a steady rate.

    classpulse measure latency

First a backlog is drained at full speed, which fills the lessons and tells the maximum rate; then events follow at each
rate; without ``--rate`` at 1,000 a second and at half the maximum.

The clock of an event starts when the producer hands its record to the Kafka client (which is also the timestamp it sends),
and ends at the first poll that finds the checkpoint of its partition beyond it; the checkpoint is written after the events
and the metrics, so this is an upper bound, too long by up to one poll. To show that checkpoints tell the truth, one event
of speech each second is also looked for by itself, in the metrics of its lesson.
"""

import argparse
import asyncio
import gc
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, Final, Self

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from deploy.local.commands.demo_display import Display
from deploy.local.simulator import Produced
from schemas.errors import MustStop
from sinks.clickhouse.client import connect
from tests.lab.measure import inputs, quantiles
from tests.lab.measure.outcome import Goal, Outcome
from tests.lab.measure.paced import Paced, Place, SentBatch, send_at_rate
from tests.lab.measure.rig import MeasuringRig, Store
from tests.lab.rig import WorkerProcess
from tests.lab.rig.scrape import Page

__all__ = ["Watched", "latencies", "measure", "options"]

STEADY_RATE: Final = 1_000.0
STEADY_GOAL_SECONDS: Final = 1.0
HALF_GOAL_SECONDS: Final = 2.0
#: Slower than asked for by more than this is not the rate that was asked for.
PACE_TOLERANCE: Final = 0.02
#: If the last third takes so many times longer than the first, events pile up.
PILING_UP: Final = 2.0
_HISTOGRAM: Final = "classpulse_event_to_queryable_seconds"
_CHECKPOINTS: Final = "SELECT topic, partition, max(next_offset) FROM checkpoints GROUP BY topic, partition"
_REVISIONS: Final = "SELECT key, max(revision) FROM metric_rows WHERE key IN %(keys)s GROUP BY key"


@dataclass(slots=True)
class Watched:
    """What the polls saw: for each partition, offsets and when they were first seen; and when each poll ended."""

    offsets: dict[Place, list[int]] = field(default_factory=dict)
    seen_at: dict[Place, list[float]] = field(default_factory=dict)
    polls_at: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)

    def see(self, place: Place, offset: int, at_seconds: float) -> None:
        """Take note of the next offset of a partition's checkpoint."""
        offsets = self.offsets.setdefault(place, [])
        if not offsets or offset > offsets[-1]:
            offsets.append(offset)
            self.seen_at.setdefault(place, []).append(at_seconds)

    def queryable_at(self, place: Place, next_offset: int) -> float | None:
        """Return when everything below ``next_offset`` was first seen applied; None if it was not."""
        offsets = self.offsets.get(place, [])
        number = bisect_left(offsets, next_offset)
        return self.seen_at[place][number] if number < len(offsets) else None

    def resolution_seconds(self) -> list[tuple[float, float]]:
        """Return the times between polls, each with weight 1."""
        return [(after - before, 1.0) for before, after in zip(self.polls_at, self.polls_at[1:], strict=False)]


class Poller:
    """Asks ClickHouse, again and again, how far the checkpoints are and whether the probes are in their metrics."""

    def __init__(self, store: Store, sent: Paced, poll_seconds: float) -> None:
        self.watched = Watched()
        self._client: Client = connect(store.target)
        self._sent = sent
        self._poll_seconds = poll_seconds
        self._looked_at = 0
        self._outstanding: dict[str, list[SentBatch]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            began = time.time()
            # What one poll misses the next one shows, and the time between polls tells.
            with suppress(ClickHouseError):
                self._poll()
            self._ended.wait(max(0.0, self._poll_seconds - (time.time() - began)))

    def _poll(self) -> None:
        rows = self._client.query(_CHECKPOINTS).result_rows
        now = time.time()
        for topic, partition, offset in rows:
            self.watched.see((topic, int(partition)), int(offset), now)
        self.watched.polls_at.append(now)
        batches = self._sent.batches
        while self._looked_at < len(batches) and batches[self._looked_at].base_offset >= 0:
            batch = batches[self._looked_at]
            if batch.probe is not None:
                self._outstanding.setdefault(batch.probe[0], []).append(batch)
            self._looked_at += 1
        if self._outstanding:
            self._look_for_probes()

    def _look_for_probes(self) -> None:
        rows = self._client.query(_REVISIONS, parameters={"keys": list(self._outstanding)}).result_rows
        now = time.time()
        for key, revision in rows:
            for batch in list(self._outstanding[key]):
                # No topic of a fresh stack was ever recreated, so a revision is an offset.
                if batch.probe is not None and int(revision) > batch.base_offset + batch.probe[1]:
                    self.watched.probes.append(now - batch.handed_at_seconds)
                    self._outstanding[key].remove(batch)
            if not self._outstanding[key]:
                del self._outstanding[key]


def latencies(batches: Sequence[SentBatch], watched: Watched, from_seconds: float) -> list[tuple[float, float]]:
    """Return seconds from hand-over to queryable with the number of events, of batches handed over since ``from_seconds``.

    Raises ``LookupError`` for a batch that never became queryable.
    """
    found = []
    for batch in batches:
        if batch.handed_at_seconds >= from_seconds:
            at = watched.queryable_at(batch.place, batch.next_offset)
            if at is None:
                raise LookupError(f"records up to offset {batch.next_offset} of {batch.place} never became queryable")
            found.append((at - batch.handed_at_seconds, float(batch.count)))
    return found


def measure(rig: MeasuringRig, options: argparse.Namespace, display: Display) -> Outcome:
    """Drain a backlog, then send at each rate; return what was found."""
    records = inputs.lessons_at_once(options.lessons, options.students, options.seed)
    display.step(f"Filling {options.lessons} lessons with {options.events} events")
    consumed = rig.publish(islice(records, options.events)).produced
    worker = rig.worker_on(rig.store)
    worker.start()
    rig.wait_until_consumed(rig.store, consumed, [worker])
    page = worker.telemetry()
    seconds = page.total("classpulse_checkpoint_timestamp_seconds") - page.total("classpulse_started_timestamp_seconds")
    maximum = consumed / seconds
    display.step(f"Drained at {maximum:,.0f} events/s")
    found: list[dict[str, Any]] = []
    for rate in options.rate or [STEADY_RATE, maximum / 2]:
        count = int(rate * (options.warm_up + options.seconds))
        prepared = list(islice(records, count))
        if len(prepared) < count:
            found_too_few = f"A day of {options.lessons} lessons has too few events for {rate:,.0f}/s"
            raise MustStop(found_too_few, "Give more --lessons")
        consumed += count
        found.append(_at_rate(rig, worker, prepared, rate, consumed, options, display))
    return _outcome(found, maximum, options)


def _at_rate(
    rig: MeasuringRig,
    worker: WorkerProcess,
    records: Sequence[Produced],
    rate: float,
    consumed: int,
    options: argparse.Namespace,
    display: Display,
) -> dict[str, Any]:
    sent = Paced()
    bar = display.bar(f"{rate:,.0f} events/s", len(records))
    # Nothing here makes cycles; a walk over millions of prepared records would stop the producer's clock.
    gc.freeze()
    gc.disable()
    try:
        with Poller(rig.store, sent, options.poll_ms / 1000) as poller:
            cpu_before, page_before, began = rig.cpu_seconds(), worker.telemetry(), time.time()
            asyncio.run(send_at_rate(rig.info.kafka_bootstrap, records, rate, sent, bar.update))
            rig.wait_until_consumed(rig.store, consumed, [worker])
            time.sleep(3 * options.poll_ms / 1000)
            cpu_after, page_after, ended = rig.cpu_seconds(), worker.telemetry(), time.time()
    finally:
        gc.enable()
        gc.unfreeze()
    from_seconds = sent.began_at_seconds + options.warm_up
    found = latencies(sent.batches, poller.watched, from_seconds)
    return {
        "rate_per_second": round(rate, 1),
        "sent_per_second": round(sent.per_second, 1),
        "pace_kept": abs(sent.per_second / rate - 1) <= PACE_TOLERANCE,
        "producer_late_ms": round(1000 * sent.late_seconds, 1),
        "events": int(sum(weight for _, weight in found)),
        "seconds": round(sent.ended_at_seconds - from_seconds, 1),
        **quantiles.summary_ms(found),
        "kept_up": not _piles_up(found),
        "poll_resolution": quantiles.summary_ms(poller.watched.resolution_seconds()),
        "probes": _probes(poller.watched),
        "worker_histogram": _histogram(page_before, page_after),
        "stage_ms": _stages(page_before, page_after),
        "cpu_cores": {name: round((after - cpu_before[name]) / (ended - began), 3) for name, after in cpu_after.items()},
    }


def _piles_up(found: Sequence[tuple[float, float]]) -> bool:
    third = max(1, len(found) // 3)
    early, late = (quantiles.of_weighted(part, 0.5) for part in (found[:third], found[-third:]))
    return late > PILING_UP * max(early, 0.1)


def _probes(watched: Watched) -> dict[str, float]:
    seen = [(seconds, 1.0) for seconds in watched.probes]
    return {"count": len(seen), **(quantiles.summary_ms(seen) if seen else {})}


def _histogram(before: Page, after: Page) -> dict[str, float | None]:
    """Return what the worker itself observed meanwhile: of each write, the age of its oldest record."""
    earlier = before.buckets(_HISTOGRAM)
    buckets = {bound: count - earlier.get(bound, 0.0) for bound, count in after.buckets(_HISTOGRAM).items()}
    writes = after.total(f"{_HISTOGRAM}_count") - before.total(f"{_HISTOGRAM}_count")
    total = after.total(f"{_HISTOGRAM}_sum") - before.total(f"{_HISTOGRAM}_sum")
    mean_ms = round(1000 * total / writes, 1) if writes else None
    told: dict[str, float | None] = {"partition_writes": writes, "mean_ms": mean_ms}
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        seconds = quantiles.histogram_quantile(buckets, share)
        told[f"{name}_ms"] = None if seconds is None else round(1000 * seconds, 1)
    return told


def _stages(before: Page, after: Page) -> dict[str, float]:
    """Return the mean duration of each stage of the pipeline meanwhile, in ms."""
    sums, counts = ("classpulse_stage_seconds_sum", "classpulse_stage_seconds_count")
    told = {}
    for stage in after.by_label(sums, "stage"):
        times = after.total(counts, stage=stage) - before.total(counts, stage=stage)
        seconds = after.total(sums, stage=stage) - before.total(sums, stage=stage)
        told[stage] = round(1000 * seconds / times, 1) if times else 0.0
    return told


def _outcome(found: Sequence[dict[str, Any]], maximum: float, options: argparse.Namespace) -> Outcome:
    goals = []
    for one in found:
        rate = one["rate_per_second"]
        bound = STEADY_GOAL_SECONDS if rate <= STEADY_RATE else HALF_GOAL_SECONDS
        measured = one["p99_ms"] / 1000 if one["pace_kept"] else float("nan")
        goals.append(Goal(f"p99 at {rate:,.0f} events/s ({rate / maximum:.2f} of the maximum)", bound, measured, "s"))
    rows = [
        [
            f"{one['rate_per_second']:,.0f}",
            f"{one['sent_per_second']:,.0f}",
            f"{one['events']:,}",
            *(f"{one[f'{name}_ms']:,.0f}" for name in quantiles.SHARES),
            f"{one['poll_resolution']['p95_ms']:.0f}",
            f"{one['probes'].get('p99_ms', float('nan')):,.0f}",
            f"{one['worker_histogram']['p99_ms'] or float('nan'):,.0f}",
            "yes" if one["kept_up"] else "no",
        ]
        for one in found
    ]
    columns = (
        "events/s",
        "kept",
        "events",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "poll p95 ms",
        "probes p99 ms",
        "worker's p99 ms",
        "keeps up",
    )
    figures = {"lessons": options.lessons, "maximum_events_per_second": round(maximum, 1), "rates": list(found)}
    return Outcome("latency", columns, rows, figures, goals)


def options(parser: argparse.ArgumentParser) -> None:
    """Add what this scenario may be told."""
    parser.add_argument("--rate", type=float, action="append", help="events a second; repeatable")
    parser.add_argument("--seconds", type=float, default=60.0, help="at each rate, after the warm-up")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds at each rate that do not count")
    parser.add_argument("--events", type=int, default=300_000, help="of the backlog that is drained first")
    parser.add_argument("--lessons", type=int, default=810, help="open at once")
    parser.add_argument("--students", type=int, default=45, help="in each lesson")
    parser.add_argument("--poll-ms", type=float, default=25.0, help="ClickHouse is asked so often")
