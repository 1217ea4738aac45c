"""How long the evaluator takes for a day of the whole district, after a term and after a part of one.

    classpulse measure cycle

Fills a database with made-up closed metrics and portraits of a term, then with the metrics of one more school day as the
workers store them (54 schools, 810 classes, eight lessons a class), and runs a cycle step by step. It does so twice, with
a third of the term and with all of it: what a day costs must not grow with what is stored.
"""

import argparse
import time
from datetime import UTC, date, datetime, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from deploy.local.commands.demo_display import Display
from schemas.evaluation.portraits import PORTRAIT_VERSION
from schemas.metrics.catalogue import CATALOGUE_VERSION, METRICS
from schemas.metrics.classroom.course import PLATFORMS, STRATEGIES
from schemas.metrics.classroom.students import STUDENT_PARTS
from schemas.metrics.classroom.talk import ST_MODES
from schemas.metrics.metric import WINDOW_LESSON
from schemas.metrics.rules import MetricRules
from streams.evaluation.evaluator import steps
from tests.lab.measure import term
from tests.lab.measure.outcome import Outcome
from tests.lab.measure.rig import MeasuringRig

__all__ = ["measure", "options"]

CLASSES: Final = term.SCHOOLS * term.CLASSES_PER_SCHOOL
LESSONS_A_DAY: Final = 8
STUDENTS: Final = term.STUDENTS_PER_CLASS
#: A Tuesday after the longest term that is filled.
DAY: Final = date(2026, 9, 22)
_NOW: Final = datetime(2026, 9, 23, 2, tzinfo=UTC)
_ITEMS: Final = {"strategy_share": STRATEGIES, "tool_share": ("", *PLATFORMS), "st_mode": ST_MODES}
_LESSON: Final = f"""(SELECT number % {CLASSES} AS class_number, intDiv(number, {CLASSES}) AS slot,
    1 + intDiv(class_number, {term.CLASSES_PER_SCHOOL}) AS school,
    concat('s', leftPad(toString(school), 2, '0')) AS school_id,
    concat(school_id, '-c', toString(1 + class_number % {term.CLASSES_PER_SCHOOL})) AS class_id,
    concat('t-', leftPad(toString(1 + class_number), 4, '0')) AS teacher_id,
    concat('day-', class_id, '-', toString(slot)) AS lesson,
    arrayMap(i -> concat('stu-', leftPad(toString(class_number * {STUDENTS} + i), 6, '0')), range({STUDENTS})) AS roster,
    toDateTime64('{DAY} 00:00:00', 6, 'UTC') + slot * 3600 AS start
    FROM numbers({CLASSES * LESSONS_A_DAY}))"""


def measure(rig: MeasuringRig, options: argparse.Namespace, display: Display) -> Outcome:
    """Run a day's cycle after a third of the term, and after all of it."""
    client = rig.store.reader
    figures: dict[str, dict[str, float]] = {}
    for lessons in (options.lessons // 3, options.lessons):
        display.step(f"fill {lessons:,} lessons and a day, and run a cycle")
        _empty(client)
        _fill(client, lessons)
        figures[f"after {lessons:,} lessons"] = _cycle(client)
    names = list(next(iter(figures.values())))
    rows = [[name, *(f"{value:,.0f}" for value in of.values())] for name, of in figures.items()]
    return Outcome("cycle", ("a day's cycle", *names), rows, figures, [])


def options(parser: argparse.ArgumentParser) -> None:
    """Add what this scenario may be told."""
    parser.add_argument("--lessons", type=int, default=85_000, help="of the term; the first cycle is after a third of them")


def _cycle(client: Client) -> dict[str, float]:
    found: dict[str, float] = {}
    began = time.perf_counter()
    for step in steps():
        since = time.perf_counter()
        rows = step.run(client, MetricRules(), _NOW)
        found |= {f"{step.name} s": time.perf_counter() - since, f"{step.name} rows": rows}
    return {"cycle s": time.perf_counter() - began, **found}


def _empty(client: Client) -> None:
    tables = client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
        " AND name NOT IN ('schema_migrations', 'contract_views')"
    ).result_rows
    for (table,) in tables:
        client.command(f"TRUNCATE TABLE {table}")


def _fill(client: Client, lessons: int) -> None:
    term.fill(client, term.Term(lessons))
    _fill_registry(client)
    _fill_state(client)
    _fill_day(client)


def _fill_registry(client: Client) -> None:
    """Register classes, rosters and teachers, and where the evaluator knows them to be."""
    when = "toDateTime64('2026-02-01 00:00:00', 6, 'UTC')"
    for kind, key, columns, values in (
        ("class", "class_id", "school_id, grade", "school_id, 5"),
        ("roster", "class_id", "students", "roster"),
        ("teacher", "teacher_id", "school_id, course, career_stage", "school_id, '数学', 'expert'"),
    ):
        client.command(
            f"INSERT INTO events_registry (key, time, source, id, type, stored_at, {columns})"
            f" SELECT {key}, {when}, '/district/registry', concat('{kind}', {key}), 'registry.{kind}.registered', {when},"
            f" {values} FROM {_LESSON} WHERE slot = 0"
        )
    places = (
        ("class", "class_id", "'grade 5'"),
        ("teacher", "teacher_id", "'expert/数学'"),
        ("student", "arrayJoin(roster)", "'grade 5'"),
        ("school", "school_id", "'primary'"),
    )
    for kind, entity, peers in places:
        client.command(
            "INSERT INTO portrait_places (kind, entity_id, from_week, school_id, peer_group, live, recorded_at)"
            f" SELECT DISTINCT '{kind}', {entity}, toDate32('1970-01-05'), school_id, {peers}, 1,"
            f" toDateTime64('2026-02-02 00:00:00', 3, 'UTC') FROM {_LESSON} WHERE slot = 0"
        )


def _fill_state(client: Client) -> None:
    """Say that everything until now was handled by the cycle before."""
    before = _NOW - timedelta(hours=2)
    client.insert(
        "portrait_runs",
        [[before, before, before, DAY - timedelta(days=1), PORTRAIT_VERSION, 0]],
        column_names=["recorded_at", "panes_until", "registry_until", "last_day_over", "portrait_version", "rows_written"],
    )
    client.insert("score_runs", [[before, [], 0]], column_names=["as_of", "weeks", "rows_written"])
    client.command(
        "INSERT INTO checkpoints (topic, partition, next_offset, watermark)"
        f" VALUES ('classpulse.classroom', 0, 0, '{_NOW:%Y-%m-%d %H:%M:%S}')"
    )
    client.command(
        "INSERT INTO pane_keys (topic, key, partition, handled_at, next_close) SELECT DISTINCT 'classpulse.registry',"
        f" teacher_id, 0, now64(3), toDateTime64('2200-01-01 00:00:00', 6, 'UTC') FROM {_LESSON}"
    )


def _fill_day(client: Client) -> None:
    """Store the day's lessons as workers do: their starts and ends, and their metrics."""
    started = "teacher_id, course, grade, roster, scheduled_start, scheduled_end"
    for kind, columns, values, after_seconds in (
        ("started", started, "teacher_id, '数学', 5, roster, start, start + 2400", 0),
        ("ended", "reason", "'scheduled'", 2400),
    ):
        client.command(
            f"INSERT INTO events_classroom (key, time, source, id, type, schoolid, classid, {columns})"
            f" SELECT lesson, start + {after_seconds}, '/terminal', '{kind}', 'classroom.lesson.{kind}', school_id,"
            f" class_id, {values} FROM {_LESSON}"
        )
    parts = f"arrayMap(j -> toFloat64(1 + cityHash64(n, item, j) % 20), range({len(STUDENT_PARTS)}))"
    _fill_metric(client, "student", "student_lesson", "roster", parts)
    for metric in METRICS:
        if WINDOW_LESSON in metric.windows:
            array = term.PARTS.get(metric.merge, "[]")
            items = str(list(_ITEMS.get(metric.name, ("",))))
            _fill_metric(
                client, "lesson", metric.name, items, f"arraySlice({array}, 1, 8)" if metric.merge == "blend" else array
            )


def _fill_metric(client: Client, window: str, metric: str, items: str, parts: str) -> None:
    client.command(
        "INSERT INTO metric_rows (metric, window, key, item, slot, window_start, window_end, value, numerator, denominator,"
        " sample_size, parts, catalogue_version, topic, partition, revision)"
        f" SELECT '{metric}', '{window}', lesson, arrayJoin({items}) AS item, toDateTime64(0, 6, 'UTC'), start,"
        f" start + 2400, numerator / 40, toFloat64(cityHash64(n, item) % 40) AS numerator, 40, 40, {parts},"
        f" {CATALOGUE_VERSION}, 'classpulse.classroom', 0, 1 FROM (SELECT *, cityHash64(lesson) AS n FROM {_LESSON})"
    )
