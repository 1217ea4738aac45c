"""What becomes of a teacher's plans: metrics 18 to 21. Formulas: ``schemas/metrics/prep/plans.py``."""

from typing import Any, Final

import polars as pl

from schemas.metrics.metric import SECOND_US, WINDOW_7D, WINDOW_28D, WINDOW_ISO_WEEK, Window
from schemas.metrics.prep.plans import BULK_PERCENT, LEAD_REACH_US, TAUGHT_WITHIN_US
from streams.core.days import days_in, local_day, windows_of, with_bounds
from streams.core.rows import metric_rows

_EDITED, _COEDITED = "prep.plan.edited", "prep.plan.coedited"
_ATTACHED = "prep.resource.attached"
_COMPLETED, _TAUGHT = "prep.plan.completed", "prep.plan.taught"
_TYPES = (_EDITED, _COEDITED, _ATTACHED, _COMPLETED, _TAUGHT)

_PLAN = ["key", "subject"]
_PLACE = ["key", "first_day"]
#: How a lesson finds what is nearest to it of its plan.
_BY_PLAN: Final[dict[str, Any]] = {"by": _PLAN, "check_sortedness": False}
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
    taught = _of_type(known, _TAUGHT).select(*_PLAN, "day", "lesson_start_us")
    # What is done to a plan may belong to every later lesson that the plan is taught in, as far as it reaches.
    done = new.filter(_is_work() | (pl.col("type") == _COMPLETED)).select(*_PLAN, done_us="time_us")
    affected = taught.join(done, on=_PLAN).filter(
        pl.col("lesson_start_us").is_between(pl.col("done_us"), pl.col("done_us") + LEAD_REACH_US)
    )
    touched = pl.concat([_days(_of_type(new, _TAUGHT)), _days(affected)])
    lead_us = pl.col("lesson_start_us") - pl.col("ready_us")
    leads = _with_ready(taught, known).select("key", "day", lead=lead_us / float(SECOND_US))
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


def _is_work() -> pl.Expr:
    """Tell which events change the plan by more than spelling."""
    kind = pl.col("type")
    return (pl.col("characters_changed") > 0) & (((kind == _EDITED) & pl.col("substantive")) | (kind == _COEDITED))


def _with_ready(taught: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Add to ``taught`` when the plan was ready for the lesson (``ready_us``), NULL where it is not known.

    The characters changed until each moment are a running sum of the plan. At the lesson's start and at the beginning of
    its reach it says how many belong to the lesson, and so at which sum there were enough of them.
    """
    work = (
        known.filter(_is_work())
        .group_by(*_PLAN, pl.col("time_us").alias("ready_us"))
        .agg(pl.col("characters_changed").sum())
        .sort("ready_us")
        .select(*_PLAN, "ready_us", changed=pl.col("characters_changed").cum_sum().over(_PLAN))
    )
    completed = _of_type(known, _COMPLETED).select(*_PLAN, completed_us="time_us").sort("completed_us")
    before, until = pl.col("before").fill_null(0), pl.col("until").fill_null(0)
    # Rounded up, in whole numbers, so that exactly 80 % is 80 %.
    enough = before + ((until - before) * BULK_PERCENT + 99) // 100
    with_sums = (
        taught.with_columns(from_us=pl.col("lesson_start_us") - LEAD_REACH_US)
        .sort("from_us")
        .join_asof(work, left_on="from_us", right_on="ready_us", allow_exact_matches=False, **_BY_PLAN)
        .rename({"changed": "before"})
        .drop("ready_us")
        .join_asof(work, left_on="lesson_start_us", right_on="ready_us", **_BY_PLAN)
        .rename({"changed": "until"})
        .drop("ready_us")
        .join_asof(completed, left_on="from_us", right_on="completed_us", strategy="forward", **_BY_PLAN)
        .with_columns(enough=enough, worked=until > before)
    )
    by_work = with_sums.sort("enough").join_asof(
        work.sort("changed"), left_on="enough", right_on="changed", strategy="forward", **_BY_PLAN
    )
    in_time = pl.when(pl.col("completed_us") <= pl.col("lesson_start_us")).then("completed_us")
    return by_work.with_columns(ready_us=pl.when("worked").then("ready_us").otherwise(in_time))


def _co_prep(known: pl.DataFrame, new: pl.DataFrame, time_zone: str) -> list[pl.DataFrame]:
    kind = pl.col("type")
    editing = kind.is_in([_EDITED, _COEDITED])
    editor = pl.when(kind == _EDITED).then("key").otherwise("editor_id")
    edited = known.filter(editing)
    # What an event does not name is NULL as it comes, and empty as it is read back.
    of_others = edited.filter(pl.col("owner_id").fill_null("") != "")
    edits = pl.concat(
        [edited.select(*_PLAN, "day", person=editor), of_others.select(*_PLAN, "day", person="owner_id")]
    ).unique()
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
