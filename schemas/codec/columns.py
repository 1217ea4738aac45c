"""What the columnar codec knows about the models: columns, their types, and the rules each value must keep.

Everything here is derived from the Pydantic models; a constraint that cannot be checked on a column is rejected when
the process starts, so that the two can never drift apart.
"""

from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import annotated_types
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, AllowInfNan, BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from schemas.codec.plain_text import text_plainly_holds
from schemas.events.envelope import Envelope
from schemas.events.event_types import Family
from schemas.events.fields import RFC3339_PATTERN

Mask = npt.NDArray[np.bool_]


class Kind(Enum):
    """How a field is stored: (type in the JSON reader, type in the events frame)."""

    STRING = "string"
    TIMESTAMP = "timestamp"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    STRINGS = "strings"
    FLOATS = "floats"

    @property
    def arrow(self) -> pa.DataType:
        """Type the JSON reader is asked for."""
        return _ARROW[self]

    @property
    def polars(self) -> pl.DataType:
        """Type of the column in the events frame."""
        return _POLARS[self]


_ARROW: Final[dict[Kind, pa.DataType]] = {
    Kind.STRING: pa.string(),
    Kind.TIMESTAMP: pa.string(),
    Kind.INT: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.BOOL: pa.bool_(),
    Kind.STRINGS: pa.list_(pa.string()),
    Kind.FLOATS: pa.list_(pa.float64()),
}
_POLARS: Final[dict[Kind, pl.DataType]] = {
    Kind.STRING: pl.String(),
    Kind.TIMESTAMP: pl.Int64(),
    Kind.INT: pl.Int64(),
    Kind.FLOAT: pl.Float64(),
    Kind.BOOL: pl.Boolean(),
    Kind.STRINGS: pl.List(pl.String()),
    Kind.FLOATS: pl.List(pl.Float64()),
}
_SCALARS: Final[dict[type, Kind]] = {str: Kind.STRING, int: Kind.INT, float: Kind.FLOAT, bool: Kind.BOOL}
_LISTS: Final = {Kind.STRING: Kind.STRINGS, Kind.FLOAT: Kind.FLOATS}


@dataclass(frozen=True, slots=True)
class Rule:
    """Every constraint of one field; lengths are in characters, or in items for a list, whose items keep ``item``."""

    kind: Kind
    min_length: int = 0
    max_length: int | None = None
    pattern: str | None = None
    ge: float | None = None
    le: float | None = None
    choices: tuple[str, ...] | None = None
    item: "Rule | None" = None

    def violations(self, values: pa.Array) -> Mask | None:
        """Return which rows of ``values`` break the rule, or None if none does. A null breaks nothing.

        A timestamp's text is checked where it is converted, see ``schemas.codec.times``.
        """
        if self.kind is Kind.TIMESTAMP or values.null_count == len(values) or self.plainly_holds(values):
            return None
        series = pl.Series("values", values)
        if self.item is not None:
            return self._list_violations(series, self.item)
        text = pl.col("values")
        broken = [pl.lit(value=False)]
        if self.choices is not None:
            broken.append(~text.is_in(self.choices))
        if self.pattern is not None:
            broken.append(~text.str.contains(self.pattern))
        if self.min_length:
            broken.append(text.str.len_chars() < self.min_length)
        if self.max_length is not None:
            broken.append(text.str.len_chars() > self.max_length)
        if self.ge is not None:
            broken.append(text < self.ge)
        if self.le is not None:
            broken.append(text > self.le)
        mask = series.to_frame().select(pl.any_horizontal(broken).fill_null(value=False)).to_series()
        return mask.to_numpy() if mask.any() else None

    def _list_violations(self, values: pl.Series, item: "Rule") -> Mask | None:
        length = values.list.len().fill_null(0)
        mask: Mask = np.zeros(len(values), dtype=np.bool_)
        if self.max_length is not None:
            mask |= (length > self.max_length).to_numpy()
        items = values.filter(length > 0).explode()
        bad_items = items.is_null().to_numpy()
        broken = item.violations(items.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(item.kind.arrow))
        if broken is not None:
            bad_items = bad_items | broken
        mask[np.repeat(np.arange(len(values)), length.to_numpy())[bad_items]] = True
        return mask if mask.any() else None

    def plainly_holds(self, values: pa.Array) -> bool:
        """Return True if the whole column is seen to keep the rule at little cost; False decides nothing."""
        if self.kind is Kind.BOOL:
            return True
        if self.item is not None:
            lengths = pc.list_value_length(values)
            within = self.max_length is None or pc.max(lengths).as_py() <= self.max_length
            items = values.flatten()
            return within and items.null_count == 0 and (len(items) == 0 or self.item.plainly_holds(items))
        if self.kind in (Kind.INT, Kind.FLOAT):
            extremes = pc.min_max(values).as_py()
            return (self.ge is None or extremes["min"] >= self.ge) and (self.le is None or extremes["max"] <= self.le)
        if self.choices is not None:
            # What is not among the choices becomes null.
            return bool(pc.index_in(values, value_set=_choice_set(self.choices)).null_count == values.null_count)
        return text_plainly_holds(values, self.min_length, self.max_length, self.pattern)


@cache
def _choice_set(choices: tuple[str, ...]) -> pa.Array:
    return pa.array(choices, pa.string())


@dataclass(frozen=True, slots=True)
class Field:
    """One field of one model: its rule, and whether it must be there and not null."""

    rule: Rule
    required: bool


@dataclass(frozen=True, slots=True)
class DataColumn:
    """One data field of a family: the same name in one or several event types.

    ``declared`` and ``required`` are indexed by event type, in the order of ``Family.models``; ``rules`` pairs each
    distinct rule with the types it holds for.
    """

    name: str
    kind: Kind
    declared: Mask
    required: Mask
    rules: tuple[tuple[Rule, Mask], ...]

    @property
    def is_timestamp(self) -> bool:
        """Whether the values are RFC 3339 text, stored as microseconds."""
        return self.kind is Kind.TIMESTAMP

    @property
    def column(self) -> str:
        """Name in the events frame; a timestamp is stored in microseconds."""
        return f"{self.name}_us" if self.is_timestamp else self.name


@cache
def model_fields(model: type[BaseModel]) -> dict[str, Field]:
    """Return the fields of ``model`` by name.

    Raises ``TypeError`` for a constraint that the columnar codec cannot check.
    """
    found = {}
    for name, info in model.model_fields.items():
        rule = _rule(info.annotation, info.metadata, f"{model.__name__}.{name}")
        if not info.is_required() and info.default is not None:
            message = f"{model.__name__}.{name}: an optional field's default must be None, so that absent is null"
            raise TypeError(message)
        found[name] = Field(rule, info.is_required())
    return found


def rule_of(annotation: Any) -> Rule:
    """Return the rule of a field annotated ``annotation``. Raises ``TypeError`` as ``model_fields`` does."""
    return _rule(annotation, [], "a field")


def _rule(annotation: Any, metadata: list[Any], where: str) -> Rule:
    """Return the rule of a field annotated ``annotation``, its ``metadata`` applied last."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *extra = get_args(annotation)
        return _rule(inner, [*extra, *metadata], where)
    arguments = get_args(annotation)
    if origin is Literal and all(isinstance(choice, str) for choice in arguments):
        return _apply(Rule(Kind.STRING, choices=arguments), metadata, where)
    if type(None) in arguments and len(arguments) == 2:
        return _rule(arguments[0] if arguments[1] is type(None) else arguments[1], metadata, where)
    if origin is list:
        item = _rule(arguments[0], [], f"{where}[]")
        if item.kind in _LISTS:
            return _apply(Rule(_LISTS[item.kind], item=item), metadata, where)
    if annotation in _SCALARS:
        return _apply(Rule(_SCALARS[annotation]), metadata, where)
    message = f"{where}: the columnar codec has no column for {annotation!r}; extend schemas/codec/columns.py"
    raise TypeError(message)


def _apply(rule: Rule, metadata: list[Any], where: str) -> Rule:
    for constraint in metadata:
        match constraint:
            case FieldInfo():
                rule = _apply(rule, constraint.metadata, where)
            case StringConstraints(strip_whitespace=None, to_upper=None, to_lower=None, strict=None):
                rule = replace(
                    rule,
                    min_length=constraint.min_length or rule.min_length,
                    max_length=constraint.max_length or rule.max_length,
                    pattern=_pattern_text(constraint.pattern) or rule.pattern,
                )
            case annotated_types.MinLen():
                rule = replace(rule, min_length=constraint.min_length)
            case annotated_types.MaxLen():
                rule = replace(rule, max_length=constraint.max_length)
            case annotated_types.Ge():
                rule = replace(rule, ge=_bound(constraint.ge, where))
            case annotated_types.Le():
                rule = replace(rule, le=_bound(constraint.le, where))
            case AfterValidator() if rule.pattern == RFC3339_PATTERN:
                pass
            case AllowInfNan(allow_inf_nan=False):
                pass  # the JSON reader has no such numbers
            case _:
                message = f"{where}: the columnar codec cannot check {constraint!r}; extend schemas/codec/columns.py"
                raise TypeError(message)
    return replace(rule, kind=Kind.TIMESTAMP) if rule.pattern == RFC3339_PATTERN else rule


def _bound(value: object, where: str) -> float:
    if isinstance(value, (int, float)):
        return value
    message = f"{where}: the columnar codec compares with numbers only, not with {value!r}"
    raise TypeError(message)


def _pattern_text(pattern: Any) -> str | None:
    return pattern if pattern is None or isinstance(pattern, str) else str(pattern.pattern)


@cache
def _data_columns(family_name: str, models: tuple[type[BaseModel], ...]) -> tuple[DataColumn, ...]:
    by_model = [model_fields(model) for model in models]
    columns = []
    for name in sorted({name for declared in by_model for name in declared}):
        found = [declared.get(name) for declared in by_model]
        rules: dict[Rule, Mask] = {}
        for index, field in enumerate(found):
            if field is not None:
                rules.setdefault(field.rule, np.zeros(len(models), dtype=np.bool_))[index] = True
        kinds = {rule.kind for rule in rules}
        if len(kinds) != 1:
            message = f"{family_name}: data field {name!r} has several types: {kinds}; one column needs one type"
            raise TypeError(message)
        declared = np.array([field is not None for field in found])
        required = np.array([field is not None and field.required for field in found])
        columns.append(DataColumn(name, kinds.pop(), declared, required, tuple(rules.items())))
    return tuple(columns)


def data_columns(family: Family) -> tuple[DataColumn, ...]:
    """Return the union of the family's data fields, sorted by name."""
    return _data_columns(family.name, tuple(family.models.values()))


#: The envelope's columns of the events frame: name -> (type, envelope attribute the value comes from, if any).
ENVELOPE_COLUMNS: Final[dict[str, tuple[pl.DataType, str | None]]] = {
    "offset": (pl.Int64(), None),
    "row": (pl.UInt32(), None),
    "id": (pl.String(), "id"),
    "source": (pl.String(), "source"),
    "type": (pl.String(), "type"),
    "time_us": (pl.Int64(), "time"),
    "key": (pl.String(), None),
    "subject": (pl.String(), "subject"),
    "sequence": (pl.Int64(), "sequence"),
    "schoolid": (pl.String(), "schoolid"),
    "classid": (pl.String(), "classid"),
    "lessonid": (pl.String(), "lessonid"),
    "recordedtime_us": (pl.Int64(), "recordedtime"),
    "schema_version": (pl.String(), "dataschema"),
}


def event_columns(family: Family) -> dict[str, pl.DataType]:
    """Return the columns of the family's events frame, in order.

    The envelope's extension attributes keep their CloudEvents names (``lessonid``), so that a data field
    (``lesson_id``) is another column. Raises ``TypeError`` for a data field with the name of an envelope column.
    """
    columns = {name: dtype for name, (dtype, _) in ENVELOPE_COLUMNS.items()}
    for column in data_columns(family):
        if column.column in columns:
            message = f"{family.name}: data field {column.name!r} bears the name of an envelope column"
            raise TypeError(message)
        columns[column.column] = column.kind.polars
    return columns


@cache
def envelope_arrow_fields() -> tuple[pa.Field, ...]:
    """Return the envelope attributes as the JSON reader is to read them."""
    return tuple(pa.field(name, field.rule.kind.arrow) for name, field in model_fields(Envelope).items())


def data_arrow_fields(family: Family) -> list[pa.Field]:
    """Return the family's data fields as the JSON reader is to read them."""
    return [pa.field(column.name, column.kind.arrow) for column in data_columns(family)]
