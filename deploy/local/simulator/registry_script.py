"""The registry's nightly sync: every group, school, class, roster and teacher, and one entry that is retired."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deploy.local.simulator.district import District, School
from deploy.local.simulator.draft import KINDS, Context, Draft, Kind, Script

_GROUP = KINDS["registry.group.registered"]
_SCHOOL = KINDS["registry.school.registered"]
_CLASS = KINDS["registry.class.registered"]
_TEACHER = KINDS["registry.teacher.registered"]
_ROSTER = KINDS["registry.roster.registered"]
_RETIRED = KINDS["registry.entry.retired"]
#: A teacher who left before the school year; retiring an unknown entry must be harmless.
_RETIRED_TEACHER = "t-9901"
_STEP_MS = 20

_Entry = tuple[Kind, Context, str]


def registry_script(district: District, start_ms: int) -> Script:
    """Tell the whole registry, groups before schools before classes and teachers, ``_STEP_MS`` apart."""
    yield start_ms, []
    time_ms = start_ms
    for entries in _pieces(district):
        drafts = []
        for kind, context, data in entries:
            drafts.append(Draft(time_ms, kind, district.office, context, data))
            time_ms += _STEP_MS
        yield time_ms, drafts


def _pieces(district: District) -> Iterator[list[_Entry]]:
    yield [(_GROUP, Context(group_id, group_id), _json(name=name)) for group_id, name in district.groups]
    for school in district.schools:
        yield list(_school_entries(school))
    yield [(_RETIRED, Context(_RETIRED_TEACHER, _RETIRED_TEACHER), "{}")]


def _school_entries(school: School) -> Iterator[_Entry]:
    school_id = school.school_id
    yield (
        _SCHOOL,
        Context(school_id, school_id, schoolid=school_id),
        _json(name=school.name, group_id=school.group_id, stage=school.stage),
    )
    for school_class in school.classes:
        class_id = school_class.class_id
        context = Context(class_id, class_id, schoolid=school_id, classid=class_id)
        yield _CLASS, context, _json(school_id=school_id, grade=school_class.grade, name=school_class.name)
        yield _ROSTER, context, _json(students=[student.student_id for student in school_class.students])
    for teacher in school.teachers:
        context = Context(teacher.teacher_id, teacher.teacher_id, schoolid=school_id)
        yield (
            _TEACHER,
            context,
            _json(school_id=school_id, course=teacher.course, career_stage=teacher.career_stage),
        )


def _json(**data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
