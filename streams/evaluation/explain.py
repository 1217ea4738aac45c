"""A score explained: its tree with names, norms, weights and metrics, the quality beside it, and the events behind it."""

from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from schemas.errors import MustStop
from schemas.evaluation.tree import Kind
from sinks.clickhouse.answers import FAR_FUTURE, answered, instant
from sinks.evaluation.quality import DISTRICT, quality_of
from sinks.evaluation.scores import ScoreStore
from sinks.views.scores import SCORE_TREE
from streams.evaluation.explain_events import Scope, events_query
from streams.evaluation.standing import what_is_scored
from streams.evaluation.weeks import iso_week

__all__ = ["Explanation", "Part", "explain"]

#: Weeks that the message names where the one that was asked for has no score.
_WEEKS_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One node: a dimension, or an indicator with ``metric``, ``figure`` and the ``query`` for its events.

    ``value``: 0 to 1, None below 0.6 coverage. ``weight``: share of the whole; ``own_weight``: as configured.
    """

    node: str
    depth: int
    chinese: str
    english: str
    value: float | None
    coverage: float
    weight: float
    own_weight: float
    sample_size: int
    figure: float | None
    metric: str
    item: str
    unit: str
    norm: str
    min_sample: int
    about: str
    query: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score and what it is made of. ``week`` is a Monday; ``parts`` begin with the whole; ``quality`` as counted, or {}.

    ``read_as_of``: the instant as of which the metrics were read.
    """

    kind: Kind
    entity_id: str
    name: str
    school_id: str
    week: date
    config_version: int
    read_as_of: datetime
    recorded_at: datetime
    quality: dict[str, Any]
    parts: tuple[Part, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON types; instants in UTC."""
        found = asdict(self)
        return found | {
            "week": iso_week(self.week),
            "read_as_of": _text(self.read_as_of),
            "recorded_at": _text(self.recorded_at),
            "quality": {name: value for name, value in self.quality.items() if not isinstance(value, date)},
        }


def explain(client: Client, kind: Kind, entity_id: str, week: date | None, as_of: datetime, time_zone: str) -> Explanation:
    """Explain the score of an entity as it stood at ``as_of``; ``week``: a Monday, None for the latest with a score.

    Raises :class:`MustStop` if there is none, and says which weeks or which entities there are.
    """
    store = ScoreStore(client)
    if week is None:
        weeks = store.weeks_of(kind, entity_id, as_of)
        week = weeks[-1] if weeks else None
    if week is None:
        raise _missing(client, kind, entity_id, None, as_of)
    rows = answered(client, SCORE_TREE, {"kind": kind, "entity": entity_id, "week": week, "as_of": as_of})
    if rows.is_empty():
        raise _missing(client, kind, entity_id, week, as_of)
    parts = rows.rows(named=True)
    whole = parts[0]
    read_as_of = max(instant(part["as_of"]) for part in parts)
    scope = Scope(kind, entity_id, week, read_as_of, time_zone)
    in_school = kind in {"teacher", "class"}
    quality = quality_of(
        client, "school" if in_school else kind, whole["school_id"] if in_school else entity_id, week, as_of
    )
    return Explanation(
        kind,
        entity_id,
        _name(client, kind, entity_id),
        whole["school_id"],
        week,
        whole["config_version"],
        read_as_of,
        max(instant(part["recorded_at"]) for part in parts),
        {name: value for name, value in quality.items() if name not in {"kind", "entity_id", "week"}},
        tuple(_part(part, scope) for part in parts),
    )


def _part(row: dict[str, Any], scope: Scope) -> Part:
    query = events_query(scope, row["metric"], row["item"]) if row["metric"] else ""
    return Part(**{field.name: row.get(field.name, query) for field in fields(Part)})


def _name(client: Client, kind: Kind, entity_id: str) -> str:
    """Return the registered name of a class, a school or a group; empty for others."""
    if kind in {"teacher", "district"}:
        return ""
    found = client.query(
        "SELECT argMax(name, (time, source, id)) FROM events_registry WHERE key = {key:String} AND type = {type:String}",
        parameters={"key": entity_id, "type": f"registry.{kind}.registered"},
    )
    return str(found.result_rows[0][0])


def _missing(client: Client, kind: Kind, entity_id: str, week: date | None, as_of: datetime) -> MustStop:
    what = f"the {DISTRICT}" if kind == "district" else f"{kind} {entity_id}"
    when = f" in {iso_week(week)}" if week else ""
    then = f" at {_text(as_of)}" if as_of < FAR_FUTURE else ""
    message = f"There is no score of {what}{when}{then}"
    if weeks := ScoreStore(client).weeks_of(kind, entity_id, as_of):
        return MustStop(message, f"Ask for one of {', '.join(iso_week(found) for found in weeks[-_WEEKS_NAMED:])}")
    return MustStop(message, what_is_scored(client, kind, as_of))


def _text(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
