"""Which scripts are played on which school day: the registry's sync, plans, research activities, lessons."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice
from typing import Final

from deploy.local.simulator.chance import seeded
from deploy.local.simulator.config import FittedConfig, SimulationConfig
from deploy.local.simulator.district import District
from deploy.local.simulator.draft import Script
from deploy.local.simulator.lesson_script import Lesson, Outages, Side, lesson_script
from deploy.local.simulator.prep_script import PREP_DAYS, Plan, prep_script
from deploy.local.simulator.registry_script import registry_script
from deploy.local.simulator.research_script import NOTICE_DAYS, Activity, research_script
from deploy.local.simulator.school_day import LESSON_SLOTS, previous_school_day, school_days

#: Minutes after midnight: the registry's sync comes before anything else of the day.
_SYNC_MINUTES: Final = 300
_OPENING_MINUTES: Final = 360
_SCHOOLS_PER_ACTIVITY: Final = 6

#: A class, as the index of its school and its own index there.
_Place = tuple[int, int]


def openings(fitted: FittedConfig, district: District) -> Iterator[tuple[int, list[Script]]]:
    """Yield, in time order, scripts and a time (ms) before which they have no draft.

    Never ends when the configuration asks for a number of events: further days follow until there are enough.
    """
    first = True
    pending: list[tuple[int, list[Script]]] = []
    days = school_days(fitted.date, fitted.expected_days)
    at_ms = fitted.timetable.at_ms
    for day in days if fitted.config.events is not None else islice(days, fitted.expected_days):
        opening = previous_school_day(day) - timedelta(days=max(NOTICE_DAYS, PREP_DAYS))
        sync_ms = at_ms(opening if first else day, _SYNC_MINUTES)
        if "registry" in fitted.config.families:
            pending.append((sync_ms, [registry_script(district, sync_ms)]))
        pending.append((at_ms(opening, _OPENING_MINUTES), list(_early_scripts(fitted, district, day))))
        if "classroom" in fitted.config.families:
            pending.append((at_ms(day, LESSON_SLOTS[0]), list(_lessons(fitted, district, day))))
        pending.sort(key=lambda entry: entry[0])
        # A later school day opens at the earliest when its own preparation opens.
        safe_ms = at_ms(opening, _OPENING_MINUTES)
        while pending and pending[0][0] <= safe_ms:
            yield pending.pop(0)
        first = False
    yield from pending


def _early_scripts(fitted: FittedConfig, district: District, day: date) -> Iterator[Script]:
    if "prep" in fitted.config.families:
        yield from _plans(fitted, district, day)
    if "research" in fitted.config.families:
        yield from _activities(fitted, district, day)


def _lessons(fitted: FittedConfig, district: District, day: date) -> Iterator[Script]:
    config = fitted.config
    disturbance = config.disturbance
    offline_ms = int(disturbance.offline_seconds * 1000)
    for slot, minutes in enumerate(LESSON_SLOTS):
        guests = _guests(config, district, day, slot)
        partner = {host: guest for guest, host in guests.items()}
        for place in _places(district):
            if place in guests:
                continue
            taking_part = [place, partner[place]] if place in partner else [place]
            lesson = Lesson(
                lesson_id=_lesson_id(fitted, district, place, day, slot),
                sides=tuple(_side(district, one, day, slot) for one in taking_part),
                start_ms=fitted.timetable.at_ms(day, minutes),
            )
            drawn = _lesson_name(district, place, f"{day:%Y%m%d}", slot)
            outages = Outages(seeded(config.seed, f"outages/{drawn}"), disturbance.offline_share, offline_ms)
            yield lesson_script(lesson, seeded(config.seed, drawn), outages)


def _places(district: District) -> list[_Place]:
    return [
        (school_index, class_index)
        for school_index, school in enumerate(district.schools)
        for class_index in range(len(school.classes))
    ]


def _side(district: District, place: _Place, day: date, slot: int) -> Side:
    school = district.schools[place[0]]
    return Side(school, school.classes[place[1]], school.teacher_of(place[1], slot, day.toordinal()))


def _guests(config: SimulationConfig, district: District, day: date, slot: int) -> dict[_Place, _Place]:
    """Return who takes part in whose lesson: a class of another school that then has none of its own in this slot."""
    rng = seeded(config.seed, f"dual/{day:%Y%m%d}-{slot + 1}")
    guests: dict[_Place, _Place] = {}
    taken: set[_Place] = set()
    places = _places(district)
    for host in places:
        if rng.random() >= config.dual_teacher_share or host in taken:
            continue
        guest = places[int(rng.random() * len(places))]
        if guest[0] != host[0] and guest not in taken:
            taken |= {host, guest}
            guests[guest] = host
    return guests


def _plans(fitted: FittedConfig, district: District, day: date) -> Iterator[Script]:
    guests = [_guests(fitted.config, district, day, slot) for slot in range(len(LESSON_SLOTS))]
    for school_index, school in enumerate(district.schools):
        for teacher_index, teacher in enumerate(school.teachers):
            found = school.first_lesson_of(teacher_index, len(LESSON_SLOTS), day.toordinal())
            lesson, grade = None, school.classes[0].grade
            if found is not None:
                class_index, slot = found
                place = school_index, class_index
                grade = school.classes[class_index].grade
                held_in = guests[slot].get(place, place)
                lesson = _lesson_id(fitted, district, held_in, day, slot), fitted.timetable.at_ms(day, LESSON_SLOTS[slot])
            drawn = f"plan-{teacher.teacher_id}-{day:%Y%m%d}"
            yield prep_script(
                Plan(school, teacher, day, grade, lesson, fitted.timetable), seeded(fitted.config.seed, drawn)
            )


def _activities(fitted: FittedConfig, district: District, day: date) -> Iterator[Script]:
    """Activities of the school day before, so that their improvements can follow on ``day``."""
    held = previous_school_day(day)
    for number, school_index in enumerate(range(0, len(district.schools), _SCHOOLS_PER_ACTIVITY), start=1):
        place = school_index, 0
        held_in = _guests(fitted.config, district, held, 1).get(place, place)
        timetable = fitted.timetable
        lesson = _lesson_id(fitted, district, held_in, held, 1), timetable.at_ms(held, LESSON_SLOTS[1])
        activity_id = f"act-{timetable.label(held)}-{number:02d}"
        activity = Activity(activity_id, held, district, school_index, lesson, timetable)
        yield research_script(activity, seeded(fitted.config.seed, f"act-{held:%Y%m%d}-{number:02d}"))


def _lesson_id(fitted: FittedConfig, district: District, place: _Place, day: date, slot: int) -> str:
    return _lesson_name(district, place, fitted.timetable.label(day), slot)


def _lesson_name(district: District, place: _Place, day: str, slot: int) -> str:
    return f"lesson-{district.schools[place[0]].classes[place[1]].class_id}-{day}-{slot + 1}"
