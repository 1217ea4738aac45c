"""How quickly the queries that evaluation services run most answer over a whole term of the district.

    classpulse measure term

Fills a database of its own, in a folder that is removed afterwards, with made-up metrics in the shape and number that a
term of 100 million events leaves (a lesson has about 1,175 events), and prints the median time of each query as JSON.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Final

from clickhouse_connect.driver.client import Client

from deploy.local.commands.demo_display import Display
from schemas.evaluation.portraits import DIMENSIONS, KINDS
from schemas.metrics.catalogue import METRICS
from schemas.metrics.classroom.course import PLATFORMS, STRATEGIES
from schemas.metrics.classroom.students import STUDENT_PARTS
from schemas.metrics.metric import WINDOW_LESSON, Metric
from tests.lab.measure.outcome import Outcome
from tests.lab.measure.rig import MeasuringRig

__all__ = ["QUERIES", "Term", "fill", "measure", "options"]

SCHOOLS: Final = 54
GROUPS: Final = 17
CLASSES_PER_SCHOOL: Final = 15
STUDENTS_PER_CLASS: Final = 45
#: A Monday; the term's school days follow it, five a week.
FIRST_DAY: Final = "2026-03-02"
#: Rows of one INSERT.
_BATCH: Final = 500_000

QUERIES: Final = {
    "latest metrics of a class": "SELECT * FROM v1_class_latest(school = 's07', class = 's07-c3')",
    "a school's week": "SELECT * FROM v1_rollups(level = 'school', school = 's07', as_of = now64(3),"
    " day_from = '2026-04-06', day_to = '2026-04-12')",
    "all portraits of a school": "SELECT * FROM v1_portrait_on(school = 's07', as_of = now64(3), day = '2026-04-12')",
    "a group's bundle of a week": "SELECT * FROM v1_rollups(level = 'group', school = 's07', as_of = now64(3),"
    " day_from = '2026-04-06', day_to = '2026-04-12')",
    "a group's bundle of the term": "SELECT * FROM v1_rollups(level = 'group', school = 's07', as_of = now64(3),"
    " day_from = '2026-03-02', day_to = '2026-07-31')",
}

#: Of each kind of merge, what the array beside the metric looks like; n is the number of the lesson.
PARTS: Final = {
    "values": "arraySort(arrayMap(i -> 1. + (cityHash64(n, i) % 100) / 10, range(10)))",
    "sketch": "arrayFlatten(arrayMap(i -> [toFloat64(400 + i * 3), toFloat64(1 + cityHash64(n, i) % 9)], range(20)))",
    "blend": "[0.7, 0.8, 0.6, 0.4, 0.25, 0.25, 0.25, 0.25, 0.5]",
}


@dataclass(frozen=True, slots=True)
class Term:
    """A term of ``lessons`` lessons, spread evenly over the classes and, five a week, over the days."""

    lessons: int

    def rows(self, per_lesson: int, first: int, count: int) -> str:
        """Return a subquery of ``count`` rows from ``first``: lesson ``n``, ``i`` within it, and where and when it is."""
        classes = SCHOOLS * CLASSES_PER_SCHOOL
        return f"""(SELECT intDiv(number, {per_lesson}) AS n, number % {per_lesson} AS i, n % {classes} AS class_number,
            intDiv(n, {classes}) AS k, 1 + intDiv(class_number, {CLASSES_PER_SCHOOL}) AS school,
            concat('s', leftPad(toString(school), 2, '0')) AS school_id,
            concat(school_id, '-c', toString(1 + class_number % {CLASSES_PER_SCHOOL})) AS class_id,
            concat('t-', leftPad(toString(1 + class_number), 4, '0')) AS teacher_id,
            toDate('{FIRST_DAY}') + intDiv(k, 5) * 7 + k % 5 AS day, concat('lesson-', toString(n)) AS lesson
            FROM numbers({first}, {count}))"""


def fill(client: Client, term: Term) -> None:
    """Fill the registry, ``pane_versions`` and ``portraits``."""
    _fill_registry(client)
    for metric in METRICS:
        if WINDOW_LESSON in metric.windows:
            for item in {"strategy_share": STRATEGIES, "tool_share": ("", *PLATFORMS)}.get(metric.name, ("",)):
                _fill_metric(client, term, metric, item)
    _fill_students(client, term)
    _fill_portraits(client, term)
    for table in ("pane_versions", "portraits"):
        client.command(f"OPTIMIZE TABLE {table} FINAL")


def times_of(client: Client, repeat: int) -> dict[str, dict[str, int]]:
    """Return for each query in ms: the median and longest of ``repeat`` runs, and the median of planning alone."""
    found = {}
    for name, sql in QUERIES.items():
        rows = client.query(sql).row_count
        runs_ms = [_took_ms(client, sql) for _ in range(repeat)]
        planning_ms = [_took_ms(client, f"EXPLAIN {sql}") for _ in range(repeat)]
        found[name] = {
            "median_ms": round(statistics.median(runs_ms)),
            "longest_ms": round(max(runs_ms)),
            "planning_ms": round(statistics.median(planning_ms)),
            "rows": rows,
        }
    return found


def _took_ms(client: Client, sql: str) -> float:
    began = time.perf_counter()
    client.query(sql)
    return (time.perf_counter() - began) * 1000


def _fill_registry(client: Client) -> None:
    client.command(
        "INSERT INTO events_registry (key, time, source, id, type, group_id, stage)"
        " SELECT concat('s', leftPad(toString(number + 1), 2, '0')), now64(6), '/district/registry', toString(number),"
        f" 'registry.school.registered', concat('g', toString(1 + intDiv(number * {GROUPS}, {SCHOOLS}))), 'primary'"
        f" FROM numbers({SCHOOLS})"
    )


def _fill_metric(client: Client, term: Term, metric: Metric, item: str) -> None:
    parts = PARTS.get(metric.merge, "[]")
    _insert_panes(client, term, 1, metric.name, "'" + item + "'", "lesson", parts)


def _fill_students(client: Client, term: Term) -> None:
    parts = f"arrayMap(j -> toFloat64(1 + cityHash64(n, i, j) % 20), range({len(STUDENT_PARTS)}))"
    student = f"concat('stu-', leftPad(toString(class_number * {STUDENTS_PER_CLASS} + i), 6, '0'))"
    _insert_panes(client, term, STUDENTS_PER_CLASS, "student_lesson", student, "student", parts)


def _insert_panes(client: Client, term: Term, per_lesson: int, metric: str, item: str, window: str, parts: str) -> None:
    total = term.lessons * per_lesson
    for first in range(0, total, _BATCH):
        rows = term.rows(per_lesson, first, min(_BATCH, total - first))
        client.command(
            "INSERT INTO pane_versions (family, school_id, class_id, teacher_id, course, grade, day, window, key, metric,"
            " item, window_start, window_end, value, numerator, denominator, sample_size, parts, catalogue_version,"
            " live, recorded_at, row_id)"
            f" SELECT 'classroom', school_id, class_id, teacher_id, '数学', 5, day, '{window}', lesson, '{metric}', {item},"
            " toDateTime64(day, 6, 'UTC'), toDateTime64(day, 6, 'UTC') + 2400, numerator / 40, numerator, 40, 40,"
            f" {parts}, 3, true, toDateTime64(day + 1, 3, 'UTC'), cityHash64('{metric}', n, i, {item})"
            f" FROM (SELECT *, toFloat64(cityHash64(n, i, '{metric}') % 40) AS numerator FROM {rows})"
        )


def _fill_portraits(client: Client, term: Term) -> None:
    people = {
        "student": (
            STUDENTS_PER_CLASS,
            f"concat('stu-', leftPad(toString(class_number * {STUDENTS_PER_CLASS} + i), 6, '0'))",
        ),
        "teacher": (1, "teacher_id"),
        "class": (1, "class_id"),
    }
    for kind in KINDS:
        if kind not in people:
            continue
        per_lesson, entity = people[kind]
        total = term.lessons * per_lesson
        for dimension in DIMENSIONS[kind]:
            for first in range(0, total, _BATCH):
                rows = term.rows(per_lesson, first, min(_BATCH, total - first))
                client.command(
                    "INSERT INTO portraits (school_id, kind, entity_id, dimension, day, observed, level, active_days_7,"
                    " active_days_28, inactive, peer_group, live, portrait_version, recorded_at)"
                    f" SELECT school_id, '{kind}', {entity}, '{dimension.name}', day, x, x, 5, 20, 0, 'primary|5', 1, 1,"
                    f" toDateTime64(day + 1, 3, 'UTC') FROM (SELECT *, cityHash64(n, i) % 100 / 100 AS x FROM {rows})"
                )


def measure(rig: MeasuringRig, options: argparse.Namespace, _display: Display) -> Outcome:
    """Fill the database and time the queries."""
    client = rig.store.reader
    began = time.perf_counter()
    fill(client, Term(options.lessons))
    figures = {
        "lessons": options.lessons,
        "filled_seconds": round(time.perf_counter() - began),
        "rows": {table: size["rows"] for table, size in rig.store.sizes().items()},
        "queries": times_of(client, options.repeat),
    }
    rows = [[name, *(f"{value:,.0f}" for value in of.values())] for name, of in figures["queries"].items()]
    return Outcome("term", ("query", *next(iter(figures["queries"].values()))), rows, figures, [])


def options(parser: argparse.ArgumentParser) -> None:
    """Add what this scenario may be told."""
    parser.add_argument("--lessons", type=int, default=85_000)
    parser.add_argument("--repeat", type=int, default=5)
