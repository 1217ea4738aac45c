"""What becomes of a teacher's plans: metrics 18 to 21."""

from typing import Final

from schemas.metrics.metric import DAY_US, WINDOW_7D, WINDOW_28D, WINDOW_ISO_WEEK, Metric

__all__ = ["BULK_PERCENT", "LEAD_REACH_US", "METRICS", "PREP_REACH_US", "TAUGHT_WITHIN_US"]

#: A plan is put to use if it is taught within so long after its completion.
TAUGHT_WITHIN_US: Final = 14 * DAY_US
#: Work longer before the lesson than this belongs to an earlier use of the plan.
LEAD_REACH_US: Final = 28 * DAY_US
#: A plan is ready when so much of its text is there; the bound is ours.
BULK_PERCENT: Final = 80
#: Events so long before a window can change its metrics: a plan is written and completed within a school year.
PREP_REACH_US: Final = 366 * DAY_US

_WEEKLY: Final = (WINDOW_7D, WINDOW_ISO_WEEK)
_MONTHLY: Final = (WINDOW_28D, WINDOW_ISO_WEEK)

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="lead_time_seconds",
        number=18,
        chinese="备课提前量",
        english="how early plans are ready",
        family="prep",
        module="plans",
        unit="seconds",
        highest=None,
        numerator="median over the `plan.taught` in the window of: lesson start - the moment the plan was ready. It is the "
        "earliest moment by which 80 % of the characters were changed that substantive `plan.edited` and `plan.coedited` "
        "changed in the 28 days until the lesson starts: the last comma does not count. Without any such change it is the "
        "earliest `plan.completed` of those 28 days; plans without either are left out; 0 without any",
        denominator="1; 0 without any",
        sample="`plan.taught` of plans of which it is known when they were ready",
        exists="when a `plan.taught` of the teacher lies in the window",
        windows=_WEEKLY,
        direction="higher",
        events=("plan.taught", "plan.edited", "plan.coedited", "plan.completed"),
        source="District catalogue, metric 18; when a plan is ready is ours",
        merge="values",
        quantile=0.5,
        parts="the lead times in seconds, ascending",
    ),
    Metric(
        name="co_prep_rate",
        number=19,
        chinese="协同备课率",
        english="plans prepared together",
        family="prep",
        module="plans",
        unit="share",
        highest=1.0,
        numerator="plans edited in the window by two or more: the teacher (`plan.edited`), others (`editor_id` of "
        "`plan.coedited`) and, where the teacher is the editor of another's plan, its teacher (`owner_id`)",
        denominator="plans edited in the window, by anyone",
        sample="the denominator",
        exists="when a `plan.edited` or `plan.coedited` lies in the window",
        windows=_MONTHLY,
        direction="higher",
        events=("plan.edited", "plan.coedited"),
        source="District catalogue, metric 19",
    ),
    Metric(
        name="reuse_rate",
        number=20,
        chinese="资源复用率",
        english="resources used again",
        family="prep",
        module="plans",
        unit="share",
        highest=1.0,
        numerator="`resource.attached` in the window with origin reused",
        denominator="`resource.attached` in the window",
        sample="the denominator",
        exists="when a `resource.attached` (a platform: of that platform) lies in the window",
        windows=_MONTHLY,
        direction="context",
        events=("resource.attached",),
        item="level of the platform: national, municipal, district, school; empty: any",
        source="District catalogue, metric 20",
    ),
    Metric(
        name="plan_to_class_rate",
        number=21,
        chinese="教案落地率",
        english="plans put to use in class",
        family="prep",
        module="plans",
        unit="share",
        highest=1.0,
        numerator="those plans with a `plan.taught` whose lesson starts at the completion or at most 14 days after it",
        denominator="plans whose earliest `plan.completed` lies in the window",
        sample="the denominator",
        exists="when any `plan.completed` lies in the window; with denominator 0 if none is the earliest of its plan",
        windows=_WEEKLY,
        direction="higher",
        events=("plan.completed", "plan.taught"),
        source="District catalogue, metric 21",
        evidence_us=TAUGHT_WITHIN_US,
    ),
)
