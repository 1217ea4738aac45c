"""The events frame: its columns, its values, and that clean batches never leave the columns."""

import json
from dataclasses import replace
from typing import Annotated

import polars as pl
import pytest
from annotated_types import MultipleOf
from pydantic import Field

from schemas.codec import decode as codec
from schemas.codec.columns import ENVELOPE_COLUMNS, model_fields
from schemas.codec.decode import decode, event_columns
from schemas.events.envelope import Data, Envelope
from schemas.events.event_types import CLASSROOM, FAMILIES, PREP, Family
from schemas.export import example
from tests.unit.schemas.event_records import CLOCK, NOW_US, KafkaRecord, answer, answer_data, binary, record

STORED_AS = {
    "string": pl.String(),
    "timestamp": pl.Int64(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "bool": pl.Boolean(),
    "strings": pl.List(pl.String()),
    "floats": pl.List(pl.Float64()),
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_columns_are_the_envelope_then_the_models_fields_by_name(family: Family) -> None:
    """The frame has exactly one column for each field of the family's models, of the field's type."""
    fields = {
        (f"{name}_us" if field.rule.kind.value == "timestamp" else name, STORED_AS[field.rule.kind.value])
        for model in family.models.values()
        for name, field in model_fields(model).items()
    }
    envelope = {name: dtype for name, (dtype, _) in ENVELOPE_COLUMNS.items()}
    expected = list(envelope.items()) + sorted(pair for pair in fields if pair[0] not in envelope)
    assert list(event_columns(family).items()) == expected


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_type_of_the_catalogue_is_decoded_without_the_slow_path(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of each type, in both modes, is accepted in columns alone, with the frame's exact schema."""

    def unexpected(*_: object, **__: object) -> None:
        pytest.fail("a valid event was validated one by one")

    monkeypatch.setattr(codec, "validate", unexpected)
    events = [example(family, name) for name in family.models]
    records = [record(event) for event in events] + [binary(event) for event in events]
    decoded = decode(family, records, clock=CLOCK, now_us=NOW_US)
    assert decoded.events.height == len(records)
    assert dict(decoded.events.schema) == event_columns(family)


def test_an_event_becomes_one_row_of_typed_values() -> None:
    """Each attribute and field lands in its column: times in microseconds, the sequence as a number."""
    decoded = decode(CLASSROOM, [record(answer())], clock=CLOCK, now_us=NOW_US)
    row = {name: value for name, value in decoded.events.row(0, named=True).items() if value is not None}
    assert row == {
        "offset": 7,
        "row": 0,
        "id": "019a8c1e-5b7c-7d3e-9f00-0242ac120002",
        "source": "/schools/s07/devices/tablet-0113",
        "type": "classroom.answer.submitted",
        "time_us": 1_794_787_512_345_000,
        "key": "lesson-s07-c2-20261116-1",
        "subject": "lesson-s07-c2-20261116-1",
        "sequence": 42,
        "schoolid": "s07",
        "classid": "s07-c2",
        "lessonid": "lesson-s07-c2-20261116-1",
        "recordedtime_us": 1_794_787_512_400_000,
        "schema_version": "1.0",
        "student_id": "stu-004211",
        "prompt_id": "q-03",
        "correct": True,
        "score": 0.8,
        "latency_ms": 5400,
    }


def test_a_field_of_another_type_is_not_stored() -> None:
    """``tool`` belongs to another event type: here it is an unknown field, right or wrong, and stays null."""
    for tool in ("投屏", 1, ""):
        decoded = decode(CLASSROOM, [record(answer_data(tool=tool))], clock=CLOCK, now_us=NOW_US)
        assert decoded.events["tool"].to_list() == [None]


def test_the_lesson_of_the_data_and_of_the_envelope_are_two_columns() -> None:
    """``lesson_id`` is the data's, for types that declare it; ``lessonid`` is the envelope's."""
    taught = example(PREP, "prep.plan.taught") | {"lessonid": "elsewhere"}
    opened = example(PREP, "prep.plan.opened") | {"lessonid": "elsewhere"}
    opened["data"]["lesson_id"] = "not declared here"
    events = decode(PREP, [record(taught), record(opened)], clock=CLOCK, now_us=NOW_US).events
    assert events["lesson_id"].to_list() == ["lesson-s07-c2-20261116-1", None]
    assert events["lessonid"].to_list() == ["elsewhere", "elsewhere"]


def test_a_data_field_may_not_bear_the_name_of_an_envelope_column() -> None:
    """Such a model is rejected at start, since one column cannot hold two meanings."""

    class Clash(Data):
        """An event with a field that the envelope has."""

        subject: str = Field(description="Taken.")

    with pytest.raises(TypeError, match="bears the name of an envelope column"):
        event_columns(Family("clash", "", "", {"clash.made": Clash}))


def test_lists_and_their_absence_are_kept_apart() -> None:
    """An empty roster is a list of none; an event without a roster has null."""
    started = example(CLASSROOM, "classroom.lesson.started")
    empty = json.loads(json.dumps(started))
    empty["data"]["roster"] = []
    decoded = decode(CLASSROOM, [record(started), record(empty), record(answer())], clock=CLOCK, now_us=NOW_US)
    assert decoded.events["roster"].to_list() == [["stu-004211", "stu-004212"], [], None]


def test_no_records_give_no_rows_and_the_schema() -> None:
    """An empty batch is an empty frame with every column."""
    decoded = decode(CLASSROOM, [], clock=CLOCK, now_us=NOW_US)
    assert (decoded.events.height, decoded.rejects) == (0, [])
    assert dict(decoded.events.schema) == event_columns(CLASSROOM)


def test_modes_may_alternate_within_a_batch() -> None:
    """Structured and binary records with different headers come out in offset order."""
    makers = (record, binary, lambda event: KafkaRecord(*_without_school(event)))
    records = []
    for offset in range(30):
        made = makers[offset % 3](answer(id=str(offset)))
        records.append(KafkaRecord(made.key, made.value, made.headers, offset))
    decoded = decode(CLASSROOM, records, clock=CLOCK, now_us=NOW_US)
    assert decoded.rejects == []
    assert decoded.events["id"].to_list() == [str(offset) for offset in range(30)]
    assert decoded.events["schoolid"].null_count() == 10


def test_wrong_records_among_thousands_are_taken_out_alone() -> None:
    """Whatever reading stumbles over, in any block, one or many together: those are rejected, the others come in order."""
    texts = {
        17: b'{"specversion":',
        999: (record(answer_data(latency_ms=1.5)).value or b""),
        1_000: (record(answer_data(score="x")).value or b""),
        1_001: (record(answer()).value or b"") * 2,
        2_400: b"no JSON",
        2_401: (record(answer()).value or b"")[:-1] + b',"other":NaN}',
        2_402: (record(answer()).value or b"")[:-1] + b',"other":"\xff"}',
        3_900: (record(answer_data(latency_ms=2)).value or b"").replace(b": 2", b": 2e0"),
        **dict.fromkeys(range(3_100, 3_140), b'{"specversion":1}'),
    }
    records = []
    for offset in range(4_000):
        good = (record if offset % 3 else binary)(answer(id=str(offset)))
        headers = good.headers if offset not in texts else ()
        records.append(KafkaRecord(good.key, texts.get(offset, good.value), headers, offset))
    decoded = decode(CLASSROOM, records, clock=CLOCK, now_us=NOW_US)
    assert [rejected.row for rejected in decoded.rejects] == sorted(texts)
    assert decoded.events["id"].to_list() == [str(offset) for offset in range(4_000) if offset not in texts]
    assert decoded.events["offset"].to_list() == [offset for offset in range(4_000) if offset not in texts]


def test_headers_may_be_lists() -> None:
    """A consumer may give the headers of a record as a list or as a tuple: the events are the same."""
    records = [make(answer(id=str(offset))) for offset, make in enumerate([record, binary, record, binary])]
    records = [KafkaRecord(one.key, one.value, (*one.headers, ("trace", b"1")), 7) for one in records]
    lists = [replace(one, headers=list(one.headers)) for one in records]  # type: ignore[arg-type]
    events = decode(CLASSROOM, lists, clock=CLOCK, now_us=NOW_US).events
    assert events.height == len(records)
    assert events.equals(decode(CLASSROOM, records, clock=CLOCK, now_us=NOW_US).events)


def _without_school(event: dict[str, object]) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]:
    made = binary({name: value for name, value in event.items() if name != "schoolid"})
    return made.key, made.value, made.headers


def test_a_constraint_that_columns_cannot_check_is_refused_at_start() -> None:
    """A model with a constraint unknown to the codec raises, so the two contracts cannot drift apart."""

    class Odd(Data):
        """An event with a constraint of its own."""

        count: Annotated[int, MultipleOf(5)] = Field(description="Fives.")

    with pytest.raises(TypeError, match=r"Odd\.count: the columnar codec cannot check"):
        model_fields(Odd)


def test_every_envelope_attribute_is_known_to_the_codec() -> None:
    """The rules derived from the envelope cover each of its attributes."""
    assert list(model_fields(Envelope)) == list(Envelope.model_fields)
