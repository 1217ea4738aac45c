"""The portraits (数字画像) of students, teachers, classes, schools and education groups: metrics 28 to 30, declared once.

**Observation.** An entity is observed in a dimension on a local day if the dimension's metric, merged over that day
(``v1_rollup_days``), has a value; a NULL observes nothing. A metric of whole weeks is observed on the week's last day, the
Sunday, since it is not known before; that Sunday counts as one active day.

**28, decayed level.** ``m = sum(w n x) / sum(w n)`` over the entity's observations in this dimension until the day: ``x``
is an observation, ``n`` its sample size (1 where that is 0), and ``w = 2^(-age / h)`` with its age in days and
``HALF_LIFE_DAYS`` as ``h``. So what lies a half-life back counts half, the first observation fades like any other, and a
day of six lessons counts six times a day of one. ``weight`` is ``sum(w n)``. A late event that changes an earlier day
changes all later days too: each gets a new version, the old ones stay.

**29, robust z.** ``z = (m - median) / (1.4826 MAD)`` (Iglewicz and Hoaglin 1993): ``m`` is the entity's level at the end of
the day, median and MAD (the median of the absolute deviations from the median) are those of the peers' last levels within
the day's ISO week. Peers: the entities of the kind with the same ``peer_group`` that were observed in the dimension in that
week, the entity itself among them. It is higher than 0 for a higher level: ``direction`` says whether that is good.
NULL with fewer than ``MIN_PEERS`` peers, when the MAD is 0 (not above ``LEAST_MAD``, which only rounding leaves), and on a
day without an observation. While the week lasts, z moves with every peer; afterwards with late events alone.

**Peer groups** as registered at the end of the ISO week (an entity registered later: as first registered): teachers by
career stage and school subject, students and classes by grade, schools by stage, groups all together. An entity the
registry does not know has none, and no z.

**30, activity.** Active days: local days with an observation in any dimension, among the 7 and the 28 days that end with
the day. An entity is inactive from the ``INACTIVE_DAYS``-th day after its last observation on, if nothing came until that
day was over; one row for each of its dimensions says so on that day, with ``observed`` NULL and the level as it stood.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

__all__ = [
    "ACTIVE_DAYS_LONG",
    "ACTIVE_DAYS_SHORT",
    "DIMENSIONS",
    "HALF_LIFE_DAYS",
    "INACTIVE_DAYS",
    "KINDS",
    "LEAST_MAD",
    "MAD_SCALE",
    "MIN_PEERS",
    "PORTRAIT_VERSION",
    "Dimension",
    "Kind",
]

Kind = Literal["student", "teacher", "class", "school", "group"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

#: Raised by one whenever a formula or a dimension changes its meaning; stored in every row.
PORTRAIT_VERSION: Final = 2

HALF_LIFE_DAYS: Final = 14
#: With fewer peers a comparison would tell about single persons.
MIN_PEERS: Final = 10
#: Makes the MAD of a normal distribution its standard deviation.
MAD_SCALE: Final = 1.4826
#: Levels that should be equal differ by rounding; their deviations measure nothing.
LEAST_MAD: Final = 1e-9
INACTIVE_DAYS: Final = 7
ACTIVE_DAYS_SHORT: Final = 7
ACTIVE_DAYS_LONG: Final = 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One dimension of the portraits of a kind: which merged metric it observes.

    ``metric`` and ``item`` name the metric in ``v1_rollup_days`` at the level of the kind. ``weekly``: the metric is one of
    whole ISO weeks.
    """

    name: str
    chinese: str
    english: str
    metric: str
    direction: Literal["higher", "lower", "context"]
    item: str = ""
    weekly: bool = False
    number: int = 28


_ATTENDANCE: Final = Dimension(
    name="attendance", chinese="出勤", english="attendance", metric="attendance_rate", direction="higher"
)
_ENGAGEMENT: Final = Dimension(
    name="engagement", chinese="课堂参与", english="engagement", metric="engagement_index", direction="higher"
)
_RESPONSE: Final = Dimension(
    name="response", chinese="应答", english="answering", metric="response_rate", direction="higher"
)
_BREADTH: Final = Dimension(
    name="breadth",
    chinese="参与广度",
    english="breadth of participation",
    metric="participation_breadth",
    direction="higher",
)
_CORRECTNESS: Final = Dimension(
    name="correctness", chinese="正确率", english="correct answers", metric="correct_rate", direction="higher"
)
_WAIT: Final = Dimension(
    name="wait", chinese="充分候答", english="enough wait time", metric="long_wait_share", direction="higher"
)
_TALK: Final = Dimension(
    name="teacher_occupancy",
    chinese="教师行为占有",
    english="teacher's share of behaviour",
    metric="teacher_occupancy",
    direction="context",
)
_BALANCE: Final = Dimension(
    name="strategy_balance",
    chinese="五学均衡",
    english="balance of the five strategies",
    metric="strategy_balance",
    direction="higher",
)
_TOOLS: Final = Dimension(
    name="digital_tools",
    chinese="数字工具使用",
    english="time with digital tools",
    metric="tool_share",
    direction="context",
)
_PREP: Final = Dimension(
    name="preparation",
    chinese="有效备课",
    english="active preparation",
    metric="active_prep_minutes",
    direction="context",
    weekly=True,
)
_CO_PREP: Final = Dimension(
    name="co_preparation",
    chinese="协同备课",
    english="preparing together",
    metric="co_prep_rate",
    direction="higher",
    weekly=True,
)
_RESEARCH: Final = Dimension(
    name="research",
    chinese="有效教研参与",
    english="research activities",
    metric="effective_participation_rate",
    direction="higher",
)
_TEACHER_RESEARCH: Final = Dimension(
    name="research",
    chinese="有效教研参与",
    english="research activities",
    metric="teacher_effective_attendance",
    direction="higher",
)

DIMENSIONS: Final[dict[Kind, tuple[Dimension, ...]]] = {
    "student": (
        Dimension(
            name="attendance", chinese="出勤", english="attendance", metric="student_attendance_rate", direction="higher"
        ),
        Dimension(
            name="participation",
            chinese="课堂互动",
            english="interactions",
            metric="student_interactions_per_minute",
            direction="higher",
        ),
        Dimension(
            name="correctness",
            chinese="正确率",
            english="correct answers",
            metric="student_correct_rate",
            direction="higher",
        ),
        Dimension(
            name="assessment",
            chinese="测评成绩",
            english="assessment results",
            metric="student_assessment_score",
            direction="higher",
        ),
        Dimension(
            name="personal_learning",
            chinese="个性学",
            english="personal plans",
            metric="student_plan_steps_per_lesson",
            direction="higher",
        ),
    ),
    "teacher": (_ENGAGEMENT, _WAIT, _TALK, _BALANCE, _TOOLS, _PREP, _CO_PREP, _TEACHER_RESEARCH),
    "class": (_ATTENDANCE, _ENGAGEMENT, _RESPONSE, _BREADTH, _CORRECTNESS, _TOOLS),
    "school": (_ATTENDANCE, _ENGAGEMENT, _RESPONSE, _BREADTH, _TOOLS, _PREP, _RESEARCH),
    "group": (_ATTENDANCE, _ENGAGEMENT, _RESPONSE, _BREADTH, _TOOLS, _PREP, _RESEARCH),
}
