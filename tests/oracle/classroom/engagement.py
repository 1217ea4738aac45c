"""Metric 15."""

from collections.abc import Mapping

from schemas.metrics.rules import MetricRules
from tests.oracle.classroom.lessons import Lesson
from tests.oracle.rows import Metrics, RowKey, Rows

__all__ = ["engagement_rows"]


def engagement_rows(lesson: Lesson, rows: Mapping[RowKey, Metrics], rules: MetricRules) -> Rows:
    """Metric 15, of the metrics of the lesson so far."""

    def value(metric: str) -> float | None:
        row = rows.get(RowKey(metric, "lesson", lesson.key, "", 0))
        return row.value if row else None

    gini, rate = value("participation_gini"), value("interactions_per_student_minute")
    parts = [
        value("response_rate"),
        value("participation_breadth"),
        None if gini is None else 1 - gini,
        None if rate is None else min(1.0, rate / rules.engagement_full_rate),
    ]
    known = [(part, weight) for part, weight in zip(parts, rules.engagement_weights, strict=True) if part is not None]
    sample_size = rows[RowKey("participation_breadth", "lesson", lesson.key, "", 0)].sample_size
    row = lesson.so_far(
        sum(part * weight for part, weight in known),
        sum(weight for _, weight in known),
        sample_size,
        [*parts, *rules.engagement_weights],
    )
    return {RowKey("engagement_index", "lesson", lesson.key, "", 0): row}
