"""Each rule on columns against the Pydantic field it was derived from, value by value, at every edge."""

from collections.abc import Iterator
from typing import Annotated, Any

import pyarrow as pa
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.codec.columns import Kind, Rule, model_fields
from schemas.codec.decode import decode
from schemas.codec.times import timestamps_us
from schemas.events.envelope import Data, Envelope
from schemas.events.event_types import CLASSROOM, MODELS
from tests.unit.schemas.event_records import CLOCK, NOW_US, answer, record

CONTROL = [chr(code) for code in (*range(0x21), 0x7F, 0x80, 0xA0, 0x2028)]


def distinct_rules() -> dict[str, tuple[Rule, type[BaseModel], str]]:
    """Return each different rule of all models, with a model and field that has it."""
    found: dict[Rule, tuple[type[BaseModel], str]] = {}
    models: list[type[BaseModel]] = [Envelope, *MODELS.values()]
    for model in models:
        for name, field in model_fields(model).items():
            found.setdefault(field.rule, (model, name))
    return {f"{model.__name__}.{name}": (rule, model, name) for rule, (model, name) in found.items()}


def edges(rule: Rule) -> Iterator[Any]:
    """Yield values of the rule's own type at, just within and just beyond each of its bounds."""
    if rule.item is not None:
        inner = list(edges(rule.item))
        yield from ([], *([value] for value in inner), *([inner[0], value] for value in inner), [None])
        most = rule.max_length or 0
        good = "a" if rule.item.kind is Kind.STRING else 0.5
        yield from ([good] * most, [good] * (most + 1))
    elif rule.kind is Kind.INT:
        bounds = [int(rule.ge or 0), int(rule.le or 0)]
        yield from (bound + step for bound in bounds for step in (-1, 0, 1))
        yield from (-(2**63), 2**63 - 1)
    elif rule.kind is Kind.FLOAT:
        yield from (0.0, -0.0, 1.0, 5e-324, -5e-324, 1.0000000000000002, 0.9999999999999999, 1e308, -1.0)
    elif rule.kind is Kind.BOOL:
        yield from (True, False)
    else:
        yield from _texts(rule)


def _texts(rule: Rule) -> Iterator[str]:
    most = rule.max_length or 20
    for character in ("a", "7", "é", "数", "𝔘"):
        yield from (character * length for length in (0, 1, 2, most - 1, most, most + 1))
    yield from (f"a{odd}b" for odd in CONTROL)
    yield from (*CONTROL, "7\n", "\n7", " 7", "7 ", "٣", "7" * 18, "7" * 19)
    for choice in rule.choices or ():
        yield from (choice, choice.upper(), choice + " ", choice[:-1])
    yield from (
        "urn:x:1.0",
        "urn:x:1.0\n",
        "urn:x:12345",
        "urn:x:v1.2.3",
        "urn:x:1.2.3.4",
        "x/v9",
        "urn :1",
        "urn:x:1.",
    )
    yield from ("2026-02-28T00:00:00Z", "2026-02-29T00:00:00Z", "2024-02-29T00:00:00.5+08:00", "2026-02-28T00:00:00Z\n")


RULES = distinct_rules()


@pytest.mark.parametrize(("rule", "model", "name"), RULES.values(), ids=RULES.keys())
def test_a_rule_on_columns_decides_as_pydantic_does(rule: Rule, model: type[BaseModel], name: str) -> None:
    """Alone in its column and among others, a value breaks the rule exactly if the model rejects it."""
    info = model.model_fields[name]
    adapter = TypeAdapter[Any](Annotated[info.annotation, info], config={"strict": True})  # type: ignore[arg-type]
    values = list(edges(rule))
    expected = [not _accepts(adapter, value) for value in values]
    assert [_broken(rule, [value]) == [True] for value in values] == expected
    assert _broken(rule, values) == expected
    assert _broken(rule, [None, values[0], None])[::2] == [False, False]


def _accepts(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _broken(rule: Rule, values: list[Any]) -> list[bool]:
    column = pa.array(values, rule.kind.arrow)
    if rule.kind is Kind.TIMESTAMP:
        return [bool(wrong) for wrong in timestamps_us(column)[1]]
    mask = rule.violations(column)
    return [False] * len(values) if mask is None else mask.tolist()


def test_the_models_have_rules_of_every_kind() -> None:
    """The comparison above leaves no kind of column out."""
    assert {rule.kind for rule, _, _ in RULES.values()} == set(Kind)
    assert issubclass(next(iter(MODELS.values())), Data)


def test_objects_and_nul_bytes_cannot_shift_the_rows() -> None:
    """Two objects in one record and a NUL that hides another would add up to the right count: no value moves."""
    first, second, third = (record(answer(id=name)).value or b"" for name in ("one", "two", "three"))
    values = [first + first, second + b"\0}", third, first + b" " + first, b"{}\0{}", second]
    records = [type(record(answer()))(record(answer()).key, value) for value in values]
    decoded = decode(CLASSROOM, records, clock=CLOCK, now_us=NOW_US)
    assert [rejected.row for rejected in decoded.rejects] == [0, 1, 3, 4]
    assert decoded.events.select("row", "id").rows() == [(2, "three"), (5, "two")]
