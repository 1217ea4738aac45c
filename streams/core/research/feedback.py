"""What becomes of a research activity: metrics 25 to 27. Formulas: ``schemas/metrics/research/feedback.py``."""

import polars as pl

from schemas.metrics.metric import SECOND_US
from schemas.metrics.research.feedback import LONGEST_LATENCY_US, LONGEST_LESSON_US, LOOP_WITHIN_US
from streams.core.research.activities import FEEDBACK, IMPROVED, REPORTED, Activities
from streams.core.rows import metric_rows

_ITEM = ["key", "feedback_id"]


def rows(activities: Activities) -> list[pl.DataFrame]:
    """Return the rows of the activities: of feedback where there is any, of reports for all."""
    items = (
        activities.of_type(FEEDBACK)
        .sort("time_us", "source", "id")
        .unique(_ITEM, keep="first", maintain_order=True)
        .select(*_ITEM, "lesson_end_us", given_us="time_us")
    )
    of_feedback = {
        "feedback_latency_seconds": _latencies(items),
        "closed_loop_rate": _closed_loops(items, activities.of_type(IMPROVED)),
    }
    reports = _reports(activities, items)
    of_reports = {
        "reports_generated": reports.with_columns(denominator=1, numerator="reports", sample_size="reports"),
        "improvements_per_report": reports.with_columns(
            numerator="improvements", denominator="reports", sample_size="reports"
        ),
    }
    return [
        metric_rows(metric, "activity", activities.bounds.join(computed, on="key"))
        for metric, computed in (of_feedback | of_reports).items()
    ]


def _latencies(items: pl.DataFrame) -> pl.DataFrame:
    since_us = pl.col("given_us") - pl.col("lesson_end_us")
    latency = pl.when(since_us >= -LONGEST_LESSON_US).then(since_us.clip(0, LONGEST_LATENCY_US) / float(SECOND_US))
    known = latency.drop_nulls()
    return items.group_by("key").agg(
        numerator=known.median().fill_null(0.0), denominator=known.len() > 0, sample_size=known.len(), parts=known.sort()
    )


def _closed_loops(items: pl.DataFrame, improved: pl.DataFrame) -> pl.DataFrame:
    closed = (
        items.join(improved.select(*_ITEM, "time_us"), on=_ITEM)
        .filter(pl.col("time_us").is_between(pl.col("given_us"), pl.col("given_us") + LOOP_WITHIN_US))
        .select(_ITEM)
        .unique()
        .with_columns(closed=True)
    )
    return (
        items.join(closed, on=_ITEM, how="left")
        .group_by("key")
        .agg(numerator=pl.col("closed").sum(), denominator=pl.len())
        .with_columns(sample_size="denominator")
    )


def _reports(activities: Activities, items: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, reports, improvements`` of every activity: different reports, and feedback items that led to any."""
    improved = items.select(_ITEM).join(activities.of_type(IMPROVED), on=_ITEM, how="semi")
    return (
        activities.cached.group_by("key")
        .agg(reports=pl.col("report_id").filter(pl.col("type") == REPORTED).n_unique())
        .join(improved.group_by("key").agg(improvements=pl.len()), on="key", how="left")
        .with_columns(pl.col("improvements").fill_null(0))
    )
