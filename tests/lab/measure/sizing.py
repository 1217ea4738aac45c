"""The arithmetic of capacity: from what one worker does to what a district needs. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

__all__ = ["ASSUMPTIONS", "SCALES", "Assumptions", "Measured", "Need", "Scale", "needed"]

_SECONDS_PER_LESSON: Final = 2400


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured, as ``docs/capacity.json`` holds it under ``measured``.

    Events of a lesson: ``events_per_lesson`` whoever takes part, and ``events_per_student`` for each who does.
    ``busiest_over_mean``: the busiest 10 s of a lesson over its mean. ``record_bytes``: of a record in Kafka, without
    compression. ``stored_bytes_per_event`` and ``stored_bytes_per_figure`` are on ClickHouse's disk.
    """

    events_per_lesson: float
    events_per_student: float
    busiest_over_mean: float
    record_bytes: float
    worker_events_per_second: float
    worker_cpu_us_per_event: float
    worker_peak_bytes: float
    clickhouse_cpu_us_per_event: float
    broker_cpu_us_per_event: float
    rows_inserted_per_event: float
    figures_per_event: float
    stored_bytes_per_event: float
    stored_bytes_per_figure: float

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Measured":
        """Read the numbers; raises ``KeyError`` for one that is missing, ``ValueError`` for what is none."""
        return cls(**{field.name: float(found[field.name]) for field in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What was not measured, and is decided here."""

    #: Share of its measured rate that a worker is planned for: its latency is measured at half.
    worker_load: float = 0.5
    #: Share of a ClickHouse node's CPU that inserts and merges may take; queries and the evaluator have the rest.
    clickhouse_load: float = 0.25
    clickhouse_cores: int = 16
    clickhouse_disk_bytes: float = 8e12
    #: How full a disk is planned to be: merges need room.
    disk_load: float = 0.6
    #: A write makes a part in each table it touches; so many a second are merged in one table without falling behind.
    parts_per_second: float = 20.0
    flush_seconds: float = 0.5
    #: Events and their metrics, by sinks/sql/migrations.
    kept_years: float = 3.0
    school_days_per_year: int = 200
    lessons_per_day: int = 8
    #: Kafka's retention of 14 days holds so many school days.
    kafka_school_days: int = 10
    copies: int = 3


@dataclass(frozen=True, slots=True)
class Scale:
    """Something to size for, at its busiest: so many students in so many lessons at once."""

    name: str
    students: int
    lessons: int


@dataclass(frozen=True, slots=True)
class Need:
    """What a scale needs. ``cells``: independent installations; workers and partitions are those of all cells together."""

    events_per_second: float
    busiest_events_per_second: float
    workers: int
    partitions: int
    cells: int
    clickhouse_cores: float
    rows_per_second: float
    stored_bytes: float
    kafka_bytes: float
    kafka_bytes_per_second: float
    bottleneck: str


ASSUMPTIONS: Final = Assumptions()
#: The last two have the district's lessons for each student.
SCALES: Final = (
    Scale("one school", 675, 15),
    Scale("this district", 36_000, 3_000),
    Scale("a province", 10_000_000, 833_333),
    Scale("200 million students", 200_000_000, 16_666_667),
)
#: Fewer than declared in streams/kafka/topics.yaml are not worth a change.
_LEAST_PARTITIONS: Final = 6


def needed(scale: Scale, measured: Measured, assumed: Assumptions = ASSUMPTIONS) -> Need:
    """Return what ``scale`` needs, rounded up; raises ``ZeroDivisionError`` for a rate or a share of 0."""
    of_a_slot = scale.lessons * measured.events_per_lesson + scale.students * measured.events_per_student
    mean = of_a_slot / _SECONDS_PER_LESSON
    busiest = mean * measured.busiest_over_mean
    workers = max(1, math.ceil(busiest / (measured.worker_events_per_second * assumed.worker_load)))
    cores = busiest * measured.clickhouse_cpu_us_per_event / 1e6 / assumed.clickhouse_load
    stored = (
        of_a_slot
        * assumed.lessons_per_day
        * assumed.school_days_per_year
        * assumed.kept_years
        * (measured.stored_bytes_per_event + measured.figures_per_event * measured.stored_bytes_per_figure)
    )
    # Each bound says how many ClickHouse nodes there must be at least; a cell has one, with its copy beside it.
    bounds = {
        "ClickHouse's CPU": cores / assumed.clickhouse_cores,
        "ClickHouse's disk": stored / (assumed.clickhouse_disk_bytes * assumed.disk_load),
        "ClickHouse's parts": workers / assumed.flush_seconds / assumed.parts_per_second,
    }
    bottleneck = max(bounds, key=lambda name: bounds[name])
    cells = max(1, math.ceil(bounds[bottleneck]))
    partitions = max(_LEAST_PARTITIONS, math.ceil(2 * workers / cells)) * cells
    record_bytes = measured.record_bytes * assumed.copies
    return Need(
        events_per_second=mean,
        busiest_events_per_second=busiest,
        workers=max(workers, cells),
        partitions=partitions,
        cells=cells,
        clickhouse_cores=cores,
        rows_per_second=busiest * measured.rows_inserted_per_event,
        stored_bytes=stored,
        kafka_bytes=of_a_slot * assumed.lessons_per_day * assumed.kafka_school_days * record_bytes,
        kafka_bytes_per_second=busiest * record_bytes,
        bottleneck=bottleneck if bounds[bottleneck] > 1 else "nothing: one node is enough",
    )
