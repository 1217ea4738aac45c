"""What to simulate: the size of the district, the day, the number of records and the disturbances."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from deploy.local.simulator.school_day import LESSON_SLOTS, Timetable, last_school_day, school_days

FULL_DISTRICT_SCHOOLS: Final = 54
FULL_CLASSES_PER_SCHOOL: Final = 15
FAMILY_NAMES: Final = ("registry", "prep", "research", "classroom")
#: Lessons of the morning: a run of N records is sized to fill this many slots.
MORNING_SLOTS: Final = 5
#: Workers take a clock up to one hour ahead of the record's timestamp; every tolerated skew must stay below.
ACCEPTED_AHEAD_SECONDS: Final = 3600
#: Workers take nothing older than 2020; the margin leaves room for the days of preparation and for skewed clocks.
EARLIEST_DATE: Final = date(2020, 2, 1)
LATEST_DATE: Final = date(2160, 12, 31)
#: Records of a lesson, on average: speech and teacher, and those of each student. Measured.
LESSON_BASE_RECORDS: Final = 545
LESSON_RECORDS_PER_STUDENT: Final = 14
#: Lessons vary; a day too many is harmless, a day too few would run past the date.
_DAYS_MARGIN: Final = 1.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """How the way from the devices to Kafka spoils the stream. Shares are 0 to 1 of events (or as stated).

    A disturbed event has one of disorder, late, duplicate, wild clock, malformed; being offline comes on top.
    The default disturbs nothing.
    """

    disorder_share: float = 0.0
    disorder_seconds: float = 20.0
    duplicate_share: float = 0.0
    duplicate_seconds: float = 900.0
    #: Share of the duplicates that carry another ``time`` than the original.
    retimed_share: float = 0.05
    late_share: float = 0.0
    late_seconds: float = 10_800.0
    #: Share of the tablets of a lesson that lose the network for some minutes.
    offline_share: float = 0.0
    offline_seconds: float = 420.0
    #: Share of the devices whose clock is wrong by at most ``skew_seconds``.
    skew_share: float = 0.0
    skew_seconds: float = 45.0
    #: Share of events stamped decades ahead or in 1970: dead letters.
    wild_clock_share: float = 0.0
    malformed_share: float = 0.0
    #: Names from ``malformed.KINDS``; empty means all of them.
    malformed_kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (field for field in self.__slots__ if field.endswith("_share")):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share between 0 and 1")
        if self.event_share > 1.0:
            raise ValueError(f"the shares of disturbed events add up to {self.event_share:.3f}; keep them within 1")
        for name in (field for field in self.__slots__ if field.endswith("_seconds")):
            if not 0.0 < getattr(self, name) <= 86_400.0:
                raise ValueError(f"{name} is {getattr(self, name)}; give more than 0 and at most 86400 seconds")
        if self.skew_seconds >= ACCEPTED_AHEAD_SECONDS / 2:
            raise ValueError("skew_seconds must stay below 1800: beyond, skewed events would be dead letters")

    @property
    def event_share(self) -> float:
        """Share of events that are disturbed one by one."""
        return self.disorder_share + self.late_share + self.duplicate_share + self.wild_clock_share + self.malformed_share

    @classmethod
    def realistic(cls) -> Disturbance:
        """What a district's network does on an ordinary day."""
        return cls(
            disorder_share=0.03,
            duplicate_share=0.01,
            late_share=0.003,
            offline_share=0.02,
            skew_share=0.05,
            wild_clock_share=0.0002,
            malformed_share=0.0005,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """One run; the same configuration always yields the same records.

    ``events``: exactly so many records (duplicates and dead letters counted), None for whole days.
    ``days``: so many school days up to ``date`` where ``events`` is None.
    ``schools`` and ``classes_per_school``: None sizes the district to ``events``, or takes the full district.
    ``date``: the last simulated school day, None for the last weekday before today in Asia/Shanghai.
    ``shift_ms``: moves every time, and names the ids by the moved times; the same lessons are told.
    """

    seed: int = 1
    events: int | None = None
    days: int = 1
    schools: int | None = None
    classes_per_school: int | None = None
    students_per_class: int = 45
    date: date | None = None
    shift_ms: int = 0
    families: tuple[str, ...] = FAMILY_NAMES
    disturbance: Disturbance = Disturbance()
    #: Share of records in CloudEvents' binary content mode; the others are structured.
    binary_share: float = 0.15
    dual_teacher_share: float = 0.08
    #: Most records held back at once (late, offline, sent again); beyond, the earliest arrives early.
    pending_limit: int = 50_000

    def __post_init__(self) -> None:
        _within("events", self.events, 0, 1_000_000_000)
        _within("days", self.days, 1, 400)
        if self.events is not None and self.days != 1:
            raise ValueError("days and events exclude each other; give one of them")
        _within("schools", self.schools, 1, 99)
        _within("classes_per_school", self.classes_per_school, 1, 60)
        _within("students_per_class", self.students_per_class, 1, 100)
        _within("pending_limit", self.pending_limit, 1, 1_000_000)
        for name in ("binary_share", "dual_teacher_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share between 0 and 1")
        unknown = sorted(set(self.families) - set(FAMILY_NAMES))
        if unknown or not self.families:
            raise ValueError(f"families {unknown or 'none'} unknown; choose from {', '.join(FAMILY_NAMES)}")
        if self.date is not None and not EARLIEST_DATE <= self.date <= LATEST_DATE:
            raise ValueError(f"date {self.date} is outside {EARLIEST_DATE} to {LATEST_DATE}; choose one within")

    def fitted(self) -> FittedConfig:
        """Fill in what was left open: the date, and a district large enough for ``events``."""
        day = self.date or last_school_day(datetime.now(UTC))
        # Two classes in one lesson send as much as two, but for the speech and the teacher.
        base_records = LESSON_BASE_RECORDS / (1 + self.dual_teacher_share)
        lesson_records = int(base_records) + LESSON_RECORDS_PER_STUDENT * self.students_per_class
        schools, classes = self._district_size(lesson_records)
        days = self.days
        if self.events is not None:
            days = max(1, math.ceil(self.events * _DAYS_MARGIN / (schools * classes * len(LESSON_SLOTS) * lesson_records)))
        return FittedConfig(
            config=replace(self, date=day, schools=schools, classes_per_school=classes),
            date=day,
            schools=schools,
            classes_per_school=classes,
            expected_days=days,
        )

    def _district_size(self, lesson_records: int) -> tuple[int, int]:
        if self.events is None:
            return self.schools or FULL_DISTRICT_SCHOOLS, self.classes_per_school or FULL_CLASSES_PER_SCHOOL
        lessons = max(1, math.ceil(self.events / lesson_records))
        slots = min(MORNING_SLOTS, math.ceil(lessons / 3))
        wanted = min(math.ceil(lessons / slots), FULL_DISTRICT_SCHOOLS * FULL_CLASSES_PER_SCHOOL)
        schools = self.schools or min(FULL_DISTRICT_SCHOOLS, max(min(wanted, 3), math.isqrt(wanted)))
        classes = self.classes_per_school or min(FULL_CLASSES_PER_SCHOOL, math.ceil(wanted / schools))
        if self.schools is None:
            schools = min(FULL_DISTRICT_SCHOOLS, math.ceil(wanted / classes))
        return schools, classes


@dataclass(frozen=True, slots=True)
class FittedConfig:
    """A configuration without open ends; ``expected_days`` school days up to ``date`` hold its events."""

    config: SimulationConfig
    date: date
    schools: int
    classes_per_school: int
    expected_days: int

    @property
    def timetable(self) -> Timetable:
        """When the school days are held."""
        return Timetable(self.config.shift_ms)

    @property
    def first_lesson_ms(self) -> int:
        """Scheduled start of the first lesson, milliseconds since the epoch."""
        return self.timetable.at_ms(next(school_days(self.date, self.expected_days)), LESSON_SLOTS[0])


def _within(name: str, value: int | None, lowest: int, highest: int) -> None:
    if value is not None and not lowest <= value <= highest:
        raise ValueError(f"{name} is {value}; give {lowest} to {highest}")
