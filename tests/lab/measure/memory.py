"""How much memory a worker needs for a whole district: 100,000 devices, 3,000 lessons at once, 36,000 students.

    classpulse measure memory

A backlog of that shape is drained at full speed, which is when a worker holds most. The peak is the kernel's own count of
resident memory (VmHWM) over the worker's life, imports included. That the shape is what was asked for is counted in
ClickHouse afterwards.
"""

import argparse
import time
from itertools import islice
from typing import Final

from deploy.local.commands.demo_display import Display
from tests.lab.measure import inputs
from tests.lab.measure.outcome import Goal, Outcome
from tests.lab.measure.rig import MeasuringRig
from tests.lab.rig import usage
from tests.lab.rig.usage import Memory

__all__ = ["measure", "options"]

GOAL_BYTES: Final = 2**30
_MIB: Final = 2**20
SAMPLE_SECONDS: Final = 0.2
#: What was stored, to show that the shape is right.
SHAPE: Final = (
    "SELECT uniqExact(source), uniqExact(key), uniqExactIf(student_id, student_id != ''), count() FROM events_classroom"
)


def measure(rig: MeasuringRig, options: argparse.Namespace, display: Display) -> Outcome:
    """Drain the backlog, watch the worker's memory; return what was found."""
    display.step(f"Filling the topics with {options.events} events of {options.lessons} lessons")
    records = inputs.on_more_devices(inputs.lessons_at_once(options.lessons, options.students, options.seed))
    count = rig.publish(islice(records, options.events)).produced
    worker = rig.worker_on(rig.store)
    bar = display.bar("Worker stores", count)
    began = time.time()
    worker.start()
    history: list[tuple[float, Memory]] = []
    while (consumed := rig.store.consumed()) < count:
        worker.check()
        bar.update(consumed)
        history.append((round(time.time() - began, 1), usage.memory(worker.pid)))
        time.sleep(SAMPLE_SECONDS)
    last = usage.memory(worker.pid)
    page = worker.telemetry()
    seconds = page.total("classpulse_checkpoint_timestamp_seconds") - page.total("classpulse_started_timestamp_seconds")
    sources, lessons, students, stored = (int(number) for number in rig.store.reader.query(SHAPE).result_rows[0])
    others = {
        name: usage.memory(pid).peak_bytes
        for name, pid in (("clickhouse", rig.info.clickhouse_pid), ("broker", rig.info.kafka_pid))
    }
    figures = {
        "shape": {"devices": sources, "lessons": lessons, "students": students, "events": stored},
        "worker_peak_bytes": last.peak_bytes,
        "worker_at_the_end_bytes": last.resident_bytes,
        "worker_before_the_first_write_bytes": history[0][1].resident_bytes if history else None,
        "cached_rows": page.total("classpulse_cached_rows"),
        "events_per_second": round(count / max(seconds, 1e-3)),
        "other_peaks_bytes": others,
        "resident_over_time": [{"seconds": at, "bytes": memory.resident_bytes} for at, memory in history[:: options.thin]],
    }
    rows = [
        ["worker, peak", f"{last.peak_bytes / _MIB:,.0f}"],
        ["worker, at the end", f"{last.resident_bytes / _MIB:,.0f}"],
        *([f"{name}, peak", f"{peak / _MIB:,.0f}"] for name, peak in others.items()),
        ["devices", f"{sources:,}"],
        ["lessons at once", f"{lessons:,}"],
        ["students", f"{students:,}"],
        ["cached events", f"{figures['cached_rows']:,.0f}"],
    ]
    goal = Goal(
        f"memory of a worker with {sources:,} devices, {lessons:,} lessons, {students:,} students",
        GOAL_BYTES / _MIB,
        last.peak_bytes / _MIB,
        "MiB",
    )
    return Outcome("memory", ("what", "MiB or number"), rows, figures, [goal])


def options(parser: argparse.ArgumentParser) -> None:
    """Add what this scenario may be told."""
    parser.add_argument("--events", type=int, default=1_500_000, help="of the backlog")
    parser.add_argument("--lessons", type=int, default=3_000, help="open at once")
    parser.add_argument("--students", type=int, default=12, help="in each lesson")
    parser.add_argument("--thin", type=int, default=5, help="keep every so many-th sample of memory in the JSON")
