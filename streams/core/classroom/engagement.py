"""The engagement index, metric 15, blended from the rows of four others.

Formulas: ``schemas/metrics/classroom/engagement.py``.
"""

import polars as pl

from schemas.metrics.metric import WINDOW_LESSON
from schemas.metrics.rules import ENGAGEMENT_PARTS, MetricRules
from streams.core.rows import metric_rows


def rows(others: pl.DataFrame, rules: MetricRules) -> pl.DataFrame:
    """Return the rows of the metric, given the rows of the ``others``; a part without a row is unknown (NULL)."""
    metric, breadth = pl.col("metric"), "participation_breadth"
    so_far = others.filter(pl.col("window") == WINDOW_LESSON.name, metric.is_in(ENGAGEMENT_PARTS))
    parts = so_far.group_by("key").agg(
        # The bounds of a lesson so far are the same for all of its metrics.
        pl.col("window_start_us", "window_end_us").first(),
        pl.col("sample_size").filter(metric == breadth).first(),
        **{name: pl.col("value").filter(metric == name).first() for name in ENGAGEMENT_PARTS},
    )
    rate = pl.col("interactions_per_student_minute") / rules.engagement_full_rate
    blended = parts.with_columns(
        participation_gini=1 - pl.col("participation_gini"), interactions_per_student_minute=rate.clip(upper_bound=1.0)
    )
    weights = [pl.lit(weight, pl.Float64) for weight in rules.engagement_weights]
    weighted = list(zip(ENGAGEMENT_PARTS, weights, strict=True))
    return metric_rows(
        "engagement_index",
        WINDOW_LESSON.name,
        blended.with_columns(parts=pl.concat_arr(*ENGAGEMENT_PARTS, *weights).arr.to_list()),
        numerator=pl.sum_horizontal(pl.col(name) * weight for name, weight in weighted),
        denominator=pl.sum_horizontal(pl.col(name).is_not_null() * weight for name, weight in weighted),
    )
