"""Who takes part in a research activity: metrics 22 to 24."""

from typing import Final

from schemas.metrics.metric import WINDOW_ACTIVITY, Metric
from schemas.metrics.research.activities import PRESENCE_EVENTS

__all__ = ["METRICS"]

_PUBLISHED: Final = "when an `activity.published` is stored"
_WINDOWS: Final = (WINDOW_ACTIVITY,)

METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="participation_rate",
        number=22,
        chinese="参与率",
        english="invited teachers who take part",
        family="research",
        module="meetings",
        unit="share",
        highest=1.0,
        numerator="invited teachers who took part",
        denominator="teachers invited",
        sample="teachers invited",
        exists=_PUBLISHED,
        windows=_WINDOWS,
        direction="higher",
        events=PRESENCE_EVENTS,
        source="District catalogue, metric 22",
    ),
    Metric(
        name="effective_participation_rate",
        number=22,
        chinese="有效参与率",
        english="invited teachers who take part effectively",
        family="research",
        module="meetings",
        unit="share",
        highest=1.0,
        numerator="invited teachers who attended at least 80 % of the scheduled minutes",
        denominator="teachers invited; 0 without a scheduled time",
        sample="the denominator",
        exists=_PUBLISHED,
        windows=_WINDOWS,
        direction="higher",
        events=PRESENCE_EVENTS,
        source="District catalogue, metric 22",
    ),
    Metric(
        name="contributions_per_minute",
        number=23,
        chinese="每分钟贡献数",
        english="contributions per minute",
        family="research",
        module="meetings",
        unit="contributions per attended minute",
        highest=None,
        numerator="`contribution.posted`",
        denominator="minutes that all participants attended, added up",
        sample="those minutes, whole ones",
        exists=_PUBLISHED,
        windows=_WINDOWS,
        direction="higher",
        events=(*PRESENCE_EVENTS, "contribution.posted"),
        source="Person-time incidence rate",
    ),
    Metric(
        name="contribution_gini",
        number=23,
        chinese="贡献基尼系数",
        english="inequality of contributions (Gini)",
        family="research",
        module="meetings",
        unit="0 to 1",
        highest=1.0,
        numerator="sum over all ordered pairs of participants of the difference of their contributions",
        denominator="2 x participants x contributions of all; participants: who took part or contributed, zeros included",
        sample="participants",
        exists=_PUBLISHED,
        windows=_WINDOWS,
        direction="lower",
        events=(*PRESENCE_EVENTS, "contribution.posted"),
        source="Gini's mean difference, relative, without correction (Gini 1912)",
        merge="gini",
        parts="the same with the correction n / (n - 1) for few participants (Deltas 2003); NULL for one participant, or "
        "without contributions; nothing without participants",
    ),
    Metric(
        name="cross_school_mix",
        number=24,
        chinese="跨校交流度",
        english="mix of schools among the participants",
        family="research",
        module="meetings",
        unit="0 to 1",
        highest=1.0,
        numerator="entropy, natural logarithm, of those who took part by school (`schoolid` of each one's earliest "
        "`participant.joined` that names one); those without a school are left out",
        denominator="ln(number of their schools, at least 2): a meeting of one school has the mix 0; 0 without a school",
        sample="participants with a school",
        exists=_PUBLISHED,
        windows=_WINDOWS,
        direction="higher",
        events=PRESENCE_EVENTS,
        source="Shannon's entropy, normalised (Pielou 1966); merged as a sum of entropies over a sum of logarithms",
    ),
)
