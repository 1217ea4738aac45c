"""Every metric by the plainest loops that follow its definition: slow, obvious, no SQL, no columns.

``tests/oracle/rows.py`` says what an event is. The loops of a group of metrics stand at the group's ``Metric.path``.
"""

from collections import defaultdict
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from schemas.metrics.rules import MetricRules
from tests.oracle.classroom.family import lesson_rows
from tests.oracle.prep.family import prep_rows
from tests.oracle.research.family import activity_rows
from tests.oracle.rows import Event, Metrics, RowKey, Rows

__all__ = ["Event", "Metrics", "RowKey", "Rows", "expected_rows"]


def expected_rows(events: Iterable[Event], rules: MetricRules | str) -> Rows:
    """Return every row that ``events`` (any order, any families, repeats allowed) must lead to.

    Of events with the same key, source and id the first one given counts. ``rules`` may be the name of a time zone.
    """
    told = MetricRules(rules) if isinstance(rules, str) else rules
    unique: dict[tuple[str, str, str], Event] = {}
    for event in events:
        unique.setdefault((event["key"], event["source"], event["id"]), event)
    by_key: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in unique.values():
        by_key[(event["type"].split(".")[0], event["key"])].append(event)
    rows: Rows = {}
    for (family, key), own in by_key.items():
        if family == "classroom":
            rows |= lesson_rows(key, own, told)
        elif family == "prep":
            rows |= prep_rows(key, own, ZoneInfo(told.time_zone))
        elif family == "research":
            rows |= activity_rows(key, own)
    return rows
