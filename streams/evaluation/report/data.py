"""What a report shows, whoever draws it. Everything is as of one instant, so the same instant gives the same report.

Scores, coverages, weights and shares are numbers from 0 to 1; None is "not known", never 0.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

__all__ = [
    "FEWEST_PEERS",
    "PORTRAIT_DAYS",
    "TREND_WEEKS",
    "Activity",
    "Level",
    "Member",
    "MetricValue",
    "Node",
    "Portrait",
    "Quality",
    "ReportData",
    "ReportKind",
    "Share",
    "Subject",
    "WeekScore",
    "week_days",
]

ReportKind = Literal["school", "teacher", "class", "group"]
#: Weeks of the trend, the report's own included.
TREND_WEEKS: Final = 8
#: Days of a portrait's history that are drawn.
PORTRAIT_DAYS: Final = 7 * TREND_WEEKS
#: With fewer of its kind in the district a comparison would tell about single ones.
FEWEST_PEERS: Final = 10


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom the report is about. ``about`` holds further facts as (Chinese, English, value)."""

    kind: ReportKind
    entity_id: str
    name: str = ""
    about: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One place of the score tree. ``weight`` is its share of the whole; ``figure`` and ``norm`` are an indicator's.

    ``norm`` says in Chinese and English how its metric earns points.
    """

    path: str
    depth: int
    chinese: str
    english: str
    value: float | None
    coverage: float
    weight: float
    is_indicator: bool = False
    figure: float | None = None
    unit: str = ""
    norm: tuple[str, str] | None = None
    sample_size: int = 0

    @property
    def parent(self) -> str:
        """Path of the place above."""
        return self.path.rpartition("/")[0]

    @property
    def lost(self) -> float:
        """What the whole would gain if this earned all points; 0 without a value."""
        return self.weight * (1 - self.value) if self.value is not None else 0.0


@dataclass(frozen=True, slots=True)
class Quality:
    """Of what the scores were computed (metric 32): shares of the school's, the group's or the district's events."""

    received: float | None = None
    late: float | None = None
    duplicate: float | None = None
    dead_letter: float | None = None


@dataclass(frozen=True, slots=True)
class WeekScore:
    """The whole score of one week, given by its Monday."""

    week: date
    value: float | None
    coverage: float


@dataclass(frozen=True, slots=True)
class Level:
    """The decayed level of a portrait at the end of a day (metric 28)."""

    day: date
    level: float


@dataclass(frozen=True, slots=True)
class Portrait:
    """One dimension of the portrait: its levels in order of days, and how the last compares with its peers (metric 29)."""

    chinese: str
    english: str
    unit: str
    direction: str
    levels: tuple[Level, ...]
    z: float | None = None
    peers: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """Days with an observation among the 7 and the 28 days that end with ``day`` (metric 30)."""

    day: date
    days_7: int
    days_28: int


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric of the week. ``before``: of the week before; ``district``: of the whole district, None if not comparable."""

    family: str
    name: str
    chinese: str
    english: str
    unit: str
    direction: str
    value: float | None
    sample_size: int
    keys: int
    before: float | None = None
    district: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole."""

    chinese: str
    english: str
    value: float


@dataclass(frozen=True, slots=True)
class Member:
    """A class of the school or a school of the group, with its score."""

    entity_id: str
    name: str
    value: float | None
    coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything on the page. ``week`` is a Monday. The versions are those of the rows that were read.

    ``nodes`` is the score tree, parents first; empty without a score.
    """

    subject: Subject
    week: date
    as_of: datetime
    time_zone: str
    catalogue_versions: tuple[int, ...] = ()
    portrait_versions: tuple[int, ...] = ()
    config_version: int | None = None
    nodes: tuple[Node, ...] = ()
    quality: Quality = Quality()
    trend: tuple[WeekScore, ...] = ()
    metric_values: tuple[MetricValue, ...] = ()
    strategies: tuple[Share, ...] = ()
    talk: tuple[Share, ...] = ()
    #: Shares of the lessons in each S-T mode.
    modes: tuple[Share, ...] = ()
    portraits: tuple[Portrait, ...] = ()
    activity: Activity | None = None
    #: Whether nothing was observed for a week.
    inactive: bool = False
    members: tuple[Member, ...] = ()

    @property
    def root(self) -> Node | None:
        """The whole score, if there is a tree."""
        return self.nodes[0] if self.nodes else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is known of the week."""
        return not (self.nodes or self.metric_values or self.portraits)

    def children(self, path: str) -> list[Node]:
        """Return the places directly below one."""
        return [node for node in self.nodes if node.path and node.parent == path]

    def indicators(self) -> list[Node]:
        """Return the indicators that have points."""
        return [node for node in self.nodes if node.is_indicator and node.value is not None]

    def metric_value(self, name: str) -> MetricValue | None:
        """Return a metric of the week by its name."""
        return next((metric for metric in self.metric_values if metric.name == name), None)


def week_days(week: date) -> tuple[date, date]:
    """Return the Monday and the Sunday."""
    return week, week + timedelta(days=6)
