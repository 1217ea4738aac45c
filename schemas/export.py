"""The contract for people who do not read Python: JSON Schema of every event, and one AsyncAPI document.

Everything is generated from the models, and the same models always give the same bytes.
"""

import copy
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from schemas.codec import media_types
from schemas.codec.columns import Kind, model_fields
from schemas.codec.validate import EQUAL_TO_KEY
from schemas.events.envelope import SUPPORTED_MAJOR_VERSION, Envelope
from schemas.events.event_types import FAMILIES, Family, schema_uri, type_uri
from schemas.events.fields import TIME_REACH_DAYS, Identifier

JSON_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_VERSION: Final = "3.0.0"
#: Version of the catalogue of events, not of this software: it changes when a model does.
CATALOGUE_VERSION: Final = "1.0.0"
STRUCTURED: Final = "application/cloudevents+json"
BINARY: Final = "application/json"


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema (draft 2020-12) of every event type in structured mode, by the type's short name."""
    return {name: _event_schema(family, name) for family in FAMILIES for name in family.models}


def example(family: Family, name: str) -> dict[str, Any]:
    """Return an event of the type called ``name`` in structured mode, made from the models' examples."""
    attributes = {field: info.examples[0] for field, info in Envelope.model_fields.items() if info.examples}
    attributes |= {"type": type_uri(name), "dataschema": schema_uri(name)}
    key = attributes["partitionkey"] if family.name == "classroom" else _EXAMPLE_KEYS[family.name]
    attributes["partitionkey"] = key
    if EQUAL_TO_KEY[family.name]:
        attributes["subject"] = key
    else:
        attributes["subject"] = "plan-2026-1117"
    if family.name != "classroom":
        for attribute in ("lessonid", "classid"):
            del attributes[attribute]
    data = {}
    for field, info in family.models[name].model_fields.items():
        if info.examples:
            data[field] = info.examples[0]
    return copy.deepcopy({**attributes, "data": data})


_EXAMPLE_KEYS: Final = {"prep": "t-0117", "research": "act-2026-118", "registry": "s07"}


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0.0 document: a channel for each topic, a message for each event type in both modes."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for family in FAMILIES:
        references = {}
        for name in family.models:
            for mode, message in (("structured", _structured(family, name)), ("binary", _binary(family, name))):
                identifier = f"{name}.{mode}"
                messages[identifier] = message
                references[identifier] = {"$ref": f"#/components/messages/{identifier}"}
        channels[family.name] = {
            "address": family.topic,
            "title": f"{family.chinese} ({family.name})",
            "description": f"Events of the family {family.name}, keyed by {family.key}. A deployment may put a prefix "
            "before the topic's name.",
            "servers": [{"$ref": "#/servers/kafka"}],
            "messages": references,
            "bindings": {"kafka": {"topic": family.topic, "bindingVersion": "0.5.0"}},
        }
        operations[f"receive.{family.name}"] = {
            "action": "receive",
            "title": f"Receive {family.name} events",
            "summary": "The worker consumes, validates and stores these events; what is rejected becomes a dead letter.",
            "channel": {"$ref": f"#/channels/{family.name}"},
        }
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "classpulse events",
            "version": CATALOGUE_VERSION,
            "description": "Events of the smart classroom, lesson preparation, teaching research and the registry, as "
            "CloudEvents 1.0 over Kafka. A device sends either content mode: structured (the whole event in the value) "
            "or binary (attributes in `ce_` headers, data in the value). The record key is `partitionkey`. Unknown "
            "attributes and fields are accepted and not stored.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": STRUCTURED,
        "servers": {
            "kafka": {
                "host": "{host}:{port}",
                "protocol": "kafka",
                "description": "The Kafka cluster of the deployment.",
                "variables": {
                    "host": {"default": "localhost", "description": "A bootstrap server."},
                    "port": {"default": "9092", "description": "Its port."},
                },
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _event_schema(family: Family, name: str) -> dict[str, Any]:
    model = family.models[name]
    schema = _plain(Envelope)
    properties = schema["properties"]
    properties["type"] = {**properties["type"], "const": type_uri(name), "examples": [type_uri(name)]}
    properties["dataschema"]["examples"] = [schema_uri(name)]
    properties["dataschema"]["description"] += f" Major version {SUPPORTED_MAJOR_VERSION} is accepted."
    properties["data"] = _plain(model)
    properties["data_base64"] = {"type": "null", "description": "Not accepted: `data` is always JSON."}
    equal = EQUAL_TO_KEY[family.name]
    rule = f" Where present, {' and '.join(equal)} must equal partitionkey." if equal else ""
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        "$id": schema_uri(name),
        "title": name,
        "description": f"{_text(model.__doc__)} Partition key: the {family.key}.{rule}",
        "type": "object",
        "properties": properties,
        "required": [*schema["required"], "data"],
        "examples": [example(family, name)],
    }


def _plain(model: type[BaseModel]) -> dict[str, Any]:
    """Return the model's schema without the titles Pydantic makes of field names, and with what it cannot say of times."""
    schema = model.model_json_schema()
    for name, field in model_fields(model).items():
        part = schema["properties"][name]
        part.pop("title", None)
        if field.rule.kind is Kind.TIMESTAMP and name != "time":
            part["description"] += f" At most {TIME_REACH_DAYS} days before or after `time`."
    schema.setdefault("properties", {})
    schema["description"] = _text(schema.get("description"))
    schema.pop("title", None)
    return schema


def _text(docstring: str | None) -> str:
    return " ".join((docstring or "").split())


def _structured(family: Family, name: str) -> dict[str, Any]:
    schema = _event_schema(family, name)
    return {
        **_message(family, name),
        "contentType": STRUCTURED,
        "headers": {
            "type": "object",
            "properties": {"content-type": _content_type(media_types.STRUCTURED, STRUCTURED)},
        },
        "payload": _payload(schema),
        "examples": [{"name": "structured", "payload": example(family, name)}],
    }


def _binary(family: Family, name: str) -> dict[str, Any]:
    schema = _event_schema(family, name)
    data = schema["properties"].pop("data")
    del schema["properties"]["data_base64"], schema["properties"]["datacontenttype"]
    sent = example(family, name)
    payload = sent.pop("data")
    del sent["datacontenttype"]
    headers = {f"ce_{attribute}": part for attribute, part in schema["properties"].items()}
    headers["content-type"] = _content_type(media_types.JSON, BINARY)
    required = [f"ce_{attribute}" for attribute in schema["required"] if attribute != "data"]
    return {
        **_message(family, name),
        "contentType": BINARY,
        "headers": {"type": "object", "properties": headers, "required": required},
        "payload": _payload(data),
        "examples": [
            {
                "name": "binary",
                "headers": {"content-type": BINARY, **{f"ce_{attribute}": value for attribute, value in sent.items()}},
                "payload": payload,
            }
        ],
    }


def _content_type(pattern: str, usual: str) -> dict[str, Any]:
    return {"type": "string", "maxLength": media_types.LENGTH_LIMIT, "pattern": pattern, "examples": [usual]}


def _message(family: Family, name: str) -> dict[str, Any]:
    key = TypeAdapter(Identifier).json_schema()
    return {
        "name": type_uri(name),
        "title": name,
        "summary": _text(family.models[name].__doc__),
        "bindings": {
            "kafka": {
                "key": {
                    **key,
                    "description": f"The {family.key}: equals partitionkey, where that is sent too.",
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _payload(schema: dict[str, Any]) -> dict[str, Any]:
    # AsyncAPI keeps examples beside the payload, and a nested $id would move the base of every reference.
    return {key: value for key, value in schema.items() if key not in {"$schema", "$id", "examples"}}
