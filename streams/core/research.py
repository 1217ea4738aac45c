"""Research figures (教研) out of the facts of the activities concerned. Formulas: ``schemas/figures.py``."""

import polars as pl

from schemas.figures import EFFECTIVE_PERCENT
from streams.core.presence import intervals, overlap_us
from streams.core.rows import metric_rows

#: The columns of a stored event that the figures need, besides those every event has.
FACT_COLUMNS = ("teacher_id", "invited", "scheduled_start_us", "scheduled_end_us")

_PUBLISHED = "research.activity.published"
_JOINED, _LEFT = "research.participant.joined", "research.participant.left"


def rows(facts: pl.DataFrame) -> pl.DataFrame:
    """Return the metric rows of the activities in ``facts``, which holds every stored event of each."""
    kind = pl.col("type")
    activities = (
        facts.filter(kind == _PUBLISHED)
        .sort("time_us", "source", "id")
        .unique("key", keep="first", maintain_order=True)
        .select("key", "invited", window_start_us="scheduled_start_us", window_end_us="scheduled_end_us")
    )
    invited = activities.select("key", person="invited").explode("person").drop_nulls("person").unique()
    marks = facts.filter(kind.is_in([_JOINED, _LEFT])).select(
        "key", "time_us", person="teacher_id", joined=kind == _JOINED
    )
    attended = invited.join(marks.filter("joined").select("key", "person").unique(), on=["key", "person"], how="semi")
    length_us = pl.col("window_end_us") - pl.col("window_start_us")
    effective = (
        invited.join(intervals(marks), on=["key", "person"])
        .join(activities, on="key")
        .group_by("key", "person")
        .agg(
            present_us=overlap_us(pl.col("window_start_us"), pl.col("window_end_us")).sum(),
            length_us=length_us.first(),
        )
        .filter((pl.col("length_us") > 0) & (pl.col("present_us") * 100 >= pl.col("length_us") * EFFECTIVE_PERCENT))
    )
    return pl.concat(
        [
            metric_rows("participation_rate", "activity", _of_invited(activities, invited, attended)),
            metric_rows("effective_participation_rate", "activity", _of_invited(activities, invited, effective)),
        ]
    )


def _of_invited(activities: pl.DataFrame, invited: pl.DataFrame, some: pl.DataFrame) -> pl.DataFrame:
    """Add to ``activities`` how many of the invited there are, and how many of them are in ``some``."""
    return (
        activities.join(some.group_by("key").agg(numerator=pl.len()), on="key", how="left")
        .join(invited.group_by("key").agg(denominator=pl.len()), on="key", how="left")
        .with_columns(pl.col("numerator", "denominator").fill_null(0))
        .with_columns(sample_size="denominator")
    )
