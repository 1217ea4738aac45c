"""Preparation metrics (备课) out of the stored events of the teachers concerned. Formulas: ``schemas/metrics/prep``.

One module a group of metrics; this one says in which order.
"""

import polars as pl

from schemas.metrics.rules import MetricRules
from streams.core.codes import spelled
from streams.core.prep import plans, prep_time
from streams.core.rows import joined

#: The columns of a stored event that the metrics need, besides those every event has.
CACHED_COLUMNS = (
    "subject",
    "substantive",
    "characters_changed",
    "had_input",
    "editor_id",
    "owner_id",
    "origin",
    "platform",
    "lesson_start_us",
)


def rows(cached: pl.DataFrame, fresh: pl.DataFrame, rules: MetricRules) -> pl.DataFrame:
    """Return the metric rows that ``fresh`` events can have changed.

    ``cached`` holds every stored event of the teachers in ``fresh``, those of ``fresh`` included. Days and weeks are
    those of ``rules.time_zone``.
    """
    cached, fresh = spelled(cached), spelled(fresh)
    return joined([*prep_time.rows(cached, fresh, rules.time_zone), *plans.rows(cached, fresh, rules.time_zone)])
