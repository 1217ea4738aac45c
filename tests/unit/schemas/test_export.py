"""The exported contract: valid by its own standards, and true to the validator."""

import json
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from schemas.codec.decode import decode
from schemas.events.event_types import FAMILIES, MODELS, Family, type_uri
from schemas.export import asyncapi, example, json_schemas
from tests.unit.schemas.event_records import CLOCK, NOW_US, record

EVERY_TYPE = [(family, name) for family in FAMILIES for name in family.models]


@pytest.mark.parametrize(("family", "name"), EVERY_TYPE, ids=[name for _, name in EVERY_TYPE])
def test_each_schema_accepts_its_example_as_the_worker_does(family: Family, name: str) -> None:
    """The schema is valid JSON Schema, its example fits it, and the codec accepts the example."""
    schema = json_schemas()[name]
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(schema["examples"][0])
    assert decode(family, [record(example(family, name))], clock=CLOCK, now_us=NOW_US).rejects == []


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"time": "yesterday"},
        {"type": "io.classpulse.classroom.hand.raised.v1"},
        {"data": {"student_id": "s", "prompt_id": "q", "score": 1.1}},
        {"data": {"student_id": "s"}},
        {"data_base64": "e30="},
    ],
)
def test_a_schema_rejects_what_the_worker_rejects(change: dict[str, object]) -> None:
    """Faults that JSON Schema can express are faults there too."""
    schema = json_schemas()["classroom.answer.submitted"]
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate(schema["examples"][0] | change)


def test_every_type_has_a_schema_and_two_messages() -> None:
    """Nothing of the catalogue is missing from the exports, in either content mode."""
    assert json_schemas().keys() == MODELS.keys()
    messages = asyncapi()["components"]["messages"]
    assert messages.keys() == {f"{name}.{mode}" for name in MODELS for mode in ("structured", "binary")}


def test_the_asyncapi_document_hangs_together() -> None:
    """Channels, operations and messages refer to each other, and no reference leads nowhere."""
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert [channel["address"] for channel in document["channels"].values()] == [family.topic for family in FAMILIES]
    references = list(_references(document))
    assert len(references) == 2 * len(MODELS) + 2 * len(FAMILIES)
    for reference in references:
        place: object = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(place, dict)
            place = place[part]


def test_each_messages_examples_fit_its_payload_and_headers() -> None:
    """Both modes: the example validates, carries the message's type, and the key is bound."""
    for identifier, message in asyncapi()["components"]["messages"].items():
        shown = message["examples"][0]
        Draft202012Validator(message["payload"]).validate(shown["payload"])
        if "headers" in shown:
            Draft202012Validator(message["headers"]).validate(shown["headers"])
        carried = shown.get("headers", {}).get("ce_type") or shown["payload"]["type"]
        assert carried == message["name"] == type_uri(identifier.rpartition(".")[0])
        assert message["bindings"]["kafka"]["key"]["type"] == "string"


def test_the_same_models_give_the_same_bytes() -> None:
    """Two exports are equal to the byte, and changing one does not change the next."""
    first = json.dumps([json_schemas(), asyncapi()])
    changed = asyncapi()
    changed["components"]["messages"].clear()
    assert json.dumps([json_schemas(), asyncapi()]) == first


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
