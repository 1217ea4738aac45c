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

_EVERY_FACT = ("key", "type", "source", "id", "time_us")


@dataclass(frozen=True, slots=True)
class Metrics:
    """``rows(facts, fresh, rules)`` returns the metric rows that the fresh events can have changed."""

    fact_columns: tuple[str, ...]
    rows: Callable[[pl.DataFrame, pl.DataFrame, MetricRules], pl.DataFrame]

    def fact_schema(self, family: Family) -> pl.Schema:
        """Columns and types of the family's facts; event types as a small enumeration."""
        columns = event_columns(family)
        kept = {name: columns[name] for name in (*_EVERY_FACT, *self.fact_columns)}
        return pl.Schema({**kept, "type": pl.Enum(list(family.models))})


FIGURES: dict[str, Metrics] = {
    CLASSROOM.name: Metrics(classroom.FACT_COLUMNS, classroom.rows),
    PREP.name: Metrics(prep.FACT_COLUMNS, prep.rows),
    RESEARCH.name: Metrics(research.FACT_COLUMNS, lambda facts, _fresh, _rules: research.rows(facts)),
    REGISTRY.name: Metrics((), lambda _facts, _fresh, _rules: pl.DataFrame(schema=ROW_SCHEMA)),
}
