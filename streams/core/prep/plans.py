"""What becomes of a teacher's plans: metrics 18 to 21. Formulas: ``schemas/metrics/prep/plans.py``."""

import polars as pl

from schemas.metrics.metric import SECOND_US, WINDOW_7D, WINDOW_28D, WINDOW_ISO_WEEK, Window
from schemas.metrics.prep.plans import LEAD_REACH_US, TAUGHT_WITHIN_US
from streams.core.days import days_in, local_day, windows_of, with_bounds
from streams.core.rows import metric_rows

_EDITED, _COEDITED = "prep.plan.edited", "prep.plan.coedited"
_ATTACHED = "prep.resource.attached"
_COMPLETED, _TAUGHT = "prep.plan.completed", "prep.plan.taught"
_TYPES = (_EDITED, _COEDITED, _ATTACHED, _COMPLETED, _TAUGHT)

_PLAN = ["key", "subject"]
_PLACE = ["key", "first_day"]
_WEEKLY = (WINDOW_7D, WINDOW_ISO_WEEK)
_MONTHLY = (WINDOW_28D, WINDOW_ISO_WEEK)


def rows(cached: pl.DataFrame, fresh: pl.DataFrame, time_zone: str) -> list[pl.DataFrame]:
    """Return the rows of the metrics, over 7 or 28 days and over ISO weeks."""
    known, new = (_of_plans(events, time_zone) for events in (cached, fresh))
    return [
        *_lead_times(known, new, time_zone),
        *_co_prep(known, new, time_zone),
        *_reuse(known, new, time_zone),
        *_plans_to_class(known, new, time_zone),
    ]


def _of_plans(events: pl.DataFrame, time_zone: str) -> pl.DataFrame:
    """Return the events that the metrics read, each with its local ``day``."""
    return events.filter(pl.col("type").is_in(_TYPES)).with_columns(day=local_day(pl.col("time_us"), time_zone))


def _lead_times(known: pl.DataFrame, new: pl.DataFrame, time_zone: str) -> list[pl.DataFrame]:
    taught = _of_type(known, _TAUGHT)
    edits = _substantive_edits(known)
    # An edit may belong to every later lesson that the plan is taught in, as far as it reaches.
    affected = taught.join(_substantive_edits(new), on=_PLAN).filter(
        pl.col("lesson_start_us").is_between(pl.col("edited_us"), pl.col("edited_us") + LEAD_REACH_US)
    )
    touched = pl.concat([_days(_of_type(new, _TAUGHT)), _days(affected)])
    lead_us = pl.col("lesson_start_us") - pl.col("edited_us")
    leads = (
        taught.sort("lesson_start_us")
        .join_asof(
            edits.sort("edited_us"),
            left_on="lesson_start_us",
            right_on="edited_us",
            by=_PLAN,
            strategy="backward",
            check_sortedness=False,
        )
        .select("key", "day", lead=pl.when(lead_us <= LEAD_REACH_US).then(lead_us / float(SECOND_US)))
    )
    found = []
    for window in _WEEKLY:
        computed = (
            days_in(windows_of(touched, window), window)
            .join(leads, on=["key", "day"])
            .group_by(_PLACE)
            .agg(
                numerator=pl.col("lead").median().fill_null(0.0),
                sample_size=pl.col("lead").count(),
                parts=pl.col("lead").drop_nulls().sort(),
            )
            .with_columns(denominator=pl.col("sample_size") > 0)
        )
        found.append(metric_rows("lead_time_seconds", window.name, with_bounds(computed, window, time_zone)))
    return found


def _substantive_edits(events: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, subject, edited_us`` of the edits that are more than spelling."""
    edits = events.filter((pl.col("type") == _EDITED) & pl.col("substantive"))
    return edits.select(*_PLAN, edited_us="time_us")


def _co_prep(known: pl.DataFrame, new: pl.DataFrame, time_zone: str) -> list[pl.DataFrame]:
    kind = pl.col("type")
    editing = kind.is_in([_EDITED, _COEDITED])
    person = pl.when(kind == _EDITED).then("key").otherwise("editor_id")
    edits = known.filter(editing).select(*_PLAN, "day", person=person).unique()
    touched = _days(new.filter(editing))
    found = []
    for window in _MONTHLY:
        computed = (
            days_in(windows_of(touched, window), window)
            .join(edits, on=["key", "day"])
            .group_by(*_PLACE, "subject")
            .agg(persons=pl.col("person").n_unique())
            .group_by(_PLACE)
            .agg(numerator=(pl.col("persons") >= 2).sum(), denominator=pl.len())
        )
        found.append(_rates("co_prep_rate", computed, window, time_zone))
    return found


def _reuse(known: pl.DataFrame, new: pl.DataFrame, time_zone: str) -> list[pl.DataFrame]:
    counts = (
        _attached(known).group_by("key", "item", "day").agg(attached=pl.len(), reused=(pl.col("origin") == "reused").sum())
    )
    touched = _attached(new).select("key", "item", "day")
    found = []
    for window in _MONTHLY:
        computed = (
            days_in(windows_of(touched, window), window)
            .join(counts, on=["key", "item", "day"])
            .group_by(*_PLACE, "item")
            .agg(numerator=pl.col("reused").sum(), denominator=pl.col("attached").sum())
        )
        found.append(_rates("reuse_rate", computed, window, time_zone))
    return found


def _attached(events: pl.DataFrame) -> pl.DataFrame:
    """Return ``key, item, day, origin`` of what was attached: once for its platform and once for any."""
    attached = _of_type(events, _ATTACHED)
    items = (pl.col("platform"), pl.lit(""))
    return pl.concat([attached.select("key", "day", "origin", item=item) for item in items])


def _plans_to_class(known: pl.DataFrame, new: pl.DataFrame, time_zone: str) -> list[pl.DataFrame]:
    completed = _of_type(known, _COMPLETED).select(*_PLAN, "day", "time_us")
    changed = new.filter(pl.col("type").is_in([_COMPLETED, _TAUGHT])).select(_PLAN).unique()
    # An earlier completion takes the plan out of the later one's window, which keeps its row.
    touched = _days(completed.join(changed, on=_PLAN, how="semi"))
    earliest = completed.sort("time_us").unique(_PLAN, keep="first", maintain_order=True)
    used = (
        earliest.join(_of_type(known, _TAUGHT).select(*_PLAN, "lesson_start_us"), on=_PLAN)
        .filter(pl.col("lesson_start_us").is_between(pl.col("time_us"), pl.col("time_us") + TAUGHT_WITHIN_US))
        .select(_PLAN)
        .unique()
        .with_columns(used=True)
    )
    plans = earliest.join(used, on=_PLAN, how="left").select("key", "day", used=pl.col("used").fill_null(value=False))
    found = []
    for window in _WEEKLY:
        computed = (
            days_in(windows_of(touched, window), window)
            .join(plans, on=["key", "day"], how="left")
            .group_by(_PLACE)
            .agg(numerator=pl.col("used").sum(), denominator=pl.col("used").count())
        )
        found.append(_rates("plan_to_class_rate", computed, window, time_zone))
    return found


def _of_type(events: pl.DataFrame, name: str) -> pl.DataFrame:
    return events.filter(pl.col("type") == name)


def _days(events: pl.DataFrame) -> pl.DataFrame:
    return events.select("key", "day").unique()


def _rates(metric: str, computed: pl.DataFrame, window: Window, time_zone: str) -> pl.DataFrame:
    placed = with_bounds(computed, window, time_zone).with_columns(sample_size="denominator")
    return metric_rows(metric, window.name, placed)
