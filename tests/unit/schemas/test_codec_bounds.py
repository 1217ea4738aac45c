"""Times, names and keys at the edges of what the contract accepts, and all faults of one event."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.codec.columns import Kind, model_fields
from schemas.codec.decode import Reason, decode
from schemas.codec.validate import faults
from schemas.events.event_types import CLASSROOM, MODELS, PREP, RESEARCH, Family
from schemas.export import example
from tests.unit.schemas.event_records import CLOCK, NOW_US, answer, answer_data, key_alone, record, verdict, without


def test_digits_of_a_time_are_cut_off_and_a_leap_second_is_the_next_one() -> None:
    """What is stored of the forms that RFC 3339 allows beside the usual one, in microseconds."""
    texts = ["2026-11-16t08:05:12.1234569999z", "2026-06-30T23:59:60.25Z", "2026-07-01T00:00:00.25Z"]
    decoded = decode(CLASSROOM, [record(answer(time=text)) for text in texts], clock=CLOCK, now_us=NOW_US)
    assert decoded.events["time_us"].to_list() == [1_794_816_312_123_456, 1_782_864_000_250_000, 1_782_864_000_250_000]


def test_the_record_key_alone_is_the_partition_key_of_the_stored_event() -> None:
    """The column ``key`` holds it in either mode, beside events that say it twice."""
    records = [key_alone(), record(answer()), replace(record(without("partitionkey")), key=key_alone().key)]
    decoded = decode(CLASSROOM, records, clock=CLOCK, now_us=NOW_US)
    assert decoded.events["key"].to_list() == ["lesson-s07-c2-20261116-1"] * 3


@pytest.mark.parametrize("key", [b"", b"a b", "t\u30001".encode(), b"x" * 129, b"\xff"])
def test_the_record_key_alone_is_held_to_the_rules_of_an_identifier(key: bytes) -> None:
    """In prep no other attribute must equal it, so that its own rule alone can reject it, beside keys that are right."""
    event = {**example(PREP, "prep.plan.opened"), "partitionkey": None}
    records = [replace(record(event), key=one) for one in (b"t-1", key, "老师-1".encode())]
    decoded = decode(PREP, records, clock=CLOCK, now_us=NOW_US)
    rejected = [(one.row, one.reason, one.field) for one in decoded.rejects]
    assert rejected == [(1, Reason.KEY, "partitionkey")]
    assert decoded.events["key"].to_list() == ["t-1", "老师-1"]


@pytest.mark.parametrize("character", ["\t", "\n", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066"])
def test_names_hold_no_control_characters(character: str) -> None:
    """A tool's name with a character that a terminal or a page would obey is rejected, where it stands."""
    used = example(CLASSROOM, "classroom.tool.used")
    used["data"]["tool"] = f"投{character}屏"
    rejected = verdict(record(used))
    assert rejected is not None
    assert (rejected.reason, rejected.field) == (Reason.DATA, "data.tool")


@pytest.mark.parametrize("name", ["投 屏", "投\u3000屏", "👩\u200d🏫", "葛\U000e0100"])
def test_names_hold_ordinary_spaces_and_whatever_joins_characters(name: str) -> None:
    """Names are for people: spaces, and what emoji and rare forms of characters are written with, stay allowed."""
    used = example(CLASSROOM, "classroom.tool.used")
    used["data"]["tool"] = name
    decoded = decode(CLASSROOM, [record(used)], clock=CLOCK, now_us=NOW_US)
    assert decoded.events["tool"].to_list() == [name]


FAR = [
    (CLASSROOM, "classroom.lesson.started", "scheduled_start"),
    (CLASSROOM, "classroom.lesson.started", "scheduled_end"),
    (PREP, "prep.plan.taught", "lesson_start"),
    (RESEARCH, "research.activity.published", "scheduled_start"),
    (RESEARCH, "research.activity.published", "scheduled_end"),
    (RESEARCH, "research.feedback.given", "lesson_end"),
]


@pytest.mark.parametrize(("family", "name", "field"), FAR, ids=[f"{name}.{field}" for _, name, field in FAR])
def test_no_time_in_data_lies_far_from_the_events_own(family: Family, name: str, field: str) -> None:
    """366 days before and after are accepted to the microsecond; a day that ClickHouse's Date cannot hold never is."""
    event = {**example(family, name), "time": "2026-11-16T00:00:00Z", "recordedtime": None}
    # What the time must not contradict: a schedule has an end after its start, and no lesson ends long after its feedback.
    beside = {"scheduled_start": ("scheduled_end", 1), "scheduled_end": ("scheduled_start", -1)}.get(field)

    def found(text: str, *, near: bool = False) -> tuple[Reason, str | None] | None:
        data = {**event["data"], field: text}
        if near and beside is not None:
            data[beside[0]] = (datetime.fromisoformat(text) + timedelta(minutes=beside[1])).isoformat()
        rejected = verdict(record({**event, "data": data}), family)
        return None if rejected is None else (rejected.reason, rejected.field)

    far = (Reason.DATA, f"data.{field}")
    last = "2026-11-16T12:00:00Z" if field == "lesson_end" else "2027-11-16T23:58:59Z"
    assert [found(text, near=True) for text in (last, "2025-11-15T08:01:00+08:00")] == [None, None]
    outside = ["2027-11-17T00:00:00.000001Z", "2025-11-14T23:59:59.999999Z", "1970-01-01T00:00:00+23:59"]
    outside += ["2148-12-31T23:59:59-23:59", "2149-06-07T00:00:00Z", "2036-11-16T00:00:00Z"]
    assert [found(text) for text in outside] == [far] * len(outside)


def test_the_type_tests_name_every_time_in_data() -> None:
    """A time that is added to a model is added to the test of bounds too."""
    times = {
        (name, field)
        for name, model in MODELS.items()
        for field, declared in model_fields(model).items()
        if declared.rule.kind is Kind.TIMESTAMP
    }
    assert times == {(name, field) for _, name, field in FAR}


def test_all_faults_of_an_event_are_found_and_the_first_decides() -> None:
    """Attributes, type, key, fields and other times are all named; what hangs on another fault is not guessed."""
    event = answer_data(score=2, latency_ms="x")
    event |= {"id": "a b", "subject": "other", "recordedtime": "2036-01-01T00:00:00Z"}
    limits: dict[str, Any] = {"clock": CLOCK, "now_us": NOW_US, "max_value_bytes": 1_048_576}
    found = faults(CLASSROOM, replace(record(event), key=b"x"), **limits)
    assert [fault.field for fault in found] == [
        *("id", "partitionkey", "subject", "data.score", "data.latency_ms", "recordedtime"),
    ]
    assert faults(CLASSROOM, record(answer()), **limits) == []
    unknown = {**answer_data(score=2), "type": "x", "dataschema": "urn:x:2.0", "time": "2000-01-01T00:00:00Z"}
    assert [fault.field for fault in faults(CLASSROOM, record(unknown), **limits)] == ["type", "dataschema", "time"]


@pytest.mark.parametrize(
    ("family", "name", "data", "field"),
    [
        (CLASSROOM, "classroom.lesson.started", {"scheduled_end": "2026-11-16T08:00:00+08:00"}, "scheduled_end"),
        (CLASSROOM, "classroom.lesson.started", {"scheduled_end": "2026-11-16T07:59:00+08:00"}, "scheduled_end"),
        (CLASSROOM, "classroom.lesson.started", {"scheduled_end": "2026-11-16T20:00:01+08:00"}, "scheduled_end"),
        (CLASSROOM, "classroom.lesson.started", {"scheduled_end": "2026-11-16T20:00:00+08:00"}, None),
        (RESEARCH, "research.activity.published", {"scheduled_end": "2026-11-25T14:00:01+08:00"}, "scheduled_end"),
        (RESEARCH, "research.activity.published", {"scheduled_end": "2026-11-25T14:00:00+08:00"}, None),
        (RESEARCH, "research.feedback.given", {"lesson_end": "2026-12-30T08:40:00+08:00"}, "lesson_end"),
        (CLASSROOM, "classroom.speech.recorded", {"speaker": "student", "fias_code": 5}, "fias_code"),
        (CLASSROOM, "classroom.speech.recorded", {"speaker": "teacher", "fias_code": 9}, "fias_code"),
        (CLASSROOM, "classroom.speech.recorded", {"speaker": "silence", "fias_code": 1}, "fias_code"),
        (CLASSROOM, "classroom.speech.recorded", {"speaker": "student", "fias_code": 10}, None),
        (CLASSROOM, "classroom.speech.recorded", {"speaker": "both", "fias_code": 4}, None),
    ],
)
def test_fields_that_contradict_each_other_are_rejected(
    family: Family, name: str, data: dict[str, Any], field: str | None
) -> None:
    """A timetable that ends before it starts, a lesson that ends long after its feedback, a student who lectures."""
    event = example(family, name)
    rejected = verdict(record({**event, "data": {**event["data"], **data}}), family)
    assert (rejected and (rejected.reason, rejected.field)) == (field and (Reason.DATA, f"data.{field}"))
