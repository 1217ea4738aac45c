"""The numbers that docs/capacity.md is computed from: what a lesson sends, what a worker does, what an event takes on disk.

    classpulse measure capacity

Lessons are counted in the simulator's own records, of small and of full classes. Then a backlog of the district's busiest
hour is drained by one worker, several times, each into an empty database, and medians are kept. Sizes on disk are those
after all merges. Run ``python -m docs.generate`` afterwards: it writes the tables of the page.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from deploy.local.commands.demo_display import Display
from deploy.local.simulator import Produced
from tests.lab.measure import inputs
from tests.lab.measure.drain import Cost, cost_between, drain
from tests.lab.measure.outcome import Outcome
from tests.lab.measure.rig import MeasuringRig, Store
from tests.lab.measure.sizing import Measured
from tests.lab.rig import usage

__all__ = ["Slot", "counted", "measure", "options", "per_lesson_and_student"]

_SMALL: Final = 12
_FULL: Final = 45
_LESSONS_COUNTED: Final = 60
_LESSON_SECONDS: Final = 2400
_WINDOW_MS: Final = 10_000
#: Of Kafka's own for a record in a batch: lengths, deltas, header counts.
_RECORD_OVERHEAD_BYTES: Final = 20


@dataclass(frozen=True, slots=True)
class Slot:
    """Lessons that began together, from begin to end: events of a lesson, record bytes, busiest 10 s over the mean."""

    events_per_lesson: float
    record_bytes: float
    busiest_over_mean: float


def counted(records: Iterable[Produced], lessons: int) -> Slot:
    """Count the records of the first lesson slot of a day: those whose key ends in ``-1``."""
    windows: Counter[int] = Counter()
    size = 0
    for record in records:
        if record.key is None or not record.key.endswith(b"-1"):
            break  # the second slot has begun
        windows[record.timestamp_ms // _WINDOW_MS] += 1
        headers = sum(len(name) + len(value) for name, value in record.headers)
        size += len(record.key) + len(record.value or b"") + headers + _RECORD_OVERHEAD_BYTES
    total = windows.total()
    mean = total / (_LESSON_SECONDS * 1000 / _WINDOW_MS)
    return Slot(total / lessons, size / total, max(windows.values()) / mean)


def per_lesson_and_student(small: float, full: float) -> tuple[float, float]:
    """Return events of a lesson whoever takes part, and for each student, from lessons of 12 and of 45 students."""
    of_a_student = (full - small) / (_FULL - _SMALL)
    return full - _FULL * of_a_student, of_a_student


def measure(rig: MeasuringRig, options: argparse.Namespace, display: Display) -> Outcome:
    """Count, drain, weigh; return the numbers."""
    display.step("Counting what lessons send")
    small, full = (
        counted(inputs.lessons_at_once(_LESSONS_COUNTED, students, options.seed), _LESSONS_COUNTED)
        for students in (_SMALL, _FULL)
    )
    base, of_a_student = per_lesson_and_student(small.events_per_lesson, full.events_per_lesson)
    display.step(f"Filling the topics with {options.events} events of {options.lessons} lessons")
    records = inputs.lessons_at_once(options.lessons, options.students, options.seed)
    count = rig.publish(islice(records, options.events)).produced
    costs: list[Cost] = []
    peaks: list[int] = []
    sizes: dict[str, dict[str, int]] = {}
    inserted = 0
    bar = display.bar("Drains", options.repeat)
    for turn in range(options.repeat):
        store = rig.new_store(f"classpulse_{turn}")
        cost, peak, rows = _drained(rig, store, count)
        costs.append(cost)
        peaks.append(peak)
        if turn == options.repeat - 1:
            inserted = rows
            sizes = _merged(store)
        rig.drop(store)
        bar.update(turn + 1)
    events, figures = sizes["events_classroom"], sizes["metric_rows"]
    measured = Measured(
        events_per_lesson=round(base, 1),
        events_per_student=round(of_a_student, 2),
        busiest_over_mean=round(max(small.busiest_over_mean, full.busiest_over_mean), 2),
        record_bytes=round(small.record_bytes),
        worker_events_per_second=round(statistics.median(cost.events_per_second for cost in costs)),
        worker_cpu_us_per_event=round(statistics.median(cost.cpu_us("worker") for cost in costs), 2),
        worker_peak_bytes=max(peaks),
        clickhouse_cpu_us_per_event=round(statistics.median(cost.cpu_us("clickhouse") for cost in costs), 2),
        broker_cpu_us_per_event=round(statistics.median(cost.cpu_us("broker") for cost in costs), 2),
        rows_inserted_per_event=round(inserted / count, 2),
        figures_per_event=round(figures["rows"] / events["rows"], 3),
        stored_bytes_per_event=round(events["bytes"] / events["rows"], 1),
        stored_bytes_per_figure=round(figures["bytes"] / figures["rows"], 1),
    )
    return _outcome(measured, costs)


def _drained(rig: MeasuringRig, store: Store, count: int) -> tuple[Cost, int, int]:
    """Drain into an empty database; return the cost, the worker's peak of memory, and the rows that were inserted."""
    worker = rig.worker_on(store, CLASSPULSE_GROUP=f"measure-{len(rig.workers)}")
    try:
        worker.start()
        samples = drain(rig, store, [worker], count)
        peak = usage.memory(worker.pid).peak_bytes
        figures = int(worker.telemetry().total("classpulse_metric_rows_total"))
    finally:
        worker.stop()
    return cost_between(samples[0], samples[-1]), peak, count + figures


def _merged(store: Store) -> dict[str, dict[str, int]]:
    for table in ("events_classroom", "metric_rows"):
        store.admin.command(f"OPTIMIZE TABLE {table} FINAL")
    return store.sizes()


def _outcome(measured: Measured, costs: Sequence[Cost]) -> Outcome:
    figures: dict[str, Any] = {"measured": asdict(measured), "drains": [cost.to_json() for cost in costs]}
    rows = [[name.replace("_", " "), f"{number:,g}"] for name, number in asdict(measured).items()]
    return Outcome("capacity", ("what", "measured"), rows, figures, [])


def options(parser: argparse.ArgumentParser) -> None:
    """Add what this scenario may be told."""
    parser.add_argument("--events", type=int, default=2_150_000, help="of the backlog; until the lessons end")
    parser.add_argument("--repeat", type=int, default=5, help="drains")
    parser.add_argument("--lessons", type=int, default=3_000, help="open at once")
    parser.add_argument("--students", type=int, default=12, help="in each lesson")
