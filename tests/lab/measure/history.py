"""Does an event cost more once a long history is stored: the same backlog, drained into an empty and into a full database.

    classpulse measure history

The history is one simulated school day, stored by a worker and then copied within ClickHouse to as many days before, events
and metrics alike, each copy with its own lessons and times. Then backlogs of new days are drained by a worker with an empty
database and by one with the full database, alternating, and CPU time is compared. What ClickHouse still merges afterwards
counts too.
"""

import argparse
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from deploy.local.commands.demo_display import Display
from schemas.errors import MustStop
from tests.lab.measure import inputs
from tests.lab.measure.drain import Cost, cost_between, drain
from tests.lab.measure.outcome import Goal, Outcome
from tests.lab.measure.rig import MeasuringRig, Store

__all__ = ["copied", "copy_days", "measure", "options", "room_for"]

GOAL: Final = 1.2
#: What is copied; their sizes in the base day tell how much room the history takes.
TABLES: Final = ("events_classroom", "metric_rows")
#: Copies are merged into larger parts, for which ClickHouse keeps the old ones a while.
MERGE_ROOM: Final = 1.8
#: Rows of one INSERT, about.
INSERT_ROWS: Final = 2_000_000
QUIET_SECONDS: Final = 1.0
#: Columns that name the lesson, and with it the day.
_NAMING: Final = ("key", "subject", "lessonid")


@dataclass(frozen=True, slots=True)
class Run:
    """One drain: its cost until the last checkpoint, and with the merges that were left."""

    drained: Cost
    settled: Cost

    @property
    def cpu_us(self) -> float:
        """CPU of worker and ClickHouse for each event, merges included."""
        return self.drained.cpu_us("worker") + self.settled.cpu_us("clickhouse")


def room_for(copies: int, base_bytes: int, free_bytes: int) -> int:
    """Return the bytes that ``copies`` of the base need; raises :class:`MustStop` if the disk has not so much."""
    needed = int(copies * base_bytes * MERGE_ROOM)
    if needed > free_bytes:
        raise MustStop(
            f"{copies} copies need {needed / 2**30:.1f} GiB on disk, and {free_bytes / 2**30:.1f} GiB are free",
            "Name a folder on a larger disk with --folder, or give a smaller --stored",
        )
    return needed


def copied(columns: Sequence[tuple[str, str]], day: date, base: str, days_before: range) -> str:
    """Return a SELECT of ``columns`` (name, type) from table ``base``, once for each of ``days_before``, so much earlier.

    The day stands in the names of lessons as well as in times; the Unix epoch means "no time" and stays.
    """
    written = f"{day:%Y%m%d}"
    chosen = []
    for name, kind in columns:
        if name in _NAMING:
            chosen.append(f"replaceOne({name}, '{written}', formatDateTime(toDate('{day}') - k, '%Y%m%d')) AS {name}")
        elif name == "id":
            # Ids that repeat would be compressed away, and the history would take less room than a real one.
            chosen.append("toString(reinterpretAsUUID(MD5(concat(id, toString(k))))) AS id")
        elif "DateTime64" in kind:
            is_none = f"toUnixTimestamp64Micro(toDateTime64({name}, 6)) = 0"
            chosen.append(f"if({is_none}, {name}, {name} - toIntervalDay(k)) AS {name}")
        else:
            chosen.append(name)
    days = f"(SELECT number AS k FROM numbers({days_before.start}, {len(days_before)})) AS days"
    return f"SELECT {', '.join(chosen)} FROM {days} CROSS JOIN {base}"


def measure(rig: MeasuringRig, options: argparse.Namespace, display: Display) -> Outcome:
    """Make the history, then drain into both databases; return what was found."""
    today = datetime.now(UTC).date()
    new_days = [today - timedelta(days=1 + turn) for turn in range(options.repeat)]
    base_day = today - timedelta(days=1 + options.repeat)
    _store(rig, rig.store, base_day, options, display)
    stored = _make_history(rig, base_day, options, display)
    runs: dict[str, list[Run]] = {"empty": [], "full": []}
    bar = display.bar("Drains", 2 * options.repeat)
    for turn, day in enumerate(new_days):
        empty = rig.new_store(f"classpulse_empty_{turn}")
        # Both go on from the same place in the topics.
        rig.store.admin.command(f"INSERT INTO {empty.name}.checkpoints SELECT * FROM {rig.store.name}.checkpoints FINAL")
        before = rig.store.consumed()
        records = inputs.lessons_at_once(options.lessons, options.students, options.seed, day)
        count = before + rig.publish(islice(records, options.events)).produced
        order = [("empty", empty), ("full", rig.store)]
        for name, store in order if turn % 2 else reversed(order):
            runs[name].append(_run(rig, store, count, options))
            bar.update(sum(len(of) for of in runs.values()))
        rig.drop(empty)
    return _outcome(runs, stored)


def _store(rig: MeasuringRig, store: Store, day: date, options: argparse.Namespace, display: Display) -> None:
    display.step(f"Storing a day of {options.base} events")
    records = inputs.lessons_at_once(options.lessons, options.students, options.seed, day)
    count = rig.publish(islice(records, options.base)).produced
    worker = rig.worker_on(store)
    worker.start()
    rig.wait_until_consumed(store, count, [worker])
    worker.stop()
    for table in TABLES:
        store.admin.command(f"OPTIMIZE TABLE {table} FINAL")


def _make_history(rig: MeasuringRig, base_day: date, options: argparse.Namespace, display: Display) -> dict[str, Any]:
    sizes = rig.store.sizes()
    base = {table: sizes[table] for table in TABLES}
    copies = max(1, round(options.stored / base["events_classroom"]["rows"]) - 1)
    needed = room_for(copies, sum(one["bytes"] for one in base.values()), shutil.disk_usage(rig.folder).free)
    display.step(f"Copying that day to {copies} days before; {needed / 2**30:.1f} GiB are enough, and free")
    began = time.monotonic()
    for table in TABLES:
        bar = display.bar(f"Copies of {table}", copies)
        copy_days(rig.store.admin, table, base_day, copies, bar.update)
    copied_seconds = time.monotonic() - began
    display.step("Waiting until ClickHouse has merged")
    quiet = _settle(rig, options.settle)
    after = rig.store.sizes()
    return {
        "copies": copies,
        "made_in_seconds": round(copied_seconds),
        "merged_before_measuring": quiet,
        "tables": {table: after[table] for table in TABLES},
        "bytes_per_row_of_a_day": {table: round(one["bytes"] / max(1, one["rows"]), 1) for table, one in sizes.items()},
        "bytes_per_row": {table: round(one["bytes"] / max(1, one["rows"]), 1) for table, one in after.items()},
        "metric_rows_per_event": round(base["metric_rows"]["rows"] / base["events_classroom"]["rows"], 2),
    }


def copy_days(client: Client, table: str, day: date, copies: int, on_progress: Callable[[int], None]) -> None:
    """Copy the rows of ``table``, all of them of ``day``, to so many days before it; ``client`` may do everything."""
    columns = [
        (str(name), str(kind))
        for name, kind in client.query(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = %(table)s"
            " ORDER BY position",
            parameters={"table": table},
        ).result_rows
    ]
    client.command(f"CREATE TABLE base_day ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM {table} FINAL")
    rows = int(client.query("SELECT count() FROM base_day").result_rows[0][0])
    insert = f"INSERT INTO {table} ({', '.join(name for name, _ in columns)})"
    at_once = max(1, INSERT_ROWS // max(1, rows))
    for first in range(1, copies + 1, at_once):
        days = range(first, min(first + at_once, copies + 1))
        client.command(f"{insert} {copied(columns, day, 'base_day', days)}")
        on_progress(days.stop - 1)
    client.command("DROP TABLE base_day SYNC")


def _settle(rig: MeasuringRig, seconds: float) -> bool:
    """Wait until nothing is merged any more, for so long at most; return whether that came."""
    deadline = time.monotonic() + seconds
    quiet_since = time.monotonic()
    while time.monotonic() < deadline:
        if rig.store.number("SELECT count() FROM system.merges"):
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since >= QUIET_SECONDS:
            return True
        time.sleep(QUIET_SECONDS / 5)
    return False


def _run(rig: MeasuringRig, store: Store, count: int, options: argparse.Namespace) -> Run:
    worker = rig.worker_on(store, CLASSPULSE_GROUP=f"measure-{len(rig.workers)}")
    try:
        worker.start()
        samples = drain(rig, store, [worker], count)
        drained = cost_between(samples[0], samples[-1])
        cpu_before = rig.cpu_seconds()
        _settle(rig, options.settle)
        left = rig.cpu_seconds()["clickhouse"] - cpu_before["clickhouse"]
    finally:
        worker.stop()
    spent = dict(drained.cpu_seconds)
    spent["clickhouse"] += left
    return Run(drained, Cost(drained.events, drained.seconds, spent))


def _outcome(runs: dict[str, list[Run]], stored: dict[str, Any]) -> Outcome:
    medians = {
        name: {
            "seconds": statistics.median(run.drained.seconds for run in of),
            "worker": statistics.median(run.drained.cpu_us("worker") for run in of),
            "clickhouse": statistics.median(run.drained.cpu_us("clickhouse") for run in of),
            "clickhouse_with_merges": statistics.median(run.settled.cpu_us("clickhouse") for run in of),
            "all": statistics.median(run.cpu_us for run in of),
        }
        for name, of in runs.items()
    }
    ratios = {key: round(medians["full"][key] / medians["empty"][key], 3) for key in medians["full"]}
    rows = [[name, *(f"{of[key]:,.1f}" for key in of)] for name, of in medians.items()]
    rows.append(["full / empty", *(f"{ratio:.2f}" for ratio in ratios.values())])
    figures = {
        "stored": stored,
        "medians": medians,
        "ratios": ratios,
        "runs": {name: [run.drained.to_json() for run in of] for name, of in runs.items()},
    }
    events = stored["tables"]["events_classroom"]["rows"]
    goal = Goal(f"CPU per event with {events:,} events stored, over empty", GOAL, ratios["all"], "×")
    columns = (
        "database",
        "drained in s",
        "worker µs/event",
        "ClickHouse µs/event",
        "with merges µs/event",
        "worker + ClickHouse µs/event",
    )
    return Outcome("history", columns, rows, figures, [goal])


def options(parser: argparse.ArgumentParser) -> None:
    """Add what this scenario may be told."""
    parser.add_argument("--stored", type=int, default=100_000_000, help="events of the history")
    parser.add_argument("--base", type=int, default=400_000, help="events of the day that is copied")
    parser.add_argument("--events", type=int, default=300_000, help="of each backlog")
    parser.add_argument("--repeat", type=int, default=5, help="drains into each database")
    parser.add_argument("--settle", type=float, default=300.0, help="seconds that merges get to end")
    parser.add_argument("--lessons", type=int, default=810, help="open at once")
    parser.add_argument("--students", type=int, default=45, help="in each lesson")
