"""The evaluation's configuration (评价方案): a tree of dimensions and indicators, each indicator with a norm and a weight.

Which metrics count, how they become points and how much they weigh is the district's decision, so it is a file and no
code: ``schemas/evaluation/default.yaml`` is the documented default. ``schemas/evaluation/config.py`` reads such files.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.evaluation.indicators import exists_for, indicator_metric

__all__ = [
    "KINDS",
    "LOWEST_COVERAGE",
    "MOST_NODES",
    "Band",
    "Dimension",
    "Evaluation",
    "Indicator",
    "Kind",
    "Linear",
    "Node",
    "Norm",
    "ShareNorm",
]

Kind = Literal["teacher", "class", "school", "group", "district"]
#: What is scored: 教师, 班级, 学校, 教育集团, 区.
KINDS: Final[tuple[Kind, ...]] = ("teacher", "class", "school", "group", "district")
#: Below it there is no score: too much of the weight would be guessed (metric 31).
LOWEST_COVERAGE: Final = 0.6
#: Bounds of a tree, so that a score stays something a person can read.
MOST_NODES: Final = 300
DEEPEST_LEVEL: Final = 5
HEAVIEST: Final = 1_000_000.0

Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Title = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
About = Annotated[str, StringConstraints(max_length=2_000, strip_whitespace=True)]
#: No metric comes near; beyond it the difference of two bounds could overflow.
Bound = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0, le=HEAVIEST, allow_inf_nan=False)]
Kinds = Annotated[tuple[Kind, ...], Field(strict=False)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Linear(_Part):
    """0 points at ``zero``, 1 at ``one``, a straight line between; ``zero`` above ``one``: less is better."""

    kind: Literal["linear"]
    zero: Bound
    one: Bound

    @model_validator(mode="after")
    def _slopes(self) -> Self:
        if self.zero == self.one:
            raise ValueError("zero and one are equal; give the value that earns nothing and the one that earns all")
        return self

    @property
    def words(self) -> str:
        """The norm in a few words."""
        return f"{self.zero:g} → 0, {self.one:g} → 1"


class Band(_Part):
    """1 point from ``low`` to ``high``, falling in straight lines to 0 at ``zero_below`` and ``zero_above``."""

    kind: Literal["band"]
    zero_below: Bound
    low: Bound
    high: Bound
    zero_above: Bound

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.zero_below < self.low <= self.high < self.zero_above:
            raise ValueError("these must rise; give zero_below < low <= high < zero_above")
        return self

    @property
    def words(self) -> str:
        """The norm in a few words."""
        return f"{self.low:g} … {self.high:g} → 1, {self.zero_below:g} and {self.zero_above:g} → 0"


class ShareNorm(_Part):
    """A share from 0 to 1 as it is."""

    kind: Literal["share"]

    @property
    def words(self) -> str:
        """The norm in a few words."""
        return "as it is"


Norm = Annotated[Linear | Band | ShareNorm, Field(discriminator="kind")]


class Indicator(_Part):
    """One metric of the catalogue, as points from 0 to 1.

    ``chinese`` and ``english`` are the metric's own names where they are not given. ``min_sample``: with a smaller
    sample the metric counts as not available. ``kinds``: whom it is for; not given: all that its dimension is for.
    """

    id: Id
    metric: str
    item: str = ""
    weight: Weight
    norm: Norm
    chinese: Title | None = None
    english: Title | None = None
    about: About = ""
    min_sample: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    kinds: Kinds = KINDS

    @model_validator(mode="after")
    def _refers_to_a_metric(self) -> Self:
        found = indicator_metric(self.metric, self.item)
        if self.norm.kind == "share" and not found.is_share:
            raise ValueError(f"{self.metric} is measured in {found.unit}, which is no share; give a linear or band norm")
        return self

    @property
    def title_chinese(self) -> str:
        """The Chinese name."""
        return self.chinese or indicator_metric(self.metric, self.item).chinese

    @property
    def title_english(self) -> str:
        """The English name."""
        return self.english or indicator_metric(self.metric, self.item).english


class Dimension(_Part):
    """A part of the tree: of dimensions, of indicators, or of both. ``weight`` is relative to its siblings."""

    id: Id
    chinese: Title
    english: Title
    weight: Weight
    about: About = ""
    kinds: Kinds = KINDS
    dimensions: tuple["Dimension", ...] = Field(default=(), strict=False)
    indicators: tuple[Indicator, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.dimensions and not self.indicators:
            raise ValueError("it holds nothing; give it dimensions or indicators, or remove it")
        _check_unique(_below(self))
        return self


@dataclass(frozen=True, slots=True)
class Node:
    """One place of the tree of one kind. ``share`` is its share of the whole, 0 to 1; ``parent`` is a path."""

    path: str
    parent: str
    depth: int
    weight: float
    share: float
    chinese: str
    english: str
    about: str
    indicator: Indicator | None = None


class Evaluation(_Part):
    """The whole configuration. ``format`` is the version of this schema."""

    format: Literal[1]
    chinese: Title
    english: Title
    about: About = ""
    dimensions: tuple[Dimension, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.dimensions:
            raise ValueError("it has no dimensions; give one at least")
        _check_unique(self.dimensions)
        for path, depth, kinds, part in self._walk():
            if depth > DEEPEST_LEVEL:
                raise ValueError(f"{path} is {depth} levels deep, {DEEPEST_LEVEL} are allowed; join some")
            if not kinds:
                raise ValueError(f"{path} is for nobody; give it kinds that those above it have as well")
            if isinstance(part, Indicator):
                _check_exists(path, kinds, part)
        if (number := sum(1 for _ in self._walk())) > MOST_NODES:
            raise ValueError(f"the tree has {number} parts, {MOST_NODES} are allowed; leave some out")
        return self

    @property
    def checksum(self) -> str:
        """SHA-256 of the content, in hex; comments, layout and what equals a default make no difference."""
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()

    def nodes(self, kind: Kind) -> list[Node]:
        """Return the tree of ``kind`` from the root down, parents first; empty if nothing in it is for this kind."""
        below = _nodes(self.dimensions, kind, "", 1, 1.0)
        return [Node("", "", 0, 1.0, 1.0, self.chinese, self.english, self.about), *below] if below else []

    def parts(self) -> Iterator[tuple[str, frozenset[str], Dimension | Indicator]]:
        """Yield every part with its path and the kinds it is for, those above it considered; parents first."""
        return ((path, kinds, part) for path, _depth, kinds, part in self._walk())

    def indicators(self) -> Iterator[Indicator]:
        """Yield every indicator, whomever it is for."""
        for _path, _depth, _kinds, part in self._walk():
            if isinstance(part, Indicator):
                yield part

    def _walk(self) -> Iterator[tuple[str, int, frozenset[str], Dimension | Indicator]]:
        """Yield every part with its path, its level, and the kinds it is for, those above it considered."""
        waiting = [(part.id, 1, frozenset(part.kinds), part) for part in reversed(self.dimensions)]
        while waiting:
            path, depth, kinds, dimension = waiting.pop()
            yield path, depth, kinds, dimension
            for indicator in dimension.indicators:
                yield f"{path}/{indicator.id}", depth + 1, kinds & frozenset(indicator.kinds), indicator
            waiting.extend(
                (f"{path}/{part.id}", depth + 1, kinds & frozenset(part.kinds), part)
                for part in reversed(dimension.dimensions)
            )


def _nodes(parts: Sequence[Dimension | Indicator], kind: Kind, parent: str, depth: int, share: float) -> list[Node]:
    # What is for others does not weigh: a class without preparation of its own is not marked down for it.
    mine = [part for part in parts if _is_for(part, kind)]
    total = sum(part.weight for part in mine)
    found: list[Node] = []
    for part in mine:
        path = f"{parent}/{part.id}" if parent else part.id
        own = share * part.weight / total
        if isinstance(part, Indicator):
            found.append(
                Node(path, parent, depth, part.weight, own, part.title_chinese, part.title_english, part.about, part)
            )
            continue
        found.append(Node(path, parent, depth, part.weight, own, part.chinese, part.english, part.about))
        found += _nodes(_below(part), kind, path, depth + 1, own)
    return found


def _is_for(part: Dimension | Indicator, kind: Kind) -> bool:
    if kind not in part.kinds:
        return False
    return isinstance(part, Indicator) or any(_is_for(below, kind) for below in _below(part))


def _below(dimension: Dimension) -> tuple[Dimension | Indicator, ...]:
    return (*dimension.dimensions, *dimension.indicators)


def _check_unique(parts: Sequence[Dimension | Indicator]) -> None:
    names = [part.id for part in parts]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the id {doubled[0]} is given twice among its siblings; rename one")


def _check_exists(path: str, kinds: frozenset[str], indicator: Indicator) -> None:
    missing = [kind for kind in KINDS if kind in kinds and not exists_for(indicator.metric, kind)]
    if missing:
        kept = ", ".join(kind for kind in KINDS if kind in kinds and kind not in missing)
        remedy = f"give it `kinds: [{kept}]`" if kept else "remove it"
        raise ValueError(f"{path}: {indicator.metric} never exists for {' and '.join(missing)}; {remedy}")
