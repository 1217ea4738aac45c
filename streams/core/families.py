"""Which module of the core computes a family's metrics, and which columns of an event it needs.

A new family of metrics is one line here; a new metric of a family is one function in its module and one declaration in
``schemas/metrics/catalogue.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from schemas.codec.decode import event_columns
from schemas.events.event_types import CLASSROOM, PREP, REGISTRY, RESEARCH, Family
from schemas.metrics.rules import MetricRules
from streams.core.classroom import family as classroom
from streams.core.prep import family as prep
from streams.core.research import family as research
from streams.core.rows import ROW_SCHEMA

_EVERY_FAMILY = ("key", "type", "source", "id", "time_us")


@dataclass(frozen=True, slots=True)
class Fold:
    """``rows(cached, fresh, rules)`` returns the metric rows that the fresh events can have changed."""

    cached_columns: tuple[str, ...]
    rows: Callable[[pl.DataFrame, pl.DataFrame, MetricRules], pl.DataFrame]

    def cached_schema(self, family: Family) -> pl.Schema:
        """Columns and types of the family's cached events; event types as a small enumeration."""
        columns = event_columns(family)
        kept = {name: columns[name] for name in (*_EVERY_FAMILY, *self.cached_columns)}
        return pl.Schema({**kept, "type": pl.Enum(list(family.models))})


FOLDS: dict[str, Fold] = {
    CLASSROOM.name: Fold(classroom.CACHED_COLUMNS, classroom.rows),
    PREP.name: Fold(prep.CACHED_COLUMNS, prep.rows),
    RESEARCH.name: Fold(research.CACHED_COLUMNS, lambda cached, _fresh, _rules: research.rows(cached)),
    REGISTRY.name: Fold((), lambda _cached, _fresh, _rules: pl.DataFrame(schema=ROW_SCHEMA)),
}
