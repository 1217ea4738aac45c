"""What identifiers and names may hold, against Unicode's own table and in every engine that reads the patterns."""

import re
import unicodedata
from typing import Any

import polars as pl
import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from schemas.events.fields import IDENTIFIER_PATTERN, LABEL_PATTERN, Identifier, Label
from schemas.export import json_schemas

EVERY = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]


def rejected(pattern: str) -> set[str]:
    """Return the characters that ``pattern`` rejects."""
    compiled = re.compile(pattern)
    return {character for character in EVERY if not compiled.fullmatch(character)}


@pytest.mark.parametrize("pattern", [IDENTIFIER_PATTERN, LABEL_PATTERN], ids=["identifier", "label"])
def test_python_and_rust_read_the_pattern_alike(pattern: str) -> None:
    """Every character of Unicode: the engine of Pydantic and Polars rejects the same ones as Python's."""
    characters = pl.Series(EVERY)
    assert set(characters.filter(~characters.str.contains(pattern)).to_list()) == rejected(pattern)


def test_identifiers_hold_no_character_that_nobody_sees() -> None:
    """All white space, control, format and private characters are rejected; of visible ones only U+FFFC and U+FFFD."""
    unseen = {one for one in EVERY if unicodedata.category(one) in {"Cc", "Cf", "Zs", "Zl", "Zp", "Co"} or one.isspace()}
    found = rejected(IDENTIFIER_PATTERN)
    assert unseen <= found
    # Beside them: characters to ignore, which are marks or fillers, and noncharacters, which have no category.
    others = {one for one in found - unseen if unicodedata.category(one) not in {"Cn", "Mn"}}
    assert others == set("\u115f\u1160\u2800\u3164\uffa0\ufffc\ufffd")
    assert not found & set("stu-1/数学ｓｔｕ１가ж\u0301\U0002ebf0\u0378")


def test_names_hold_no_control_character() -> None:
    """Control characters, ends of lines and marks of direction are rejected; no other character is."""
    controls = {one for one in EVERY if unicodedata.category(one) in {"Cc", "Zl", "Zp"}}
    classes = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    turns = {one for one in EVERY if unicodedata.bidirectional(one) in classes}
    assert rejected(LABEL_PATTERN) == controls | turns | set("\u061c\u200e\u200f")


@pytest.mark.parametrize(
    ("name", "field", "kind"), [("hand.raised", "student_id", Identifier), ("tool.used", "tool", Label)]
)
def test_the_exported_schema_says_what_the_model_says(name: str, field: str, kind: Any) -> None:
    """Characters from all over Unicode, in the middle of a text: JSON Schema and the model give the same verdict."""
    schema = Draft202012Validator(json_schemas()[f"classroom.{name}"]["properties"]["data"]["properties"][field])
    model = TypeAdapter[str](kind)
    for one in [*EVERY[:0x3200], *EVERY[0xD000:0x1E000:7], *EVERY[0xE0000 - 0x900 : 0xE0200 - 0x800]]:
        assert schema.is_valid(f"a{one}b") == accepted(model, f"a{one}b"), hex(ord(one))


def accepted(model: TypeAdapter[str], text: str) -> bool:
    """Return whether the model takes ``text``."""
    try:
        model.validate_python(text)
    except ValidationError:
        return False
    return True
