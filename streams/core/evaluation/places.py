"""Where each entity of the portraits belongs: its school and its peers, week by week, out of the registry's events."""

from datetime import date
from typing import Final

import polars as pl

__all__ = ["PLACES_SCHEMA", "REGISTRATIONS_SCHEMA", "SINCE_EVER", "place_of_day", "places"]

#: The Monday from which the first registration holds: before it the registry says nothing else.
SINCE_EVER: Final = date(1970, 1, 5)
REGISTRATIONS_SCHEMA: Final = pl.Schema(
    [
        ("type", pl.String()),
        ("key", pl.String()),
        ("number", pl.UInt64()),
        ("week", pl.Date()),
        ("school_id", pl.String()),
        ("peer_group", pl.String()),
        ("students", pl.List(pl.String())),
    ]
)
PLACES_SCHEMA: Final = pl.Schema(
    [
        ("kind", pl.String()),
        ("entity_id", pl.String()),
        ("from_week", pl.Date()),
        ("school_id", pl.String()),
        ("peer_group", pl.String()),
    ]
)
_KINDS: Final = {
    "registry.teacher.registered": "teacher",
    "registry.class.registered": "class",
    "registry.school.registered": "school",
}
_ROSTER: Final = "registry.roster.registered"
_RETIRED: Final = "registry.entry.retired"


def places(registrations: pl.DataFrame) -> pl.DataFrame:
    """Return from which ISO week on which place holds: rows of ``PLACES_SCHEMA``, only where it changes.

    ``registrations`` has ``REGISTRATIONS_SCHEMA``: ``number`` orders them by time, source and id; ``week`` is the Monday of
    the local day of the event. The latest of a week holds for the whole week; the first one of an entity holds since ever.
    One that is retired has no school and no peers until it is registered again; nor have the students of such a class.
    A student belongs to the class whose roster names them, by the latest of the rosters that do, and stays there when none
    does any more.
    """
    told = _with_retirements(registrations)
    last_of_week = told.sort("number").unique(["type", "key", "week"], keep="last", maintain_order=True)
    own = last_of_week.filter(pl.col("type").is_in(list(_KINDS))).with_columns(
        from_week=pl.when(pl.int_range(pl.len()).over("type", "key") == 0).then(pl.lit(SINCE_EVER)).otherwise("week")
    )
    rosters = last_of_week.filter(pl.col("type") == _ROSTER)
    kind = pl.col("type").replace_strict(_KINDS, return_dtype=pl.String)
    entities = own.select("from_week", "school_id", "peer_group", kind=kind, entity_id="key")
    students = _students(entities.filter(pl.col("kind") == "class"), rosters)
    found = pl.concat([entities.select(PLACES_SCHEMA.names()), students]).sort("kind", "entity_id", "from_week")
    before = ["kind", "entity_id"]
    changed = pl.any_horizontal(
        (pl.col(name) != pl.col(name).shift(1).over(before)).fill_null(value=True) for name in ("school_id", "peer_group")
    )
    return found.filter(changed)


def _with_retirements(registrations: pl.DataFrame) -> pl.DataFrame:
    """Tell of each retirement as of a registration without a school and peers, of every kind that the entry was."""
    told = registrations.filter(pl.col("type") != _RETIRED)
    known = told.filter(pl.col("type").is_in(list(_KINDS))).group_by("type", "key").agg(first=pl.col("number").min())
    retired = registrations.filter(pl.col("type") == _RETIRED).drop("type")
    ended = known.join(retired, on="key").filter(pl.col("number") > pl.col("first"))
    return pl.concat([told, ended.with_columns(school_id=pl.lit(""), peer_group=pl.lit("")).select(told.columns)])


def place_of_day(entities: pl.DataFrame, known: pl.DataFrame, day: date) -> pl.DataFrame:
    """Add ``school_id, peer_group`` to ``entities`` (with ``entity_id``): those of the ISO week of ``day``, or empty.

    ``known`` has the places of one kind, as :func:`places` gives them.
    """
    held = (
        known.filter(pl.col("from_week") <= pl.lit(day))
        .sort("from_week")
        .unique("entity_id", keep="last", maintain_order=True)
        .select("entity_id", "school_id", "peer_group")
    )
    return entities.join(held, on="entity_id", how="left").with_columns(pl.col("school_id", "peer_group").fill_null(""))


def _students(classes: pl.DataFrame, rosters: pl.DataFrame) -> pl.DataFrame:
    weeks = pl.concat([classes["from_week"], rosters["week"]]).unique().sort()
    snapshots = [_students_in(classes, rosters, week) for week in weeks]
    if not snapshots:
        return pl.DataFrame(schema=PLACES_SCHEMA)
    found = pl.concat(snapshots).sort("entity_id", "from_week")
    first = pl.int_range(pl.len()).over("entity_id") == 0
    return found.with_columns(from_week=pl.when(first).then(pl.lit(SINCE_EVER)).otherwise("from_week"))


def _students_in(classes: pl.DataFrame, rosters: pl.DataFrame, week: date) -> pl.DataFrame:
    """Return the places of the students whom a roster names in ``week``."""
    named = (
        rosters.filter(pl.col("week") <= pl.lit(week))
        .unique("key", keep="last", maintain_order=True)
        .select("number", "students", class_id="key")
        .explode("students", empty_as_null=False)
        .drop_nulls("students")
        .sort("number")
        .unique("students", keep="last", maintain_order=True)
        .rename({"students": "entity_id"})
    )
    of_class = place_of_day(named.select("class_id").unique().rename({"class_id": "entity_id"}), classes, week)
    return named.join(of_class.rename({"entity_id": "class_id"}), on="class_id").select(
        pl.lit("student").alias("kind"), "entity_id", pl.lit(week).alias("from_week"), "school_id", "peer_group"
    )
