"""Who takes part in a research activity: metrics 22 to 24. Formulas: ``schemas/metrics/research/meetings.py``."""

import polars as pl

from schemas.metrics.metric import MINUTE_US
from streams.core.research.activities import CONTRIBUTED, JOINED, PERSON, Activities
from streams.core.rows import metric_rows


def rows(activities: Activities) -> list[pl.DataFrame]:
    """Return the rows of the activities that are published."""
    published = activities.published.join(activities.bounds, on="key")
    came = activities.attended.select(PERSON)
    stayed = activities.attended.filter("effective").select(PERSON)
    contributions = activities.of_type(CONTRIBUTED).group_by(PERSON).agg(count=pl.len().cast(pl.Int64))
    computed = {
        "participation_rate": _of_invited(activities.invited, came),
        "effective_participation_rate": _of_invited(activities.invited.join(activities.scheduled, on="key"), stayed),
        "contributions_per_minute": _per_minute(contributions, activities.attended),
        "contribution_gini": _gini(came, contributions),
        "cross_school_mix": _school_mix(activities),
    }
    return [
        metric_rows(
            metric,
            "activity",
            published.join(found, on="key", how="left").with_columns(
                pl.col("numerator", "denominator", "sample_size").fill_null(0)
            ),
        )
        for metric, found in computed.items()
    ]


def _of_invited(invited: pl.DataFrame, some: pl.DataFrame) -> pl.DataFrame:
    """Return how many of the invited are in ``some``, and how many there are."""
    return (
        invited.join(some.with_columns(there=True), on=PERSON, how="left")
        .group_by("key")
        .agg(numerator=pl.col("there").sum(), denominator=pl.len())
        .with_columns(sample_size="denominator")
    )


def _per_minute(contributions: pl.DataFrame, attended: pl.DataFrame) -> pl.DataFrame:
    posted = contributions.group_by("key").agg(numerator=pl.col("count").sum())
    minutes = attended.group_by("key").agg(denominator=pl.col("attended_us").sum() / float(MINUTE_US))
    found = posted.join(minutes, on="key", how="full", coalesce=True)
    return found.with_columns(sample_size=pl.col("denominator").floor())


def _gini(came: pl.DataFrame, contributions: pl.DataFrame) -> pl.DataFrame:
    """Return Gini's sum over the participants, by rank: the one of rank r is above r - 1 others and below n - r."""
    count, rank, participants = pl.col("count"), pl.col("rank"), pl.col("participants")
    ranked = (
        came.join(contributions, on=PERSON, how="full", coalesce=True)
        .with_columns(count.fill_null(0))
        .sort("key", "count")
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("key"), participants=pl.len().cast(pl.Int64).over("key"))
    )
    found = ranked.group_by("key").agg(
        numerator=(2 * count * (2 * rank - participants - 1)).sum(),
        denominator=2 * pl.len().cast(pl.Int64) * count.sum(),
        sample_size=pl.len().cast(pl.Int64),
    )
    few = (pl.col("sample_size") > 1) & (pl.col("denominator") > 0)
    corrected = pl.col("numerator") / pl.col("denominator") * pl.col("sample_size") / (pl.col("sample_size") - 1)
    return found.with_columns(parts=pl.concat_list(pl.when(few).then(corrected)))


def _school_mix(activities: Activities) -> pl.DataFrame:
    schools = (
        activities.of_type(JOINED)
        .join(activities.attended, on=PERSON, how="semi")
        # A stored event that names no school has an empty text, a fresh one none at all.
        .filter(pl.col("schoolid").fill_null("") != "")
        .sort("time_us", "source", "id")
        .unique(PERSON, keep="first", maintain_order=True)
        .group_by("key", "schoolid")
        .agg(persons=pl.len())
    )
    share = pl.col("persons") / pl.col("persons").sum()
    return (
        schools.sort("key", "schoolid")
        .group_by("key")
        .agg(
            numerator=-(share * share.log()).sum(),
            denominator=pl.max_horizontal(pl.len(), 2).cast(pl.Float64).log(),
            sample_size=pl.col("persons").sum(),
        )
    )
