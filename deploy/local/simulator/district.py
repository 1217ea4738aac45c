"""The district: education groups, schools, classes, teachers and students, the same for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from deploy.local.simulator.chance import seeded

COURSES: Final = ("语文", "数学", "英语", "科学", "道德与法治", "信息科技", "音乐", "体育与健康", "美术", "劳动")
CAREER_STAGES: Final = ("novice", "developing", "experienced", "expert")
_CAREER_WEIGHTS: Final = (18, 34, 36, 12)
_STAGE_GRADES: Final = {"primary": (1, 6), "junior": (7, 9), "senior": (10, 12), "combined": (1, 9)}
_STAGES: Final = ("primary", "primary", "junior", "primary", "senior", "junior", "primary", "combined", "junior")
_DIGITS: Final = "零一二三四五六七八九"
#: The district the metrics are for has 17 education groups over 54 schools.
_GROUPS_PER_SCHOOL: Final = 17 / 54
#: A class meets about ten teachers, each teaching several classes: 1.8 teachers a class.
_TEACHERS_PER_CLASS: Final = 1.8


@dataclass(slots=True)
class Device:
    """One source of events. Times in milliseconds; ``skew_ms`` is how far its clock is ahead (negative: behind)."""

    source: str
    skew_ms: int = 0
    sequence: int = 0
    offline_from_ms: int = 0
    offline_until_ms: int = 0


@dataclass(slots=True)
class Student:
    """A student with a lasting temperament: ``activity`` and ``ability`` 0 to 1, ``pace`` a factor on latencies."""

    student_id: str
    device: Device
    activity: float
    ability: float
    pace: float
    progress: float
    #: How every ``data`` object about the student begins.
    head: str


@dataclass(slots=True)
class SchoolClass:
    """A class with its room's terminal; ``climate`` is a factor on how much the whole class takes part."""

    class_id: str
    grade: int
    name: str
    students: list[Student]
    terminal: Device
    climate: float


@dataclass(slots=True)
class Teacher:
    """A teacher; ``lecturing`` 0 to 1 is the share of the talk that is plain lecture."""

    teacher_id: str
    course: str
    career_stage: str
    lecturing: float
    device: Device


@dataclass(slots=True)
class School:
    """A school with its classes and teachers."""

    school_id: str
    name: str
    group_id: str
    stage: str
    classes: list[SchoolClass] = field(default_factory=list)
    teachers: list[Teacher] = field(default_factory=list)

    def teacher_of(self, class_index: int, slot: int, day_number: int) -> Teacher:
        """Return who teaches a class in a slot of a day; never two classes at once."""
        return self.teachers[(class_index + 3 * slot + day_number) % len(self.teachers)]

    def first_lesson_of(self, teacher_index: int, slots: int, day_number: int) -> tuple[int, int] | None:
        """Return the class index and slot of the teacher's first lesson of a day, None when there is none."""
        for slot in range(slots):
            class_index = (teacher_index - 3 * slot - day_number) % len(self.teachers)
            if class_index < len(self.classes):
                return class_index, slot
        return None


@dataclass(slots=True)
class District:
    """All schools, with the ids and names of the education groups, and the office's own device."""

    groups: list[tuple[str, str]]
    schools: list[School]
    office: Device


def build_district(
    seed: int,
    schools: int,
    classes_per_school: int,
    students_per_class: int,
    *,
    skew_share: float = 0.0,
    skew_seconds: float = 0.0,
) -> District:
    """Build the district; clocks draw from their own generator so that skew leaves the people unchanged."""
    rng = seeded(seed, "district")
    clocks = _Clocks(seeded(seed, "clocks"), skew_share, skew_seconds)
    count = max(1, round(schools * _GROUPS_PER_SCHOOL))
    groups = [(f"g{number:02d}", f"第{_chinese(number)}教育集团") for number in range(1, count + 1)]
    built = District(groups, [], Device("/district/registry"))
    teachers_per_school = max(classes_per_school, round(classes_per_school * _TEACHERS_PER_CLASS), 2)
    for index in range(schools):
        school = _school(index, groups[index * count // schools][0])
        for number in range(1, classes_per_school + 1):
            first = (index * classes_per_school + number - 1) * students_per_class + 1
            school.classes.append(_class(school, number, range(first, first + students_per_class), rng, clocks))
        first = index * teachers_per_school + 1
        school.teachers.extend(
            _teacher(school, number, rng, clocks) for number in range(first, first + teachers_per_school)
        )
        built.schools.append(school)
    return built


class _Clocks:
    """Makes devices, some with a wrong clock."""

    def __init__(self, rng: random.Random, skew_share: float, skew_seconds: float) -> None:
        self._rng = rng
        self._skew_share = skew_share
        self._skew_ms = skew_seconds * 1000

    def device(self, school_id: str, name: str) -> Device:
        skewed = self._rng.random() < self._skew_share
        skew_ms = int(self._rng.uniform(-self._skew_ms, self._skew_ms)) if skewed else 0
        return Device(f"/schools/{school_id}/devices/{name}", skew_ms)


def _school(index: int, group_id: str) -> School:
    number = index + 1
    stage = _STAGES[index % len(_STAGES)]
    kind = {"primary": "小学", "junior": "初级中学", "senior": "高级中学", "combined": "学校"}[stage]
    return School(f"s{number:02d}", f"高新区第{_chinese(number)}{kind}", group_id, stage)


def _class(school: School, number: int, student_numbers: range, rng: random.Random, clocks: _Clocks) -> SchoolClass:
    lowest, highest = _STAGE_GRADES[school.stage]
    grade = lowest + (number - 1) % (highest - lowest + 1)
    students = [_student(school.school_id, student, rng, clocks) for student in student_numbers]
    return SchoolClass(
        class_id=f"{school.school_id}-c{number}",
        grade=grade,
        name=f"{_chinese(grade)}年级{number}班",
        students=students,
        terminal=clocks.device(school.school_id, f"terminal-c{number}"),
        climate=rng.uniform(0.75, 1.2),
    )


def _student(school_id: str, number: int, rng: random.Random, clocks: _Clocks) -> Student:
    student_id = f"stu-{number:06d}"
    return Student(
        student_id=student_id,
        device=clocks.device(school_id, f"tablet-{number:06d}"),
        activity=0.03 + 0.97 * rng.betavariate(1.4, 2.0),
        ability=0.25 + 0.73 * rng.betavariate(4.0, 2.5),
        pace=rng.lognormvariate(0.0, 0.3),
        progress=rng.random() * 0.6,
        head=f'{{"student_id":"{student_id}"',
    )


def _teacher(school: School, number: int, rng: random.Random, clocks: _Clocks) -> Teacher:
    teacher_id = f"t-{number:04d}"
    return Teacher(
        teacher_id=teacher_id,
        course=COURSES[number % len(COURSES)],
        career_stage=rng.choices(CAREER_STAGES, _CAREER_WEIGHTS)[0],
        lecturing=rng.uniform(0.1, 0.6),
        device=clocks.device(school.school_id, f"pc-{teacher_id}"),
    )


def _chinese(number: int) -> str:
    """Return 1 to 99 in Chinese numerals."""
    tens, ones = divmod(number, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{_DIGITS[tens]}十"
    return head + (_DIGITS[ones] if ones else "")
