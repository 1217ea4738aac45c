"""How long a teacher prepares, and on which weekdays: metrics 16 and 17."""

from typing import Final

from schemas.metrics.metric import DAY_US, MINUTE_US, WINDOW_7D, WINDOW_ISO_WEEK, Metric

__all__ = ["LONGEST_DAY_US", "METRICS", "PREP_ACTIVITY_TYPES", "PREP_GAP_US"]

#: A longer silence ends a stretch of preparation.
PREP_GAP_US: Final = 5 * MINUTE_US

#: No local day counts for more: what a device reports beyond is no person's work. The bound is ours.
LONGEST_DAY_US: Final = DAY_US // 2

#: The event types that are a teacher's own preparation (metric 16).
PREP_ACTIVITY_TYPES: Final = (
    "prep.plan.opened",
    "prep.heartbeat.recorded",
    "prep.plan.edited",
    "prep.plan.coedited",
    "prep.resource.attached",
    "prep.plan.shared",
    "prep.plan.completed",
)

_ACTIVITIES: Final = tuple(name.removeprefix("prep.") for name in PREP_ACTIVITY_TYPES)
_WEEKLY: Final = (WINDOW_7D, WINDOW_ISO_WEEK)

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="active_prep_minutes",
        number=16,
        chinese="有效备课时长",
        english="active preparation time of those who prepared",
        family="prep",
        module="prep_time",
        unit="minutes",
        highest=7 * LONGEST_DAY_US / MINUTE_US,
        numerator="minutes between consecutive activities of the teacher that are at most 5 minutes apart, 720 a local day "
        "at most; a gap over midnight counts to both days with the part inside. Activities are the events below, but for a "
        "heartbeat without input (`had_input` false) and a `plan.coedited` by somebody else (`editor_id`)",
        denominator="1",
        sample="activities in the window",
        exists="when an activity of the teacher lies in the window",
        windows=_WEEKLY,
        direction="context",
        events=_ACTIVITIES,
        source="Sessionisation with a 5 minute gap; the district's average is 12 h a week",
    ),
    Metric(
        name="prep_regularity",
        number=17,
        chinese="备课规律性",
        english="regularity of preparation",
        family="prep",
        module="prep_time",
        unit="0 to 1",
        highest=1.0,
        numerator="entropy, natural logarithm, of the minutes of active_prep_minutes by local weekday, Monday to Friday; 0 "
        "without any on those days",
        denominator="ln 5; 0 without any minutes, those of the weekend included",
        sample="activities in the window",
        exists="when an activity of the teacher lies in the window",
        windows=_WEEKLY,
        direction="higher",
        events=_ACTIVITIES,
        source="Shannon's entropy, normalised (Pielou 1966); merged as a sum of entropies over a sum of logarithms",
        parts="active minutes on Monday, ..., Sunday",
    ),
)
