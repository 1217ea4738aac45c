"""A research activity: announced, held on a school-day afternoon, reported, and answered by improvements."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from deploy.local.simulator.district import District, Teacher
from deploy.local.simulator.draft import KINDS, LAST, Context, Draft, Kind, Script
from deploy.local.simulator.school_day import LESSON_MS, Timetable, rfc3339

PUBLISHED: Final = KINDS["research.activity.published"]
JOINED: Final = KINDS["research.participant.joined"]
LEFT: Final = KINDS["research.participant.left"]
POSTED: Final = KINDS["research.contribution.posted"]
OBSERVED: Final = KINDS["research.lesson.observed"]
FEEDBACK: Final = KINDS["research.feedback.given"]
REPORT: Final = KINDS["research.report.generated"]
IMPROVEMENT: Final = KINDS["research.improvement.linked"]

#: An activity is announced so many days before it is held.
NOTICE_DAYS: Final = 2
_MODES: Final = (
    "observation",
    "observation",
    "joint_preparation",
    "seminar",
    "training",
    "reflection",
    "other",
)
_CONTRIBUTIONS: Final = ("comment", "comment", "question", "material", "demonstration")

_Told = tuple[int, Kind, Teacher, str]


@dataclass(slots=True)
class Activity:
    """An activity held on ``day``; ``lesson`` is the lesson observed there, as (id, scheduled start in ms)."""

    activity_id: str
    day: date
    district: District
    school_index: int
    lesson: tuple[str, int]
    timetable: Timetable


def research_script(activity: Activity, rng: random.Random) -> Script:
    """Tell the announcement, the meeting, its report, and the improvements of the evening and the next noon."""
    published_ms = activity.timetable.at_ms(activity.day - timedelta(days=NOTICE_DAYS), 600 + rng.random() * 360)
    yield published_ms, []
    schools = activity.district.schools
    home = schools[activity.school_index]
    host = home.teachers[int(rng.random() * len(home.teachers))]
    near = [schools[(activity.school_index + step) % len(schools)] for step in range(min(4, len(schools)))]
    pool = [teacher for school in near for teacher in school.teachers if teacher is not host]
    invited = rng.sample(pool, min(len(pool), 8 + int(rng.random() * 16)))
    mode = "observation" if activity.school_index == 0 else _MODES[int(rng.random() * len(_MODES))]
    start_ms = activity.timetable.at_ms(activity.day, 845)
    end_ms = start_ms + (60 + 15 * int(rng.random() * 4)) * 60_000
    context = Context(activity.activity_id, activity.activity_id, schoolid=home.school_id)
    announcement = (published_ms, PUBLISHED, host, _announcement(host, invited, mode, start_ms, end_ms))
    yield start_ms - 600_000, _drafts([announcement], context)
    meeting = list(_meeting(activity, host, invited, mode=mode, span_ms=(start_ms, end_ms), rng=rng))
    yield LAST, _drafts(meeting, context)


def _drafts(told: list[_Told], context: Context) -> list[Draft]:
    return [
        Draft(time_ms, kind, teacher.device, context, data)
        for time_ms, kind, teacher, data in sorted(told, key=lambda event: event[0])
    ]


def _announcement(host: Teacher, invited: list[Teacher], mode: str, start_ms: int, end_ms: int) -> str:
    names = ",".join(f'"{teacher.teacher_id}"' for teacher in invited)
    times = f'"scheduled_start":"{rfc3339(start_ms)}","scheduled_end":"{rfc3339(end_ms)}"'
    return f'{{"host_id":"{host.teacher_id}","mode":"{mode}","invited":[{names}],{times}}}'


def _meeting(
    activity: Activity,
    host: Teacher,
    invited: list[Teacher],
    *,
    mode: str,
    span_ms: tuple[int, int],
    rng: random.Random,
) -> Iterator[_Told]:
    end_ms = span_ms[1]
    yield from _attendance(host, span_ms, rng, late=False)
    feedback: list[str] = []
    for number, teacher in enumerate(invited):
        if rng.random() < 0.2:
            continue
        yield from _attendance(teacher, span_ms, rng, late=rng.random() < 0.15)
        if mode == "observation" and rng.random() < 0.8:
            feedback_id = f"fb-{activity.activity_id}-{number:02d}"
            given_ms = end_ms - int(rng.random() * 900_000)
            feedback.append(feedback_id)
            yield from _observation(activity, teacher, feedback_id, given_ms, rng)
    yield end_ms + 1_800_000, REPORT, host, f'{{"report_id":"rep-{activity.activity_id}"}}'
    for number, feedback_id in enumerate(feedback):
        if number == 0 or rng.random() < 0.55:
            data = (
                f'{{"teacher_id":"{host.teacher_id}","feedback_id":"{feedback_id}",'
                f'"improvement_id":"imp-{feedback_id[3:]}"}}'
            )
            yield _improvement_ms(activity, rng), IMPROVEMENT, host, data


def _improvement_ms(activity: Activity, rng: random.Random) -> int:
    """The same evening, or noon of the next day."""
    if rng.random() < 0.6:
        return activity.timetable.at_ms(activity.day, 1140 + rng.random() * 100)
    return activity.timetable.at_ms(activity.day + timedelta(days=1), 725 + rng.random() * 60)


def _attendance(teacher: Teacher, span_ms: tuple[int, int], rng: random.Random, *, late: bool) -> Iterator[_Told]:
    start_ms, end_ms = span_ms
    who = f'{{"teacher_id":"{teacher.teacher_id}"'
    joined_ms = start_ms + int(rng.uniform(600_000, 2_400_000) if late else rng.uniform(-480_000, 120_000))
    left_ms = end_ms + int(rng.uniform(0, 240_000) if rng.random() < 0.85 else rng.uniform(-1_800_000, 0))
    left_ms = max(left_ms, joined_ms + 60_000)
    yield joined_ms, JOINED, teacher, who + "}"
    for _ in range(int(rng.expovariate(1 / 3.0))):
        kind = _CONTRIBUTIONS[int(rng.random() * len(_CONTRIBUTIONS))]
        time_ms = joined_ms + int(rng.random() * (left_ms - joined_ms))
        characters = 5 + int(rng.expovariate(1 / 150))
        yield time_ms, POSTED, teacher, f'{who},"kind":"{kind}","characters":{characters}}}'
    yield left_ms, LEFT, teacher, who + "}"


def _observation(
    activity: Activity, teacher: Teacher, feedback_id: str, given_ms: int, rng: random.Random
) -> Iterator[_Told]:
    lesson_id, lesson_start_ms = activity.lesson
    scores = ",".join(str(int(20 * min(1.0, rng.uniform(0.5, 1.05))) / 20) for _ in range(6))
    data = f'{{"teacher_id":"{teacher.teacher_id}","lesson_id":"{lesson_id}","rubric_scores":[{scores}]}}'
    yield given_ms - 300_000, OBSERVED, teacher, data
    lesson_end = rfc3339(lesson_start_ms + LESSON_MS)
    data = (
        f'{{"teacher_id":"{teacher.teacher_id}","feedback_id":"{feedback_id}",'
        f'"lesson_id":"{lesson_id}","lesson_end":"{lesson_end}"}}'
    )
    yield given_ms, FEEDBACK, teacher, data
