"""The views of the portraits (数字画像): as they stand, as they stood at an instant, and what they say on a given day."""

from typing import Final

from schemas.evaluation.portraits import LEAST_MAD, MAD_SCALE, MIN_PEERS
from sinks.views.contract import View

__all__ = ["VIEWS"]

_COLUMNS: Final = {
    "school_id": "school the entity belongs to, as registered at the end of the day's ISO week; empty for groups",
    "kind": "student, teacher, class, school or group",
    "entity_id": "the student, teacher, class, school or group",
    "dimension": "name of the dimension; see schemas/evaluation/portraits.py",
    "day": "local day of the district; there is a row for each day with an observation and for the day on which the entity "
    "becomes inactive",
    "observed": "the dimension's metric of the day; NULL on the day on which the entity becomes inactive",
    "level": "decayed level at the end of the day: mean of the observations, weighted by sample size and age, half-life 14 "
    "days (metric 28)",
    "z": f"robust z of the level among the peers of the ISO week (metric 29); NULL with fewer than {MIN_PEERS} peers",
    "peers": "peers observed in the dimension in the ISO week, the entity among them; 0 where z has no meaning",
    "peer_group": "whom it is compared with: career stage/subject, grade, stage of school; empty: nobody",
    "active_days_7": "days with an observation in any dimension among the 7 that end with the day (metric 30)",
    "active_days_28": "the same among the 28 days that end with the day",
    "inactive": "1: on this day the entity has been without an observation for 7 days",
    "portrait_version": "version of the formulas and dimensions",
    "recorded_at": "since when the portrait says so, but for z, which moves with the peers",
    "sample_size": "sample size of the observation; 0 on the day on which the entity becomes inactive",
    "weight": "sum of the sample sizes behind the level, each halved with 14 days of age, as of the latest observation",
}
_PARAMETERS: Final = {
    "school": "only this school; empty: all, and the groups",
    "as_of": "what was known at this instant; the far future for now",
}
_METRICS: Final = (
    "observed",
    "level",
    "active_days_7",
    "active_days_28",
    "inactive",
    "peer_group",
    "portrait_version",
    "sample_size",
    "weight",
    "live",
)
_OF_SCHOOL: Final = "({school:String} = '' OR school_id = {school:String})"
_AS_OF: Final = "recorded_at <= {as_of:DateTime64(3, 'UTC')}"


def _latest(condition: str) -> str:
    """Return the latest version of each place; a place that was taken back is left out."""
    columns = ", ".join(f"tupleElement(last, {number}) AS {name}" for number, name in enumerate(_METRICS, start=1))
    return f"""(
        SELECT school_id, kind, entity_id, dimension, day, {columns}, latest
        FROM
        (
            SELECT school_id, kind, entity_id, dimension, day,
                argMax(tuple({", ".join(_METRICS)}), recorded_at) AS last, max(recorded_at) AS latest
            FROM portraits
            WHERE {condition}
            GROUP BY school_id, kind, entity_id, dimension, day
        )
        WHERE live = 1
    )"""


def _peers(condition: str) -> str:
    return f"""(
        SELECT kind, week, dimension, peer_group, tupleElement(last, 1) AS peers_of_week, tupleElement(last, 2) AS median,
            tupleElement(last, 3) AS mad
        FROM
        (
            SELECT kind, week, dimension, peer_group, argMax(tuple(peers, median, mad), recorded_at) AS last
            FROM portrait_peers
            WHERE {condition}
            GROUP BY kind, week, dimension, peer_group
        )
    )"""


def _select(rows: str, peers: str) -> str:
    return f"""SELECT r.school_id AS school_id, r.kind AS kind, r.entity_id AS entity_id, r.dimension AS dimension,
    r.day AS day, r.observed AS observed, r.level AS level,
    if(r.observed IS NOT NULL AND p.peers_of_week >= {MIN_PEERS} AND p.mad > {LEAST_MAD},
        (r.level - p.median) / ({MAD_SCALE} * p.mad), NULL) AS z,
    if(r.observed IS NOT NULL, p.peers_of_week, 0) AS peers,
    r.peer_group AS peer_group, r.active_days_7 AS active_days_7, r.active_days_28 AS active_days_28,
    r.inactive AS inactive, r.portrait_version AS portrait_version, r.latest AS recorded_at,
    r.sample_size AS sample_size, r.weight AS weight
FROM {rows} AS r
LEFT JOIN {peers} AS p
    ON p.kind = r.kind AND p.week = toDate32(toMonday(r.day)) AND p.dimension = r.dimension
        AND p.peer_group = r.peer_group"""


#: Orders versions by day, then by when they were recorded; a single number, since tuples are compared much more slowly.
_VERSION: Final = "toUInt64(toInt32(day) + 719528) * 17592186044416 + toUnixTimestamp64Milli(recorded_at)"


def _on_day(condition: str) -> str:
    """Return of each entity and dimension the last day until {day}, in its latest version.

    Only places that were ever taken back are looked at one by one: there are few.
    """
    place = "school_id, kind, entity_id, dimension, day"
    counts = f"""{condition} AND ({place}) NOT IN
        (
            SELECT {place} FROM portraits
            WHERE {condition} AND ({place}) IN (SELECT {place} FROM portraits WHERE {condition} AND live = 0)
            GROUP BY {place}
            HAVING argMax(live, recorded_at) = 0
        )"""
    return f"""(
        SELECT {place}, {", ".join(_METRICS)}, recorded_at AS latest
        FROM portraits
        WHERE {counts} AND (school_id, kind, entity_id, dimension, {_VERSION}) IN
        (
            SELECT school_id, kind, entity_id, dimension, max({_VERSION}) FROM portraits
            WHERE {counts}
            GROUP BY school_id, kind, entity_id, dimension
        )
    )"""


VIEWS: Final = [
    View(
        "v1_portraits",
        "数字画像: what the portraits say of every day, in the latest version; metrics 28 to 30",
        _COLUMNS,
        _select(_latest("1"), _peers("1")),
    ),
    View(
        "v1_portraits_as_of",
        "What the portraits said of every day at an instant; metrics 28 to 30",
        _COLUMNS,
        _select(_latest(f"{_OF_SCHOOL} AND {_AS_OF}"), _peers(_AS_OF)),
        _PARAMETERS,
    ),
    View(
        "v1_portrait_on",
        "What the portraits say on a given day: of each entity and dimension the last day until then with a row. With that "
        "day's evening as as_of: what they said on that day; with the far future: what is known of that day now. An entity "
        "left a school stays there with its last day in it",
        _COLUMNS,
        _select(_on_day(f"{_OF_SCHOOL} AND {_AS_OF} AND day <= {{day:Date}}"), _peers(_AS_OF)),
        _PARAMETERS | {"day": "the local day"},
    ),
]
