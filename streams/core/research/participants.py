"""What each teacher did in a research activity: ``participant_activity``.

Formula: ``schemas/metrics/research/participants.py``.
"""

from typing import Final

import polars as pl

from schemas.metrics.metric import MINUTE_US, SECOND_US
from schemas.metrics.research.participants import PARTICIPANT_PARTS
from streams.core.research.activities import (
    CONTRIBUTED,
    FEEDBACK,
    IMPROVED,
    JOINED,
    LEFT,
    OBSERVED,
    PERSON,
    Activities,
    invited_ever,
)
from streams.core.rows import metric_rows

#: The types of events that are a teacher's own.
_OWN: Final = (JOINED, LEFT, CONTRIBUTED, OBSERVED, FEEDBACK, IMPROVED)


def rows(activities: Activities) -> pl.DataFrame:
    """Return one row for each teacher and activity.

    Whom a later ``activity.published`` invites has a row as well, all zeros, so that none goes stale when an earlier one
    arrives.
    """
    kind = pl.col("type")
    own = (
        activities.cached.filter(kind.is_in(_OWN))
        .group_by(PERSON)
        .agg(
            contributions=(kind == CONTRIBUTED).sum(),
            observations=(kind == OBSERVED).sum(),
            feedback_items=pl.col("feedback_id").filter(kind == FEEDBACK).n_unique(),
        )
    )
    items = activities.of_type(FEEDBACK).select("key", "feedback_id").unique()
    improved = activities.of_type(IMPROVED).join(items, on=["key", "feedback_id"])
    improvements = improved.group_by(PERSON).agg(improvements=pl.col("feedback_id").n_unique())
    every = pl.concat([invited_ever(activities), own.select(PERSON)]).unique()
    computed = (
        every.join(own, on=PERSON, how="left")
        .join(activities.invited.with_columns(invited=True), on=PERSON, how="left")
        .join(activities.attended.with_columns(joined=True), on=PERSON, how="left")
        .join(improvements, on=PERSON, how="left")
        .with_columns(
            effective=pl.col("effective") & pl.col("invited"), attended_seconds=pl.col("attended_us") / float(SECOND_US)
        )
        .with_columns(pl.col(*PARTICIPANT_PARTS).cast(pl.Float64).fill_null(0.0))
        .select(
            "key",
            item="person",
            numerator="contributions",
            denominator=pl.col("attended_us").fill_null(0) / float(MINUTE_US),
            sample_size=pl.col("attended_us").fill_null(0) // MINUTE_US,
            parts=pl.concat_list(PARTICIPANT_PARTS),
        )
    )
    return metric_rows("participant_activity", "participant", computed.join(activities.bounds, on="key"))
