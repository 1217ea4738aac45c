"""Reads what a report shows, all of it as of one instant: the views of the contract and the registry."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import polars as pl
from clickhouse_connect.driver.client import Client

from schemas.errors import MustStop
from schemas.evaluation.config import parse
from schemas.evaluation.indicators import IndicatorMetric, indicator_metrics
from schemas.evaluation.portraits import DIMENSIONS
from schemas.evaluation.tree import Indicator
from schemas.metrics.classroom.course import STRATEGIES
from schemas.metrics.classroom.talk import ST_MODES
from sinks.clickhouse.answers import answered, instant
from sinks.evaluation.quality import DISTRICT
from streams.evaluation.report.data import (
    FEWEST_PEERS,
    PORTRAIT_DAYS,
    TREND_WEEKS,
    Activity,
    Level,
    Member,
    MetricValue,
    Node,
    Portrait,
    Quality,
    ReportData,
    ReportKind,
    Share,
    WeekScore,
)
from streams.evaluation.report.registered import Entity, Registry
from streams.evaluation.report.wording import norm_words

__all__ = ["gather", "settled"]

_STRATEGIES: Final = {
    "question_led": ("问题引学", "question-led"),
    "situational": ("情境创学", "situational"),
    "interactive": ("活动互学", "interactive"),
    "evaluative": ("评价优学", "evaluative"),
    "digital": ("数字助学", "digital"),
}
_MODES: Final = {
    "practice": ("练习型", "practice"),
    "lecture": ("讲授型", "lecture"),
    "dialogue": ("对话型", "dialogue"),
    "mixed": ("混合型", "mixed"),
}
_TALK: Final = {
    "teacher_talk_share": ("教师", "teacher"),
    "student_talk_share": ("学生", "students"),
    "silence_share": ("沉寂", "silence"),
}
#: Shares that miss more than this of the whole get a rest.
_LEAST_REST: Final = 0.005
_CYCLE: Final = """SELECT max(cycle_at) AS at, count() AS cycles FROM v1_cycles
WHERE cycle_at <= {as_of:DateTime64(3, 'UTC')}"""
_ROLLUPS: Final = """SELECT metric, item, value, sample_size, keys
FROM v1_rollups(level = {level:String}, school = {school:String}, as_of = {as_of:DateTime64(3, 'UTC')},
    day_from = {day_from:Date}, day_to = {day_to:Date})
WHERE entity_id = {entity:String}"""
_TREE: Final = """SELECT school_id, node, depth, chinese, english, value, coverage, weight, metric, figure, unit, norm,
    sample_size, config_version, received_share, late_share, duplicate_share, district_dead_letter_share
FROM v1_score_tree(kind = {kind:String}, entity = {entity:String}, week = {week:Date}, as_of = {as_of:DateTime64(3, 'UTC')})
ORDER BY school_id, number"""
_CONFIGURATION: Final = "SELECT yaml FROM v1_evaluation_configs WHERE config_version = {version:UInt32} LIMIT 1"
_SCORES: Final = """SELECT kind, school_id, entity_id, week, value, coverage
FROM v1_scores_as_of(as_of = {as_of:DateTime64(3, 'UTC')})
WHERE kind = {kind:String} AND node = '' AND week >= {week_from:Date} AND week <= {week:Date} AND """
_PORTRAITS: Final = """SELECT dimension, day, level, z, peers, active_days_7, active_days_28, inactive, portrait_version
FROM v1_portraits_as_of(school = {school:String}, as_of = {as_of:DateTime64(3, 'UTC')})
WHERE kind = {kind:String} AND entity_id = {entity:String} AND day >= {day_from:Date} AND day <= {day_to:Date}
ORDER BY day"""
_CATALOGUE: Final = """SELECT DISTINCT toInt64(catalogue_version) AS version FROM pane_versions
WHERE day BETWEEN {day_from:Date} AND {day_to:Date} AND recorded_at <= {as_of:DateTime64(3, 'UTC')} AND live
    AND ({school:String} = '' OR school_id = {school:String})
ORDER BY version"""
_PEERS: Final = """SELECT metric, uniqExact(%s) AS peers FROM pane_versions
WHERE day BETWEEN {day_from:Date} AND {day_to:Date} AND recorded_at <= {as_of:DateTime64(3, 'UTC')} AND live
GROUP BY metric"""
_PEER_COLUMN: Final = {"school": "school_id", "group": "school_id", "class": "class_id", "teacher": "teacher_id"}


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whom a report is about and when; ``school`` narrows what is read, empty: it may not."""

    client: Client
    kind: ReportKind
    entity_id: str
    school: str
    week: date
    as_of: datetime

    def read(self, sql: str, **more: Any) -> pl.DataFrame:
        """Return the answer; the parameters' values are these fields, unless others are given."""
        values: dict[str, Any] = {
            "kind": self.kind,
            "entity": self.entity_id,
            "school": self.school,
            "week": self.week,
            "as_of": self.as_of,
            "day_from": self.week,
            "day_to": self.week + timedelta(days=6),
        }
        return answered(self.client, sql, values | more)


def settled(client: Client, as_of: datetime) -> datetime:
    """Return the latest instant up to ``as_of`` whose metrics are complete: what is read as of it reads the same for ever.

    That is the last completed cycle of the evaluator; ``as_of`` itself if there is none.
    """
    found = answered(client, _CYCLE, {"as_of": as_of}).row(0, named=True)
    return instant(found["at"]) if found["cycles"] else as_of


def gather(client: Client, kind: ReportKind, entity_id: str, week: date, as_of: datetime, time_zone: str) -> ReportData:
    """Read a report as of an instant; ``week`` is a Monday. Nothing is known of an unknown id, which is no error.

    Raises clickhouse-connect's ``ClickHouseError`` when the database cannot be reached or lacks a view.
    """
    registry = Registry.read(client, as_of)
    entity = registry.find(kind, entity_id)
    asked = _Asked(client, kind, entity_id, _school(kind, entity), week, as_of)
    tree = _tree(asked)
    scored_by = _scored_by(asked, tree)
    rollups = _rollups(asked)
    portrait_rows = asked.read(_PORTRAITS, day_from=week + timedelta(days=6 - PORTRAIT_DAYS))
    last = portrait_rows.tail(1).rows(named=True)
    return ReportData(
        subject=registry.subject(kind, entity_id),
        week=week,
        as_of=as_of,
        time_zone=time_zone,
        catalogue_versions=tuple(asked.read(_CATALOGUE)["version"]),
        portrait_versions=tuple(portrait_rows["portrait_version"].unique().sort()),
        config_version=int(tree["config_version"][0]) if tree.height else None,
        nodes=tuple(_node(row, scored_by.get(row["node"])) for row in tree.iter_rows(named=True)),
        quality=_quality(tree),
        trend=_trend(asked),
        metric_values=_metric_values(asked, rollups),
        strategies=_strategies(rollups),
        talk=_talk(rollups),
        modes=_modes(rollups),
        portraits=_portraits(kind, portrait_rows),
        activity=Activity(last[0]["day"], last[0]["active_days_7"], last[0]["active_days_28"]) if last else None,
        inactive=bool(last and last[0]["inactive"]),
        members=_members(asked, registry),
    )


def _school(kind: ReportKind, entity: Entity) -> str:
    return entity.entity_id if kind == "school" else entity.school_id


def _tree(asked: _Asked) -> pl.DataFrame:
    """Return the tree; of an entity that was scored in two schools that of the school it is registered in, or else one."""
    found = asked.read(_TREE)
    registered = found.filter(pl.col("school_id") == asked.school)
    chosen = registered if registered.height else found
    return chosen.filter(pl.col("school_id") == pl.col("school_id").first())


def _scored_by(asked: _Asked, tree: pl.DataFrame) -> dict[str, Indicator]:
    """Return the indicators by which the tree was scored; none if this program no longer understands the configuration."""
    if not tree.height:
        return {}
    text = asked.read(_CONFIGURATION, version=int(tree["config_version"][0]))["yaml"]
    try:
        evaluation = parse(text[0]) if len(text) else None
    except MustStop:
        evaluation = None
    nodes = evaluation.nodes(asked.kind) if evaluation is not None else ()
    return {node.path: node.indicator for node in nodes if node.indicator is not None}


def _node(row: Mapping[str, Any], indicator: Indicator | None) -> Node:
    names, norm = (row["chinese"], row["english"]), (row["norm"], "") if row["norm"] else None
    if indicator is not None:
        names, norm = (indicator.title_chinese, indicator.title_english), norm_words(indicator)
    return Node(
        row["node"],
        row["depth"],
        *names,
        _known(row["value"]),
        row["coverage"],
        row["weight"],
        bool(row["metric"]),
        _known(row["figure"]),
        row["unit"],
        norm,
        row["sample_size"],
    )


def _quality(tree: pl.DataFrame) -> Quality:
    if not tree.height:
        return Quality()
    row = tree.row(0, named=True)
    names = ("received_share", "late_share", "duplicate_share", "district_dead_letter_share")
    return Quality(*(_known(row[name]) for name in names))


def _trend(asked: _Asked) -> tuple[WeekScore, ...]:
    weeks = [asked.week - timedelta(weeks=back) for back in reversed(range(TREND_WEEKS))]
    found = asked.read(_SCORES + "entity_id = {entity:String}", week_from=weeks[0])
    # Who was scored in two schools in one week: the one it is registered in comes last and counts.
    found = found.sort(pl.col("school_id") == asked.school, maintain_order=True)
    scores = {
        week: WeekScore(week, _known(value), coverage)
        for week, value, coverage in found.select("week", "value", "coverage").iter_rows()
    }
    return tuple(scores.get(week, WeekScore(week, None, 0.0)) for week in weeks)


def _rollups(asked: _Asked, **more: Any) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the merged metrics by name and item."""
    school = "" if asked.kind == "group" else asked.school
    found = asked.read(_ROLLUPS, **{"level": asked.kind, "school": school} | more)
    return {(row["metric"], row["item"]): row for row in found.iter_rows(named=True)}


def _metric_values(asked: _Asked, rollups: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[MetricValue, ...]:
    if not rollups:
        return ()
    monday = asked.week - timedelta(weeks=1)
    before = _rollups(asked, day_from=monday, day_to=asked.week - timedelta(days=1))
    peers = dict(asked.read(_PEERS % _PEER_COLUMN[asked.kind]).iter_rows())
    # The costliest of the questions is asked only where its answer would be shown.
    few = max(peers.values(), default=0) < FEWEST_PEERS
    district = {} if few else _rollups(asked, level="district", school="", entity=DISTRICT)

    def figure(one: IndicatorMetric) -> MetricValue:
        row = rollups[one.name, ""]
        comparable = peers.get(one.source, 0) >= FEWEST_PEERS
        return MetricValue(
            one.family,
            one.name,
            one.chinese,
            one.english,
            one.unit,
            one.direction,
            _known(row["value"]),
            row["sample_size"],
            row["keys"],
            _value(before, one.name),
            _value(district, one.name) if comparable else None,
        )

    return tuple(figure(one) for one in indicator_metrics().values() if (one.name, "") in rollups)


def _strategies(rollups: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[Share, ...]:
    found = {name: _value(rollups, "strategy_share", name) for name in STRATEGIES}
    return _with_rest({_STRATEGIES[name]: value for name, value in found.items()})


def _modes(rollups: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[Share, ...]:
    found = [(_MODES[name], _value(rollups, "st_mode", name)) for name in ST_MODES]
    return tuple(Share(*words, value) for words, value in found if value is not None)


def _talk(rollups: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[Share, ...]:
    return _with_rest({words: _value(rollups, name) for name, words in _TALK.items()})


def _with_rest(values: Mapping[tuple[str, str], float | None]) -> tuple[Share, ...]:
    known = [Share(*words, min(max(value, 0.0), 1.0)) for words, value in values.items() if value is not None]
    total = sum(share.value for share in known)
    if not known or not total:
        return ()
    if total > 1:
        return tuple(Share(share.chinese, share.english, share.value / total) for share in known)
    return (*known, Share("其他", "other", 1 - total)) if 1 - total > _LEAST_REST else tuple(known)


def _portraits(kind: ReportKind, rows: pl.DataFrame) -> tuple[Portrait, ...]:
    units = {name: one.unit for name, one in indicator_metrics().items()}
    found = []
    for dimension in DIMENSIONS[kind]:
        own = rows.filter(pl.col("dimension") == dimension.name)
        if own.height:
            last = own.row(-1, named=True)
            levels = tuple(Level(one, level) for one, level in own.select("day", "level").iter_rows())
            unit = units.get(dimension.metric, "")
            words = (dimension.chinese, dimension.english, unit, dimension.direction)
            found.append(Portrait(*words, levels, _known(last["z"]), last["peers"]))
    return tuple(found)


def _members(asked: _Asked, registry: Registry) -> tuple[Member, ...]:
    if asked.kind == "school":
        found = asked.read(_SCORES + "school_id = {school:String}", kind="class", week_from=asked.week)
    elif asked.kind == "group":
        schools = registry.schools_of(asked.entity_id)
        found = asked.read(
            _SCORES + "entity_id IN {schools:Array(String)}", kind="school", week_from=asked.week, schools=schools
        )
    else:
        return ()
    kind = "class" if asked.kind == "school" else "school"
    return tuple(
        Member(row["entity_id"], registry.find(kind, row["entity_id"]).name, _known(row["value"]), row["coverage"])
        for row in found.sort("entity_id").iter_rows(named=True)
    )


def _value(rows: Mapping[tuple[str, str], Mapping[str, Any]], name: str, item: str = "") -> float | None:
    row = rows.get((name, item))
    return _known(row["value"]) if row is not None else None


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
