"""A teacher prepares one plan over the evenings before the lesson, and then teaches it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from deploy.local.simulator.district import School, Teacher
from deploy.local.simulator.draft import KINDS, LAST, Context, Draft, Kind, Script
from deploy.local.simulator.school_day import Timetable, rfc3339

OPENED: Final = KINDS["prep.plan.opened"]
HEARTBEAT: Final = KINDS["prep.heartbeat.recorded"]
EDITED: Final = KINDS["prep.plan.edited"]
ATTACHED: Final = KINDS["prep.resource.attached"]
SHARED: Final = KINDS["prep.plan.shared"]
COEDITED: Final = KINDS["prep.plan.coedited"]
COMPLETED: Final = KINDS["prep.plan.completed"]
REVIEWED: Final = KINDS["prep.plan.reviewed"]
TAUGHT: Final = KINDS["prep.plan.taught"]

PREP_DAYS: Final = 3
_AUDIENCES: Final = ("colleague", "school", "school", "group", "district")
_PLATFORMS: Final = ("national", "municipal", "district", "district", "school")


@dataclass(slots=True)
class Plan:
    """A plan for the teacher's first lesson of ``day``; ``lesson`` is (id, scheduled start in ms) if there is one."""

    school: School
    teacher: Teacher
    day: date
    grade: int
    lesson: tuple[str, int] | None
    timetable: Timetable

    @property
    def plan_id(self) -> str:
        """Id of the plan, unique for teacher and day."""
        return f"plan-{self.teacher.teacher_id}-{self.timetable.label(self.day)}"


def prep_script(plan: Plan, rng: random.Random) -> Script:
    """Tell the sessions of up to ``PREP_DAYS`` days, the review the morning after, and the lesson."""
    days = [days_before for days_before in range(PREP_DAYS, 0, -1) if rng.random() < 0.5] or [1]
    starts = [_session_start_ms(plan, days_before, rng) for days_before in days]
    yield starts[0], []
    context = _context(plan, plan.teacher)
    for number, start_ms in enumerate(starts):
        last = number == len(starts) - 1
        drafts = [
            Draft(time_ms, kind, teacher.device, context, data)
            for time_ms, kind, teacher, data in _session(plan, start_ms, rng, last=last)
        ]
        drafts += [
            Draft(time_ms, COEDITED, editor.device, _context(plan, whose), data)
            for time_ms, editor, data in _coedits(plan, drafts[-1].time_ms, start_ms, rng)
            for whose in (plan.teacher, editor)
        ]
        drafts.sort(key=_time_ms)
        yield starts[number + 1] if not last else _aftermath_ms(plan), drafts
    yield LAST, list(_aftermath(plan, context, rng))


def _context(plan: Plan, teacher: Teacher) -> Context:
    """Return the context of what ``teacher`` is told of the plan."""
    return Context(teacher.teacher_id, plan.plan_id, schoolid=plan.school.school_id)


def _time_ms(draft: Draft) -> int:
    return draft.time_ms


def _session_start_ms(plan: Plan, days_before: int, rng: random.Random) -> int:
    """Afternoons from 16:30 and evenings from 19:00, local time."""
    opens = 990 if rng.random() < 0.4 else 1140
    return plan.timetable.at_ms(plan.day - timedelta(days=days_before), opens + rng.random() * 60)


def _session(plan: Plan, start_ms: int, rng: random.Random, *, last: bool) -> Iterator[tuple[int, Kind, Teacher, str]]:
    owner = plan.teacher
    minutes = 12 + int(rng.random() * 40)
    end_ms = start_ms + minutes * 60_000
    yield start_ms, OPENED, owner, f'{{"course":"{owner.course}","grade":{plan.grade}}}'
    pause = int(rng.random() * minutes * 2)
    for minute in range(1, minutes):
        if pause <= minute < pause + 7:
            continue
        at = start_ms + minute * 60_000
        had_input = "false" if rng.random() < 0.1 else "true"
        yield at + int(rng.random() * 2_000), HEARTBEAT, owner, f'{{"had_input":{had_input}}}'
        if rng.random() < 0.35:
            characters = 1 + int(rng.expovariate(1 / 140))
            substantive = "true" if characters > 25 else "false"
            data = f'{{"characters_changed":{characters},"substantive":{substantive}}}'
            yield at + int(rng.uniform(5_000, 55_000)), EDITED, owner, data
        if rng.random() < 0.06:
            yield at + int(rng.uniform(5_000, 55_000)), ATTACHED, owner, _resource(rng)
    if last and rng.random() < 0.9:
        yield end_ms, COMPLETED, owner, "{}"
        if rng.random() < 0.6:
            audience = _AUDIENCES[int(rng.random() * len(_AUDIENCES))]
            yield end_ms + 20_000, SHARED, owner, f'{{"audience":"{audience}"}}'


def _coedits(plan: Plan, end_ms: int, start_ms: int, rng: random.Random) -> Iterator[tuple[int, Teacher, str]]:
    """Tell what colleagues edit in the plan during a session: now and then for a few minutes."""
    if rng.random() < 0.4:
        editor = _colleague(plan, rng)
        at = int(rng.uniform(start_ms, end_ms))
        for _ in range(1 + int(rng.random() * 3)):
            characters = 1 + int(rng.expovariate(1 / 60))
            owner_id = plan.teacher.teacher_id
            data = f'{{"editor_id":"{editor.teacher_id}","characters_changed":{characters},"owner_id":"{owner_id}"}}'
            yield at, editor, data
            at += int(rng.uniform(20_000, 180_000))


def _resource(rng: random.Random) -> str:
    origin = "reused" if rng.random() < 0.62 else "created"
    platform = "school" if origin == "created" else _PLATFORMS[int(rng.random() * len(_PLATFORMS))]
    resource_id = f"res-{int(rng.random() * 90_000) + 10_000}"
    return f'{{"resource_id":"{resource_id}","origin":"{origin}","platform":"{platform}"}}'


def _colleague(plan: Plan, rng: random.Random) -> Teacher:
    others = [teacher for teacher in plan.school.teachers if teacher is not plan.teacher]
    return others[int(rng.random() * len(others))]


def _aftermath_ms(plan: Plan) -> int:
    """7:30 on the day of the lesson: when reviews may begin."""
    return plan.timetable.at_ms(plan.day, 450)


def _aftermath(plan: Plan, context: Context, rng: random.Random) -> Iterator[Draft]:
    if rng.random() < 0.4:
        reviewer = _colleague(plan, rng)
        score = int(100 * min(1.0, rng.uniform(0.6, 1.02))) / 100
        data = f'{{"reviewer_id":"{reviewer.teacher_id}","score":{score}}}'
        yield Draft(_aftermath_ms(plan) + int(rng.random() * 1_200_000), REVIEWED, reviewer.device, context, data)
    if plan.lesson is not None and rng.random() < 0.95:
        lesson_id, lesson_start_ms = plan.lesson
        data = f'{{"lesson_id":"{lesson_id}","lesson_start":"{rfc3339(lesson_start_ms)}"}}'
        taught_ms = lesson_start_ms + 120_000 + int(rng.random() * 120_000)
        yield Draft(taught_ms, TAUGHT, plan.teacher.device, context, data)
