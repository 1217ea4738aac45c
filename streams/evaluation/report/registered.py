"""Names and places of schools, classes, teachers and groups, as the registry said at an instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from clickhouse_connect.driver.client import Client

from sinks.clickhouse.answers import answered
from streams.evaluation.report.data import ReportKind, Subject

__all__ = ["Entity", "Registry"]

_STAGES: Final = {
    "primary": "小学 primary",
    "junior": "初中 junior",
    "senior": "高中 senior",
    "combined": "一贯制 combined",
}
_CAREER: Final = {
    "novice": "新手 novice",
    "developing": "发展 developing",
    "experienced": "成熟 experienced",
    "expert": "专家 expert",
}
_SQL: Final = """SELECT key AS entity_id, splitByChar('.', e.1)[2] AS kind, e.2 AS name, e.3 AS group_id, e.4 AS school_id,
    e.5 AS stage, e.6 AS course, toInt64(ifNull(e.7, 0)) AS grade, e.8 AS career_stage
FROM
(
    SELECT key, argMax((toString(type), name, toString(group_id), toString(school_id), toString(stage), course, grade,
        toString(career_stage)), (time, source, id)) AS e
    FROM events_registry
    WHERE type != 'registry.roster.registered' AND stored_at <= {as_of:DateTime64(3, 'UTC')}
    GROUP BY key
)"""


@dataclass(frozen=True, slots=True)
class Entity:
    """One registration; empty where it names nothing."""

    entity_id: str
    kind: str = ""
    name: str = ""
    group_id: str = ""
    school_id: str = ""
    stage: str = ""
    course: str = ""
    grade: int = 0
    career_stage: str = ""


class Registry:
    """The district's entities; a few thousand, so they are read at once."""

    def __init__(self, entities: Mapping[tuple[str, str], Entity]) -> None:
        self._entities = entities

    @classmethod
    def read(cls, client: Client, as_of: datetime) -> "Registry":
        """Read the latest registration of each entity that was stored up to ``as_of``."""
        found = (Entity(**row) for row in answered(client, _SQL, {"as_of": as_of}).iter_rows(named=True))
        return cls({(entity.kind, entity.entity_id): entity for entity in found})

    def find(self, kind: str, entity_id: str) -> Entity:
        """Return the registration; an empty one if there is none."""
        return self._entities.get((kind, entity_id), Entity(entity_id, kind))

    def schools_of(self, group_id: str) -> list[str]:
        """Return the schools of a group."""
        schools = (entity for (kind, _key), entity in self._entities.items() if kind == "school")
        return sorted(school.entity_id for school in schools if school.group_id == group_id)

    def subject(self, kind: ReportKind, entity_id: str) -> Subject:
        """Return whom a report is about, with what the registry says."""
        entity = self.find(kind, entity_id)
        facts = (
            ("学校", "school", self._name("school", entity.school_id) if kind in {"class", "teacher"} else ""),
            ("教育集团", "group", self._name("group", entity.group_id)),
            ("学段", "stage", _STAGES.get(entity.stage, entity.stage)),
            ("年级", "grade", str(entity.grade) if entity.grade else ""),
            ("学科", "subject", entity.course),
            ("发展阶段", "career stage", _CAREER.get(entity.career_stage, entity.career_stage)),
            ("成员学校", "member schools", str(len(self.schools_of(entity_id))) if kind == "group" else ""),
        )
        return Subject(kind, entity_id, entity.name, tuple(fact for fact in facts if fact[2]))

    def _name(self, kind: str, entity_id: str) -> str:
        return self.find(kind, entity_id).name or entity_id
