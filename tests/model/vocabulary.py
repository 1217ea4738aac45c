"""Records of a small vocabulary: few keys, people and moments, so that events meet, repeat and come late all the time."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from schemas.events.event_types import CLASSROOM, RESEARCH, schema_uri, type_uri
from streams.pipeline.batch import TopicPartition

BASE_US = 1_794_787_200_000_000
MINUTE_US = 60_000_000
PLACES: tuple[TopicPartition, ...] = ((CLASSROOM.topic, 0), (CLASSROOM.topic, 1), (RESEARCH.topic, 0))
KINDS = ("fresh", "fresh", "fresh", "again", "again at another time", "late", "malformed")

_MINUTES = (0, 1, 4, 5, 10, 11)
_PEOPLE = ("ann", "bo", "chen")
_PROMPTS = ("q1", "q2")
_MALFORMED = (b"not json", None, b"{}", b'{"specversion": "1.0", "id": 5}', b"\xff\xfe")


@dataclass(frozen=True)
class Record:
    """A Kafka record; two records never have the same timestamp."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Batch:
    """What a fetch covers of one partition."""

    topic: str
    partition: int
    records: Sequence[Record]
    start: int
    next_offset: int


@dataclass(frozen=True)
class Told:
    """What a device says: the event, and its identity and time; only the value where it is none."""

    key: str
    value: bytes | None
    identity: tuple[str, str, str] | None = None
    time_us: int = 0

    def is_event(self) -> bool:
        """Whether the record is one."""
        return self.identity is not None


def tell(place: TopicPartition, kind: str, seed: int, number: int, earlier: Sequence[Told]) -> Told:
    """Return the ``number``-th thing told to a partition; ``seed`` decides what a kind leaves open."""
    choose = random.Random(seed)
    key = f"{place[0].rsplit('.', 1)[1]}-{place[1]}-{choose.randrange(2)}"
    if kind == "malformed":
        return Told(key, choose.choice(_MALFORMED))
    events = [told for told in earlier if told.is_event()]
    if kind == "again" and events:
        return choose.choice(events)
    minute = choose.choice(_MINUTES)
    if kind == "late":
        minute -= choose.choice((60, 6 * 24 * 60))
    time_us = BASE_US + minute * MINUTE_US
    if kind == "again at another time" and events:
        key, source, identifier = choose.choice(events).identity or ("", "", "")
        return _event(place, key, source, identifier, time_us, choose)
    return _event(place, key, f"/d/{choose.randrange(2)}", f"e{number}", time_us, choose)


def _event(place: TopicPartition, key: str, source: str, identifier: str, time_us: int, choose: random.Random) -> Told:
    name, data = (_lesson if place[0] == CLASSROOM.topic else _activity)(choose)
    body = {
        "specversion": "1.0",
        "id": identifier,
        "source": source,
        "type": type_uri(name),
        "time": _text(time_us),
        "subject": key,
        "dataschema": schema_uri(name),
        "partitionkey": key,
        "data": data,
    }
    return Told(key, json.dumps(body).encode(), (key, source, identifier), time_us)


def _lesson(choose: random.Random) -> tuple[str, dict[str, object]]:
    student, prompt = choose.choice(_PEOPLE), choose.choice(_PROMPTS)
    started: dict[str, object] = {
        "teacher_id": "t1",
        "course": "数学",
        "grade": 5,
        "mode": "standard",
        "roster": list(_PEOPLE[:2]),
        "scheduled_start": _text(BASE_US),
        "scheduled_end": _text(BASE_US + 10 * MINUTE_US),
    }
    choices: list[tuple[str, dict[str, object]]] = [
        ("classroom.lesson.started", started),
        ("classroom.attendance.joined", {"student_id": student}),
        ("classroom.attendance.joined", {"student_id": student}),
        ("classroom.attendance.left", {"student_id": student}),
        ("classroom.question.asked", {"prompt_id": prompt}),
        ("classroom.question.closed", {"prompt_id": prompt}),
        ("classroom.answer.submitted", {"student_id": student, "prompt_id": prompt}),
        ("classroom.hand.raised", {"student_id": student}),
        ("classroom.lesson.ended", {}),
    ]
    return choose.choice(choices)


def _activity(choose: random.Random) -> tuple[str, dict[str, object]]:
    published: dict[str, object] = {
        "host_id": "t9",
        "mode": "seminar",
        "invited": list(_PEOPLE[:2]),
        "scheduled_start": _text(BASE_US),
        "scheduled_end": _text(BASE_US + 10 * MINUTE_US),
    }
    teacher: dict[str, object] = {"teacher_id": choose.choice(_PEOPLE)}
    return choose.choice(
        [
            ("research.activity.published", published),
            ("research.participant.joined", teacher),
            ("research.participant.joined", teacher),
            ("research.participant.left", teacher),
        ]
    )


def _text(time_us: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
