"""Features for a model of the evaluation, as they were known at an instant, and the card that says what they are.

A table has one row for each entity and ISO week, or for each label. Of each metric it has three columns: the value, under
the name of the metric (with its item after two underscores), and ``…__sample`` and ``…__coverage`` as ``v1_features`` has
them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl
from clickhouse_connect.driver.client import Client

from schemas.metrics.catalogue import METRICS
from schemas.metrics.metric import Metric
from schemas.metrics.persons import PERSON_METRICS, PersonMetric
from sinks.evaluation.features import features

__all__ = ["MOST_INSTANTS", "Table", "card", "labelled", "last_complete_week", "of_weeks"]

#: Labels may be known at so many different instants: each is a query of its own.
MOST_INSTANTS: Final = 1_000
SAMPLE, COVERAGE = "sample", "coverage"
_EVERY: Final[list[Metric | PersonMetric]] = [*METRICS, *PERSON_METRICS]
_DECLARED: Final = {one.name: one for one in _EVERY}
_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` with the columns ``entity_id, week, known_at`` (UTC), those of labels, and the features.

    ``columns`` names the features: (column, metric, item). ``versions`` are those of the catalogue, 0 for mixed rows.
    """

    rows: pl.DataFrame
    columns: list[tuple[str, str, str]]
    versions: list[int]


def last_complete_week(known_at: datetime, time_zone: str) -> date:
    """Return the Monday of the last ISO week that was over at ``known_at`` by the clocks of ``time_zone``."""
    local = known_at.astimezone(ZoneInfo(time_zone)).date()
    return local - timedelta(days=local.weekday()) - _WEEK


def of_weeks(client: Client, level: str, first: date, last: date, known_at: datetime, school: str = "") -> Table:
    """Return the features of the ISO weeks from the Monday ``first`` to the Monday ``last``, known at one instant.

    Raises what :func:`sinks.evaluation.features.features` does.
    """
    weeks = [first + _WEEK * number for number in range((last - first) // _WEEK + 1)]
    return _table(features(client, level, weeks, known_at, school).with_columns(known_at=_stamp(known_at)))


def labelled(client: Client, level: str, labels: pl.DataFrame, time_zone: str, school: str = "") -> Table:
    """Return each label with the features of the last ISO week that was over when it was known, as known then.

    ``labels`` has ``entity_id``, ``known_at`` (with a zone) and columns of its own, which stay as they are. So no value
    that arrived or was corrected after the label can be among its features. A label without features keeps its row, all
    NULL.

    Raises ``ValueError`` for labels at more than ``MOST_INSTANTS`` instants, and what
    :func:`sinks.evaluation.features.features` does.
    """
    instants = labels["known_at"].unique().sort().to_list()
    if len(instants) > MOST_INSTANTS:
        raise ValueError(f"labels are known at {len(instants)} instants; give at most {MOST_INSTANTS}, such as one a week")
    found = []
    for known_at in instants:
        at = known_at.astimezone(UTC)
        entities = labels.filter(pl.col("known_at") == known_at)["entity_id"].unique()
        known = features(client, level, [last_complete_week(at, time_zone)], at, school)
        found.append(known.filter(pl.col("entity_id").is_in(entities.implode())).with_columns(known_at=_stamp(at)))
    table = _table(pl.concat(found))
    stamped = labels.with_columns(pl.col("known_at").dt.convert_time_zone("UTC").dt.cast_time_unit("ms"))
    rows = stamped.join(table.rows, on=["entity_id", "known_at"], how="left", maintain_order="left")
    return Table(rows, table.columns, table.versions)


def card(table: Table, data: bytes, about: dict[str, Any]) -> dict[str, Any]:
    """Return the data card of the file with the bytes ``data``: what every column means, and what is in it.

    ``about`` says what was asked for.
    """
    return {
        "title": "classpulse features",
        "about": about,
        "rows": table.rows.height,
        "entities": table.rows["entity_id"].n_unique(),
        "weeks": sorted({week.isoformat() for week in table.rows["week"].drop_nulls()}),
        "catalogue_versions": table.versions,
        "sha256": hashlib.sha256(data).hexdigest(),
        "columns": [_described(table.rows, *column) for column in table.columns],
        "use": [
            "Every value is as it was known at known_at: nothing that arrived or was corrected later is in it.",
            "Split by known_at, never at random: train on earlier weeks, score later ones.",
            "A value is NULL where nothing was measured; it is not 0. Few samples and low coverage make a value uncertain.",
            "Metrics with the direction context are neither good nor bad by themselves.",
            "Rows of persons are personal data. Nobody is to be ranked by a model.",
            "No decision about a person may rest on a model alone.",
        ],
    }


def _stamp(known_at: datetime) -> pl.Expr:
    return pl.lit(known_at.astimezone(UTC)).cast(pl.Datetime("ms", "UTC"))


def _table(found: pl.DataFrame) -> Table:
    named = found.with_columns(
        column=pl.when(pl.col("item") == "").then("metric").otherwise(pl.format("{}__{}", "metric", "item"))
    )
    columns = sorted(named.select("column", "metric", "item").unique().rows())
    keys = ["entity_id", "week", "known_at"]
    every: Iterable[tuple[str, str]] = (("value", ""), ("sample_size", f"__{SAMPLE}"), (COVERAGE, f"__{COVERAGE}"))
    rows = named.select(keys).unique().sort("known_at", "week", "entity_id")
    for values, ending in every:
        wide = named.select(*keys, values, column=pl.col("column") + ending).pivot("column", index=keys, values=values)
        rows = rows.join(wide, on=keys, how="left", maintain_order="left")
    ordered = [name + ending for name, _, _ in columns for _, ending in every]
    return Table(rows.select(*keys, *ordered), columns, sorted(found["catalogue_version"].unique().to_list()))


def _described(rows: pl.DataFrame, column: str, metric: str, item: str) -> dict[str, Any]:
    declared = _DECLARED[metric]
    values: Sequence[float] = rows[column].drop_nulls().to_list()
    return {
        "column": column,
        "metric": metric,
        "item": item,
        "chinese": declared.chinese,
        "english": declared.english,
        "unit": declared.unit,
        "direction": declared.direction,
        "lowest": 0.0,
        "highest": declared.highest,
        "source": declared.source,
        "missing": rows.height - len(values),
        "smallest": min(values, default=None),
        "largest": max(values, default=None),
        "mean_coverage": rows[f"{column}__{COVERAGE}"].mean(),
    }
