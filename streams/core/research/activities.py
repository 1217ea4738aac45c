"""Research activities as their events tell them: who was invited, who came, from when until when.

The rules are those at the top of ``schemas/metrics/research/__init__.py``.
"""

from dataclasses import dataclass

import polars as pl

from schemas.metrics.research.activities import EFFECTIVE_PERCENT
from streams.core.presence import intervals, overlap_us

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
    #: ``key, person, attended_us, effective`` (a boolean) of all who were present within the scheduled time.
    attended: pl.DataFrame

    def of_type(self, name: str) -> pl.DataFrame:
        """Return the events of one type."""
        return self.cached.filter(pl.col("type") == name)


def read(cached: pl.DataFrame) -> Activities:
    """Read the activities out of ``cached``, which holds every stored event of each."""
    events = cached.rename({"teacher_id": "person"})
    kind = pl.col("type")
    plans = (
        events.filter(kind == PUBLISHED)
        .sort("time_us", "source", "id")
        .unique("key", keep="first", maintain_order=True)
        .select("key", "invited", "scheduled_start_us", "scheduled_end_us")
    )
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
    return Activities(events, bounds, plans.select("key"), _persons(plans), _attended(intervals(marks), plans))


def invited_ever(activities: Activities) -> pl.DataFrame:
    """Return ``key, person``: whom any ``activity.published`` invites."""
    return _persons(activities.of_type(PUBLISHED))


def _persons(published: pl.DataFrame) -> pl.DataFrame:
    return published.select("key", person="invited").explode("person").drop_nulls("person").unique()


def _attended(stays: pl.DataFrame, plans: pl.DataFrame) -> pl.DataFrame:
    start_us, end_us = pl.col("scheduled_start_us"), pl.col("scheduled_end_us")
    length_us = end_us - start_us
    # Whole numbers, so that exactly 80 % is 80 %.
    enough = (length_us > 0) & (pl.col("attended_us") * 100 >= length_us * EFFECTIVE_PERCENT)
    return (
        stays.join(plans, on="key")
        .group_by(PERSON)
        .agg(start_us.first(), end_us.first(), attended_us=overlap_us(start_us, end_us).sum())
        .select(*PERSON, "attended_us", effective=enough)
    )
