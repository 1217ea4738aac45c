"""``docs/capacity.md``: what was measured, and the arithmetic on it. Made from ``docs/capacity.json``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from docs.generate.markdown import table
from tests.lab.measure.sizing import ASSUMPTIONS, SCALES, Assumptions, Measured, Need, Scale, needed

__all__ = ["ASSUMED", "MEANINGS", "MEASURED_FILE", "blocks"]

MEASURED_FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "capacity.json"
MEANINGS: Final = {
    "events_per_lesson": "events of a lesson of 40 min, whoever takes part",
    "events_per_student": "events more for each student in it",
    "busiest_over_mean": "busiest 10 s of lessons that begin together, over their mean",
    "record_bytes": "bytes of a record in Kafka, not compressed, one copy",
    "worker_events_per_second": "events/s that one worker drains, with Kafka and ClickHouse on the same machine",
    "worker_cpu_us_per_event": "CPU µs of the worker for an event",
    "worker_peak_bytes": "most memory of the worker, in bytes",
    "clickhouse_cpu_us_per_event": "CPU µs of ClickHouse for an event and its metrics",
    "broker_cpu_us_per_event": "CPU µs of the broker for an event that is read",
    "rows_inserted_per_event": "rows inserted for an event: itself, and metrics with every revision",
    "figures_per_event": "metrics that remain for an event",
    "stored_bytes_per_event": "bytes of an event on ClickHouse's disk, merged",
    "stored_bytes_per_figure": "bytes of a metric on ClickHouse's disk, merged",
}
ASSUMED: Final = {
    "worker_load": "share of its measured rate a worker is planned for",
    "clickhouse_load": "share of a ClickHouse node's CPU for inserts and merges; the rest is for queries",
    "clickhouse_cores": "cores of a ClickHouse node",
    "clickhouse_disk_bytes": "bytes of a ClickHouse node's disk",
    "disk_load": "how full it is planned to be",
    "parts_per_second": "parts a second and table that a node merges without falling behind",
    "flush_seconds": "a write of a worker comes so often: `CLASSPULSE_FLUSH_INTERVAL_MS`",
    "kept_years": "years that events are kept ([retention.md](retention.md)); metrics are counted alike",
    "school_days_per_year": "school days a year",
    "lessons_per_day": "lessons a day, each as full as the busiest: too much on purpose",
    "kafka_school_days": "school days within Kafka's retention of 14 days",
    "copies": "copies of a record in Kafka",
}


def blocks() -> dict[str, str]:
    """Return the blocks of the page by name; raises ``OSError`` without the file, ``KeyError`` for a missing number."""
    found = json.loads(MEASURED_FILE.read_text(encoding="utf-8"))
    measured = Measured.from_json(found["figures"]["measured"])
    needs = [(scale, needed(scale, measured)) for scale in SCALES]
    return {
        "measured": _on(found) + "\n\n" + _listed(asdict(measured), MEANINGS, "measured"),
        "assumed": _listed(_plain(ASSUMPTIONS), ASSUMED, "assumed"),
        "rates": _rates(needs),
        "needs": _needs(needs),
    }


def _on(found: dict[str, Any]) -> str:
    machine, versions, options = found["machine"], found["versions"], found["options"]
    return (
        f"Measured {found['at'][:10]} on {machine['cores']} cores ({machine['cpu']}), Python {versions['python']}, "
        f"{versions['broker']}: medians of {options['repeat']} drains of {options['events']:,} events of "
        f"{options['lessons']:,} lessons. The load of the machine before was {machine['load_before']:g}."
    )


def _plain(assumed: Assumptions) -> dict[str, float]:
    return {name: float(number) for name, number in asdict(assumed).items()}


def _listed(numbers: dict[str, float], meanings: dict[str, str], heading: str) -> str:
    return table(["what", heading], [[meaning, _number(numbers[name])] for name, meaning in meanings.items()])


def _rates(needs: list[tuple[Scale, Need]]) -> str:
    rows = [
        [
            scale.name,
            f"{scale.students:,}",
            f"{scale.lessons:,}",
            _number(need.events_per_second),
            _number(need.busiest_events_per_second),
            _number(need.rows_per_second),
            _size(need.kafka_bytes_per_second) + "/s",
            _size(need.kafka_bytes),
            _size(need.stored_bytes),
        ]
        for scale, need in needs
    ]
    headings = [
        "",
        "students",
        "lessons at once",
        "events/s",
        "busiest events/s",
        "ClickHouse rows/s",
        "into Kafka, all copies",
        "kept in Kafka",
        "kept in ClickHouse, one copy",
    ]
    return table(headings, rows)


def _needs(needs: list[tuple[Scale, Need]]) -> str:
    rows = [
        [
            scale.name,
            f"{need.workers:,}",
            f"{need.partitions:,}",
            _number(need.clickhouse_cores),
            f"{need.cells:,}",
            need.bottleneck,
        ]
        for scale, need in needs
    ]
    headings = ["", "workers", "classroom partitions", "ClickHouse cores", "cells = ClickHouse nodes, one copy", "bound by"]
    return table(headings, rows)


def _number(number: float) -> str:
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} PB"
