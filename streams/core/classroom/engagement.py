"""The engagement index, metric 15, blended from the rows of four others.

Formulas: ``schemas/metrics/classroom/engagement.py``.
"""

import polars as pl

from schemas.metrics.metric import WINDOW_LESSON
from schemas.metrics.rules import ENGAGEMENT_PARTS, MetricRules
from streams.core.rows import metric_rows, value


def rows(found: list[pl.DataFrame], rules: MetricRules) -> list[pl.DataFrame]:
    """Return the rows of the metric, given the rows ``found`` of the others; a part nobody found is unknown."""
    lesson = [
        frame
        for frame in found
        if not frame.is_empty() and frame["metric"][0] in ENGAGEMENT_PARTS and frame["window"][0] == WINDOW_LESSON.name
    ]
    values = {frame["metric"][0]: frame.select("key", value().alias(frame["metric"][0])) for frame in lesson}
    parted = next(frame for frame in lesson if frame["metric"][0] == "participation_breadth").select(
        "key", "window_start_us", "window_end_us", "sample_size"
    )
    for name in ENGAGEMENT_PARTS:
        if name in values:
            parted = parted.join(values[name], on="key", how="left")
        else:
            parted = parted.with_columns(pl.lit(None, pl.Float64).alias(name))
    parted = parted.with_columns(
        participation_gini=1 - pl.col("participation_gini"),
        interactions_per_student_minute=(pl.col("interactions_per_student_minute") / rules.engagement_full_rate).clip(
            upper_bound=1.0
        ),
    )
    weighted = list(zip(ENGAGEMENT_PARTS, rules.engagement_weights, strict=True))
    figures = parted.with_columns(
        numerator=pl.sum_horizontal(pl.col(name) * weight for name, weight in weighted),
        denominator=pl.sum_horizontal(pl.col(name).is_not_null() * pl.lit(weight) for name, weight in weighted),
        parts=pl.concat_arr(
            *ENGAGEMENT_PARTS, *(pl.lit(weight, pl.Float64) for weight in rules.engagement_weights)
        ).arr.to_list(),
    )
    return [metric_rows("engagement_index", WINDOW_LESSON.name, figures)]
