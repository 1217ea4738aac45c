"""The evaluator's step for scores (metrics 31 to 33): weeks whose metrics changed are scored again.

Scores are made from the roll-ups of each level, so a group's come from the merged metrics of its members (捆绑式), never
from the schools' scores. Only nodes that say something else than before are added.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl
from clickhouse_connect.driver.client import Client

from schemas.evaluation.config import default_text
from schemas.evaluation.tree import KINDS, Evaluation, Kind
from schemas.metrics.rules import MetricRules
from sinks.evaluation.configs import Config, activate, config_of, configs
from sinks.evaluation.quality import DISTRICT, update_quality
from sinks.evaluation.scores import PLACE_COLUMNS, SCORE_COLUMNS, ScoreStore
from streams.core.evaluation.scores import MetricValue, NodeScore, scores

__all__ = ["local_week", "step"]

#: A registration may move an entity; so far back it counts for scores that are there already.
REGISTRY_REACH_DAYS: Final = 28
#: Sums come out in another order each time they are taken: a smaller difference says nothing.
_SAME: Final = 1e-9
_COMPARED: Final = ("value", "coverage", "weight", "figure")
_SCHEMA: Final = {
    "kind": pl.String,
    "school_id": pl.String,
    "entity_id": pl.String,
    "week": pl.Date,
    "node": pl.String,
    "value": pl.Float64,
    "coverage": pl.Float64,
    "weight": pl.Float64,
    "figure": pl.Float64,
    "sample_size": pl.UInt64,
    "config_version": pl.UInt32,
}


def step(client: Client, rules: MetricRules, now: datetime, config_text: str | None = None) -> int:
    """Bring scores and data quality up to date with the metrics known at ``now``; returns the rows written.

    ``config_text``: a configuration to activate from the week of ``now`` on, unless it is active already; without one the
    active one counts, and the packaged default where there is none. May be repeated: what has not changed is not written.
    Raises :class:`MustStop` for a configuration that is not sound, clickhouse-connect's ``ClickHouseError`` when the
    database cannot be reached or lacks a table.
    """
    store = ScoreStore(client)
    since = store.last_as_of()
    # Two versions of a row must not have one instant, nor the later one the earlier instant.
    as_of = now if since is None else max(now, since + timedelta(milliseconds=1))
    activations = configs(client, as_of)
    if config_text is not None or not activations:
        activate(client, config_text or default_text(), now=as_of, from_week=local_week(as_of, rules))
        activations = configs(client, as_of)
    weeks = _weeks(store, since, as_of, activations, rules)
    if not weeks:
        return 0
    rows_written = 0
    for week in weeks:
        config = config_of(activations, week)
        if config is not None:
            rows_written += _score_week(store, week, as_of, config)
        rows_written += update_quality(client, week, rules.time_zone, as_of)
    store.finish(as_of, weeks, rows_written)
    return rows_written


def local_week(instant: datetime, rules: MetricRules) -> date:
    """Return the Monday of the district's week that holds ``instant``."""
    day = instant.astimezone(ZoneInfo(rules.time_zone)).date()
    return day - timedelta(days=day.weekday())


def _weeks(
    store: ScoreStore, since: datetime | None, as_of: datetime, activations: Sequence[Config], rules: MetricRules
) -> list[date]:
    """Return the Mondays of the weeks to score: new metrics, another configuration, or another place of an entity."""
    weeks = set(store.touched_weeks(since))
    if since is not None:
        begun = [config.from_week for config in activations if config.activated_at > since]
        if store.registry_changed(since):
            begun.append(local_week(as_of - timedelta(days=REGISTRY_REACH_DAYS), rules))
        if begun:
            weeks.update(store.scored_weeks(min(begun)))
    return sorted(weeks)


def _score_week(store: ScoreStore, week: date, as_of: datetime, config: Config) -> int:
    evaluation = config.evaluation()
    return sum(_score_kind(store, evaluation, kind, week, as_of, config.version) for kind in KINDS)


def _score_kind(store: ScoreStore, evaluation: Evaluation, kind: Kind, week: date, as_of: datetime, version: int) -> int:
    nodes = evaluation.nodes(kind)
    metrics = sorted({node.indicator.metric for node in nodes if node.indicator is not None})
    metric_values = store.metric_values(kind, week, as_of, metrics) if metrics else None
    schools = store.schools(kind, week) if kind in {"teacher", "class"} else {}
    found: list[tuple[object, ...]] = []
    for entity_id, own in _by_entity(metric_values).items():
        school_id = entity_id if kind == "school" else schools.get(entity_id, "")
        found += [_row((kind, school_id, entity_id, week), score, version) for score in scores(nodes, own)]
    return store.append(_changes(pl.DataFrame(found, _SCHEMA, orient="row"), store.latest(kind, week)), as_of)


def _by_entity(metric_values: pl.DataFrame | None) -> dict[str, dict[tuple[str, str], MetricValue]]:
    """Return the metrics of each entity by metric and item; the district is one entity."""
    found: dict[str, dict[tuple[str, str], MetricValue]] = {}
    if metric_values is not None:
        for entity_id, metric, item, value, sample_size in metric_values.iter_rows():
            found.setdefault(entity_id or DISTRICT, {})[metric, item] = MetricValue(value, sample_size)
    return found


def _row(place: tuple[object, ...], score: NodeScore, version: int) -> tuple[object, ...]:
    return (*place, score.node, score.value, score.coverage, score.weight, score.figure, score.sample_size, version)


def _changes(found: pl.DataFrame, latest: pl.DataFrame) -> pl.DataFrame:
    """Return the rows to add: those that say something new, and of those no longer there a last one that is not live."""
    known = latest.cast(_SCHEMA)  # type: ignore[arg-type]
    both = found.join(known, on=PLACE_COLUMNS, how="left", suffix="_before", coalesce=True, nulls_equal=True)
    same = [
        pl.col("sample_size") == pl.col("sample_size_before"),
        pl.col("config_version") == pl.col("config_version_before"),
    ]
    same += [_is_same(pl.col(name), pl.col(f"{name}_before")) for name in _COMPARED]
    changed = both.filter(~pl.all_horizontal(same).fill_null(value=False)).select(*PLACE_COLUMNS, *SCORE_COLUMNS)
    gone = known.join(found, on=PLACE_COLUMNS, how="anti")
    return pl.concat([changed.with_columns(live=pl.lit(value=True)), gone.with_columns(live=pl.lit(value=False))])


def _is_same(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    near = (left - right).abs() <= _SAME * pl.max_horizontal(left.abs(), right.abs(), pl.lit(1e-3))
    return near.fill_null(value=False) | (left.is_null() & right.is_null())
