"""Research activities as their events tell them: who was invited, who came, from when until when.

The rules are those at the top of ``schemas/metrics/research/__init__.py``.
"""

from dataclasses import dataclass

import polars as pl

from schemas.metrics.research.activities import EFFECTIVE_PERCENT, LONGEST_ACTIVITY_US, MARGIN_US
from streams.core.presence import FOREVER_US, intervals, overlap_us

PUBLISHED = "research.activity.published"
JOINED, LEFT = "research.participant.joined", "research.participant.left"
CONTRIBUTED = "research.contribution.posted"
OBSERVED = "research.lesson.observed"
FEEDBACK = "research.feedback.given"
IMPROVED = "research.improvement.linked"
REPORTED = "research.report.generated"

#: The columns by which one participant of one activity is known.
PERSON = ["key", "person"]


@dataclass(frozen=True, slots=True)
class Activities:
    """What the events of some activities say, in the shapes the metrics need."""

    #: Every event; ``person`` is the teacher of an event that has one.
    cached: pl.DataFrame
    #: ``key, window_start_us, window_end_us`` of every activity.
    bounds: pl.DataFrame
    #: ``key`` of the activities that are published.
    published: pl.DataFrame
    #: ``key, person``: whom the earliest ``activity.published`` invites.
    invited: pl.DataFrame
    #: ``key`` of those that are published with a scheduled time that can be.
    scheduled: pl.DataFrame
    #: ``key, person, attended_us, effective`` (a boolean) of all who took part; 0 without a scheduled time.
    attended: pl.DataFrame

    def of_type(self, name: str) -> pl.DataFrame:
        """Return the events of one type."""
        return self.cached.filter(pl.col("type") == name)


def read(cached: pl.DataFrame) -> Activities:
    """Read the activities out of ``cached``, which holds every stored event of each."""
    events = cached.rename({"teacher_id": "person"})
    kind = pl.col("type")
    length_us = pl.col("scheduled_end_us") - pl.col("scheduled_start_us")
    plans = (
        events.filter(kind == PUBLISHED)
        .sort("time_us", "source", "id")
        .unique("key", keep="first", maintain_order=True)
        .select("key", "invited", "scheduled_start_us", "scheduled_end_us")
        .with_columns(
            pl.when(length_us.is_between(0, LONGEST_ACTIVITY_US, closed="right")).then(pl.col(name)).alias(name)
            for name in ("scheduled_start_us", "scheduled_end_us")
        )
    )
    scheduled = plans.filter(pl.col("scheduled_end_us").is_not_null())
    bounds = (
        events.group_by("key")
        .agg(first_us=pl.col("time_us").min(), last_us=pl.col("time_us").max())
        .join(plans, on="key", how="left")
        .select(
            "key",
            window_start_us=pl.coalesce("scheduled_start_us", "first_us"),
            window_end_us=pl.coalesce("scheduled_end_us", "last_us"),
        )
    )
    marks = events.filter(kind.is_in([JOINED, LEFT])).select(*PERSON, "time_us", joined=kind == JOINED)
    joined = marks.filter("joined").select(PERSON).unique().join(scheduled, on="key", how="anti")
    unscheduled = joined.with_columns(attended_us=pl.lit(0, pl.Int64), effective=pl.lit(value=False))
    attended = pl.concat([_attended(intervals(marks), scheduled), unscheduled])
    return Activities(events, bounds, plans.select("key"), _persons(plans), scheduled.select("key"), attended)


def invited_ever(activities: Activities) -> pl.DataFrame:
    """Return ``key, person``: whom any ``activity.published`` invites."""
    return _persons(activities.of_type(PUBLISHED))


def _persons(published: pl.DataFrame) -> pl.DataFrame:
    return published.select("key", person="invited").explode("person").drop_nulls("person").unique()


def _attended(stays: pl.DataFrame, plans: pl.DataFrame) -> pl.DataFrame:
    start_us, end_us = pl.col("scheduled_start_us"), pl.col("scheduled_end_us")
    # Whole numbers, so that exactly 80 % is 80 %.
    enough = pl.col("attended_us") * 100 >= (end_us - start_us) * EFFECTIVE_PERCENT
    never_left = pl.col("end_us") == FOREVER_US
    return (
        stays.join(plans, on="key")
        .with_columns(end_us=pl.when(never_left).then(end_us).otherwise("end_us"))
        .group_by(PERSON)
        .agg(start_us.first(), end_us.first(), attended_us=overlap_us(start_us - MARGIN_US, end_us + MARGIN_US).sum())
        .filter(pl.col("attended_us") > 0)
        .select(*PERSON, "attended_us", effective=enough)
    )
