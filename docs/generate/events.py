"""``docs/events.md``: the envelope, every family and event type, and why a record is rejected. Made from ``schemas``."""

import json
from typing import Any, Final

from docs.generate.markdown import code, fenced, table, value
from schemas.check import REMEDIES
from schemas.codec import media_types
from schemas.codec.columns import Kind, Rule, model_fields, rule_of
from schemas.codec.records import Reason
from schemas.codec.validate import EQUAL_TO_KEY
from schemas.events.envelope import DATASCHEMA_PATTERN, Envelope
from schemas.events.event_types import FAMILIES, Family, schema_uri, type_uri
from schemas.events.fields import (
    IDENTIFIER_PATTERN,
    LABEL_PATTERN,
    RFC3339_PATTERN,
    STUDENT_FIELDS,
    TIME_REACH_DAYS,
    Identifier,
    Identifiers,
    Label,
    Share,
    Timestamp,
)
from schemas.export import STRUCTURED, asyncapi, example
from streams.kafka.topics import declared

__all__ = ["REASONS", "blocks", "reason_rows"]

_KINDS: Final = {
    Kind.STRING: "text",
    Kind.TIMESTAMP: "time",
    Kind.INT: "whole number",
    Kind.FLOAT: "number",
    Kind.BOOL: "true or false",
    Kind.STRINGS: "list of texts",
    Kind.FLOATS: "list of numbers",
}
_JSON: Final = _KINDS | {Kind.TIMESTAMP: "text"}
#: A pattern that is missing here stops the generator, so that no bound goes unsaid.
_PATTERNS: Final = {
    IDENTIFIER_PATTERN: "an [identifier](#text)",
    LABEL_PATTERN: "no control characters",
    media_types.JSON: "a media type of JSON, in UTF-8",
    RFC3339_PATTERN: "RFC 3339 with zone, years 1970 to 2148",
    DATASCHEMA_PATTERN: "ends in `/` or `:` and a version such as `1.0` or `v1.2.3`",
    r"^[0-9]{1,18}$": "1 to 18 digits",
}
_UNITS: Final = {"_ms": "milliseconds"}
#: The types that have a name of their own on the page, which tells their bounds once.
_NAMED: Final = {
    rule_of(annotation): name
    for name, annotation in {
        "identifier": Identifier,
        "list of identifiers": Identifiers,
        "name": Label,
        "share": Share,
        "time": Timestamp,
    }.items()
}

#: What each reason means; the remedy beside it is the one ``classpulse schema check`` prints.
REASONS: Final = {
    Reason.EMPTY: "The record has no value.",
    Reason.TOO_LARGE: "The value is larger than `CLASSPULSE_MAX_VALUE_BYTES`.",
    Reason.ENCODING: "The value, or a `ce_` header, is not UTF-8.",
    Reason.JSON: "The value is not JSON. NaN and Infinity are not JSON either.",
    Reason.NESTING: "Objects and arrays are nested more than 64 deep.",
    Reason.DUPLICATE_KEY: "A known name stands twice in one object.",
    Reason.ENVELOPE: "An attribute is missing, has the wrong form, is given twice in headers, or does not equal "
    "`partitionkey` where it must; or the value is no JSON object.",
    Reason.CONTENT_TYPE: "The content type is neither that of structured mode nor one of JSON, names another character set "
    "than UTF-8, or is given twice.",
    Reason.UNKNOWN_TYPE: "The `type` is not in this catalogue.",
    Reason.UNKNOWN_VERSION: "The `type` or the `dataschema` has another major version.",
    Reason.WRONG_TOPIC: "The `type` belongs to another family than the topic.",
    Reason.KEY: "The record key is missing, is no identifier, or is not `partitionkey`, byte for byte.",
    Reason.DATA: "A field of `data` is missing or outside its bounds, `data` is no JSON object, or there is `data_base64`.",
    Reason.CLOCK_AHEAD: "`time` is further after the record's timestamp than `CLASSPULSE_MAX_AHEAD_SECONDS`.",
    Reason.CLOCK_BEHIND: "`time` is before `CLASSPULSE_EARLIEST_TIME`.",
    Reason.DATABASE: "The event keeps the contract, and ClickHouse refuses to store it; the detail is what it says.",
}


def blocks() -> dict[str, str]:
    """Return the blocks of ``docs/events.md`` by name."""
    messages = asyncapi()["components"]["messages"]
    return {
        "envelope": _envelope(),
        "families": _families(),
        "types": _types(),
        "reasons": table(["reason", "what is wrong", "what to do"], reason_rows()),
        **{f"family-{family.name}": _family(family, messages) for family in FAMILIES},
    }


def reason_rows() -> list[list[str]]:
    """Return the reasons of dead letters: name, meaning, remedy."""
    return [[code(reason), REASONS[reason], REMEDIES[reason]] for reason in Reason]


def _bounds(name: str, rule: Rule) -> str:
    """Return the unit and the bounds of the field called ``name``, in words."""
    words = [unit for suffix, unit in _UNITS.items() if name.endswith(suffix)]
    if rule.choices is not None:
        words.append(" / ".join(code(choice) for choice in rule.choices))
    if rule.ge is not None and rule.le is not None:
        words.append(f"{rule.ge:,} to {rule.le:,}")
    if rule.max_length is not None and rule.kind is not Kind.TIMESTAMP:
        least = f"{rule.min_length} to " if rule.min_length else "at most "
        words.append(f"{least}{rule.max_length} {'items' if rule.item else 'characters'}")
    if rule.pattern is not None:
        words.append(_PATTERNS[rule.pattern])
    if rule.kind is Kind.TIMESTAMP and name != "time":
        words.append(f"within {TIME_REACH_DAYS} days of `time`")
    if rule.item is not None:
        words.append(f"each {_bounds('', rule.item)}")
    return "; ".join(words)


def _envelope() -> str:
    fields = model_fields(Envelope)
    # The bounds of a time in the table of types are relative to ``time`` itself.
    links = {name: _link(field.rule) for name, field in fields.items() if name != "time"}
    rows = [
        [
            code(name),
            "yes" if fields[name].required else "no",
            links.get(name) or _bounds(name, fields[name].rule),
            info.description or "",
            value(info.examples[0] if info.examples else None),
        ]
        for name, info in Envelope.model_fields.items()
    ]
    return table(["attribute", "required", "rule", "meaning", "example"], rows)


def _families() -> str:
    topics = {topic.name: topic for topic in declared()}
    rows = []
    for family in FAMILIES:
        equal = EQUAL_TO_KEY[family.name]
        rule = ", ".join(code(attribute) for attribute in equal) or "none"
        partitions = topics[family.topic].partitions
        cells = [f"{family.name} {family.chinese}", code(family.topic), str(partitions), f"the {family.key}", rule]
        rows.append(cells)
    return table(["family", "topic", "partitions", "`partitionkey`", "must equal it where present"], rows)


def _types() -> str:
    rows = [[f"**{name}**", f"{_JSON[rule.kind]}; {_bounds('', rule)}"] for rule, name in _NAMED.items()]
    return table(["type", "bounds"], rows)


def _family(family: Family, messages: dict[str, Any]) -> str:
    """Return a whole event in both modes, then for each type what differs: ``type``, ``dataschema`` and ``data``."""
    first = next(iter(family.models))
    whole = _examples(family, first, messages[f"{first}.binary"])
    return "\n\n".join([*whole, *(_event_type(family, name) for name in family.models)])


def _event_type(family: Family, name: str) -> str:
    model = family.models[name]
    parts = [
        f"### {name}",
        " ".join((model.__doc__ or "").split()),
        f"`type`: `{type_uri(name)}`, `dataschema`: `{schema_uri(name)}`",
        _fields(family, name) if model.model_fields else "`data` has no fields.",
        fenced("json", json.dumps(example(family, name)["data"], ensure_ascii=False)),
    ]
    return "\n\n".join(parts)


def _link(rule: Rule) -> str:
    """Return the name of a type that the page tells the bounds of once; empty for any other."""
    return f"[{_NAMED[rule]}](#field-types)" if rule in _NAMED else ""


def _fields(family: Family, name: str) -> str:
    model = family.models[name]
    rows = []
    for field, declared_field in model_fields(model).items():
        rule = declared_field.rule
        meaning = model.model_fields[field].description or ""
        if field in STUDENT_FIELDS and "hash" not in meaning:
            meaning += " Stored only as a keyed hash."
        named = _link(rule)
        rows.append(
            [
                code(field),
                named or _KINDS[rule.kind],
                "" if named else _bounds(field, rule),
                "yes" if declared_field.required else "no",
                meaning,
            ]
        )
    return table(["field", "type", "unit and bounds", "required", "meaning"], rows)


def _examples(family: Family, name: str, binary: dict[str, Any]) -> list[str]:
    """Return an event of the type called ``name`` in both modes."""
    structured = example(family, name)
    sent = binary["examples"][0]
    headers = "\n".join(f"{header}: {content}" for header, content in sent["headers"].items())
    key = structured["partitionkey"]
    return [
        "Events of the family differ in `type`, `dataschema` and `data`; the section of each type gives these.",
        f"`{name}` in structured mode: record key `{key}`, header `content-type: {STRUCTURED}`, and this value:",
        fenced("json", json.dumps(structured, ensure_ascii=False, indent=2)),
        f"The same event in binary mode: record key `{key}`, the object under `data` as the value, and these headers:",
        fenced("text", headers),
    ]
