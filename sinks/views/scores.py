"""The views of the evaluation: scores with the quality of their data, as trees, and the configurations behind them."""

from typing import Final

from sinks.evaluation.quality import COUNTS, QUALITY_AS_OF
from sinks.evaluation.scores import PLACE_COLUMNS, SCORE_COLUMNS, SCORES_AS_OF
from sinks.views.contract import View

__all__ = ["SCORE_TREE", "VIEWS"]

SHARES: Final = ("received_share", "late_share", "duplicate_share", "district_dead_letter_share")
_NOW: Final = "toDateTime64('2200-01-01', 3, 'UTC')"
_PARAMETER: Final = "{as_of:DateTime64(3, 'UTC')}"
_AS_OF: Final = {"as_of": "what was known at this instant; the far future for now"}

_MEANINGS: Final = {
    "kind": "teacher, class, school, group or district",
    "school_id": "school of the teacher or class, or the school itself; empty for groups and the district",
    "entity_id": "who or what is scored; district for the district",
    "week": "Monday of the ISO week",
    "node": "path in the tree, parts joined by /; empty for the whole",
    "value": "score from 0 to 1; NULL below 0.6 coverage",
    "coverage": "share of the weight below the node for which there are metrics, 0 to 1",
    "weight": "share of the node in the whole, 0 to 1",
    "figure": "of an indicator: its metric, in the unit of the metric; NULL where there is none",
    "sample_size": "of an indicator: that of its metric; otherwise the smallest of its available indicators",
    "config_version": "configuration it was scored by; see v1_evaluation_configs",
    "as_of": "instant as of which the metrics were read from the roll-ups",
    "recorded_at": "when it was recorded; later than your reading: it was revised since",
}
_SHARE_MEANINGS: Final = {
    "received_share": "sequence numbers received / expected of the devices; NULL where none sends any",
    "late_share": "events later than the watermark when they came / events; NULL without any",
    "duplicate_share": "records dropped as already stored / (they + events); NULL without any",
    "district_dead_letter_share": "records rejected / (they + events), of the whole district: a rejected record names no "
    "school for certain",
}
_COUNT_MEANINGS: Final = {
    "sources": "devices that sent a sequence",
    "sequences_received": "distinct sequence numbers stored, added up over the devices",
    "sequences_expected": "highest - lowest sequence + 1, added up over the devices",
    "events": "distinct events whose event time lies in the week",
    "late_events": "of these, later than the watermark of their partition when they came",
    "duplicates": "records dropped as already stored, by their event time",
    "district_events": "events of the whole district",
    "district_dead_letters": "records of the whole district rejected in the week",
}
_NODE_MEANINGS: Final = {
    "depth": "0 for the whole",
    "chinese": "Chinese name",
    "english": "English name",
    "own_weight": "weight as configured, relative to the siblings",
    "metric": "of an indicator: its metric; otherwise empty",
    "item": "of an indicator: the item of the metric",
    "unit": "of an indicator: the unit of the metric",
    "norm": "of an indicator: how its metric earns points",
    "min_sample": "of an indicator: with a smaller sample it is not available",
    "about": "what the configuration says about it",
}


def _scores(as_of: str) -> str:
    """Return the SELECT of scores with the quality beside them, known at ``as_of``."""
    columns = ", ".join(f"s.{name} AS {name}" for name in (*PLACE_COLUMNS, *SCORE_COLUMNS, "as_of", "recorded_at"))
    scores = SCORES_AS_OF.replace("{condition}", "1").replace(_PARAMETER, as_of)
    quality = QUALITY_AS_OF.replace("{condition}", "1").replace(_PARAMETER, as_of)
    return f"""SELECT {columns},
    {", ".join(f"q.{name} AS {name}" for name in SHARES)}
FROM ({scores}) AS s
LEFT JOIN ({quality}) AS q
ON q.kind = if(s.kind IN ('teacher', 'class'), 'school', s.kind)
    AND q.entity_id = if(s.kind IN ('teacher', 'class'), s.school_id, s.entity_id) AND q.week = s.week"""


_ENTITY: Final = "kind = {kind:String} AND entity_id = {entity:String} AND week = {week:Date}"
_QUALITY_ENTITY: Final = "week = {week:Date}"
_TREE_COLUMNS: Final = ("value", "coverage", "weight", "figure", "sample_size", "config_version", "as_of", "recorded_at")
#: One entity and week as a tree, in its order; the conditions stand inside, so that little is read.
SCORE_TREE: Final = f"""SELECT n.number AS number, s.node AS node,
    n.depth AS depth, n.chinese AS chinese, n.english AS english,
    {", ".join(f"s.{name} AS {name}" for name in _TREE_COLUMNS)},
    {", ".join(f"n.{name} AS {name}" for name in ("own_weight", "metric", "item", "unit", "norm", "min_sample", "about"))},
    {", ".join(f"q.{name} AS {name}" for name in SHARES)}, s.school_id AS school_id
FROM ({SCORES_AS_OF.replace("{condition}", _ENTITY)}) AS s
INNER JOIN (SELECT * FROM evaluation_nodes FINAL WHERE kind = {{kind:String}}) AS n
    ON n.config_version = s.config_version AND n.node = s.node
LEFT JOIN ({QUALITY_AS_OF.replace("{condition}", _QUALITY_ENTITY)}) AS q
    ON q.kind = if(s.kind IN ('teacher', 'class'), 'school', s.kind)
    AND q.entity_id = if(s.kind IN ('teacher', 'class'), s.school_id, s.entity_id)
ORDER BY s.school_id, number"""

_SCORE_COLUMNS: Final = {**_MEANINGS, **_SHARE_MEANINGS}
VIEWS: Final = [
    View(
        "v1_scores",
        "Scores of teachers, classes, schools, groups and the district as they stand now, a row for each node of the tree "
        "(metrics 31 and 33), with the quality of their data beside them (metric 32). Scores of teachers are personal data",
        _SCORE_COLUMNS,
        _scores(_NOW),
    ),
    View(
        "v1_scores_as_of",
        "Scores as they stood at an instant: a report made then can be made again",
        _SCORE_COLUMNS,
        _scores(_PARAMETER),
        _AS_OF,
    ),
    View(
        "v1_score_tree",
        "One score as a tree in its order, with names, norms and weights: what classpulse explain prints",
        {
            "number": "place in the order of the tree, parents first",
            "node": _MEANINGS["node"],
            **{name: _NODE_MEANINGS[name] for name in ("depth", "chinese", "english")},
            **{name: _MEANINGS[name] for name in _TREE_COLUMNS},
            **{
                name: _NODE_MEANINGS[name]
                for name in ("own_weight", "metric", "item", "unit", "norm", "min_sample", "about")
            },
            **_SHARE_MEANINGS,
            "school_id": _MEANINGS["school_id"],
        },
        SCORE_TREE,
        {
            "kind": "teacher, class, school, group or district",
            "entity": "who or what is scored; district for the district",
            "week": "Monday of the ISO week",
            **_AS_OF,
        },
    ),
    View(
        "v1_data_quality",
        "Quality of the data of each week that has a score (metric 32) as it stands now",
        {
            "kind": "school, group or district",
            "entity_id": "the school or the group; district for the district",
            "week": "Monday of the ISO week",
            **_COUNT_MEANINGS,
            **_SHARE_MEANINGS,
            "recorded_at": "when it was recorded",
        },
        f"SELECT kind, entity_id, week, {', '.join((*COUNTS, *SHARES))}, recorded_at FROM"
        f" ({QUALITY_AS_OF.replace('{condition}', '1').replace(_PARAMETER, _NOW)})",
    ),
    View(
        "v1_evaluation_configs",
        "Every activation of an evaluation configuration; of those that had begun in a week, the last activated scores it",
        {
            "config_version": "version of the configuration; another content, another version",
            "checksum": "SHA-256 of its content, comments and layout left out",
            "from_week": "Monday of the first week that is scored by it",
            "yaml": "the file as it was activated",
            "activated_at": "from this instant on it counts",
            "activated_by": "who activated it, by their own word; empty where it was not asked for yet",
            "reason": "why, by their own word",
        },
        "SELECT config_version, checksum, from_week, yaml, activated_at, activated_by, reason FROM evaluation_configs",
    ),
    View(
        "v1_evaluation_nodes",
        "The nodes of every evaluation configuration, as a tree for each kind",
        {
            "config_version": "version of the configuration",
            "kind": "whom this tree is for: teacher, class, school, group or district",
            "number": "place in the order of the tree, parents first",
            "node": _MEANINGS["node"],
            **{name: _NODE_MEANINGS[name] for name in ("depth", "chinese", "english", "own_weight")},
            "weight": _MEANINGS["weight"],
            **{name: _NODE_MEANINGS[name] for name in ("metric", "item", "unit", "norm", "min_sample", "about")},
        },
        "SELECT * FROM evaluation_nodes FINAL",
    ),
]
