"""Reads an evaluation's YAML file. What is wrong is told with its line, its place in the tree, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import yaml
from pydantic import ValidationError

from schemas.errors import MustStop
from schemas.evaluation.indicators import indicator_metric
from schemas.evaluation.tree import Band, Evaluation, Linear

__all__ = ["LARGEST_BYTES", "Problem", "default_text", "doubts", "parse", "problems"]

LARGEST_BYTES: Final = 262_144
MOST_LISTED: Final = 20
#: Deeper nesting than any tree needs; the parser is recursive.
_DEEPEST_NESTING: Final = 40
_REMEDIES: Final = {
    "missing": "add it",
    "extra_forbidden": "remove it; docs/evaluation.md lists what there can be",
    "string_pattern_mismatch": "use lower-case letters, digits and _, beginning with a dead letter",
    "union_tag_invalid": "give the kind linear, band or share",
    "union_tag_not_found": "give the kind linear, band or share",
    "greater_than": "give a number above it",
    "literal_error": "give what it says",
    "float_type": "give a plain number such as 0.25",
    "int_type": "give a whole number",
    "string_type": "give a text; put it in quotes if it looks like a number",
    "tuple_type": "give a list",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: in which line (0: unknown), where in the tree, why, and what to do."""

    line: int
    place: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.place}: {self.reason}; {self.remedy}"


def default_text() -> str:
    """Return the packaged default configuration."""
    return files("schemas.evaluation").joinpath("default.yaml").read_text(encoding="utf-8")


def parse(text: str, name: str = "the evaluation") -> Evaluation:
    """Return the configuration in ``text``; ``name`` is the file's, for messages.

    Raises :class:`MustStop` that names every problem, at most MOST_LISTED.
    """
    found = _read(text)
    if isinstance(found, Evaluation):
        return found
    listed = "\n".join(f"  {problem}" for problem in found[:MOST_LISTED])
    more = f"\n  and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
    raise MustStop(
        f"{name} is no sound evaluation:\n{listed}{more}\n", "Correct it; `classpulse evaluation show` prints a sound one"
    )


def problems(text: str) -> list[Problem]:
    """Return everything that is wrong with ``text``; empty if it is sound."""
    found = _read(text)
    return [] if isinstance(found, Evaluation) else found


def doubts(evaluation: Evaluation) -> list[str]:
    """Return what is allowed but may be a slip: norms that run against the direction the catalogue gives a metric."""
    found = []
    for indicator in evaluation.indicators():
        direction = indicator_metric(indicator.metric, indicator.item).direction
        rewards = "higher"
        if isinstance(indicator.norm, Linear) and indicator.norm.zero > indicator.norm.one:
            rewards = "lower"
        if direction in {"higher", "lower"} and not isinstance(indicator.norm, Band) and direction != rewards:
            found.append(f"{indicator.id}: {indicator.metric} is better when {direction}, its norm rewards {rewards}")
    return found


class _Loader(yaml.SafeLoader):
    """Rejects what makes a file mean something else than it seems: aliases, and a key given twice."""

    depth = 0

    def _rejection(self, why: str) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=why, problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise self._rejection("an alias (*) is not allowed")
        self.depth += 1
        if self.depth > _DEEPEST_NESTING:
            raise self._rejection("it is nested too deeply")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        return node


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
            raise yaml.MarkedYAMLError(problem="a key must be a plain name", problem_mark=key.start_mark)
        if key.value in seen:
            raise yaml.MarkedYAMLError(problem=f"the key {key.value} is given twice", problem_mark=key.start_mark)
        seen.add(key.value)


def _read(text: str) -> Evaluation | list[Problem]:
    size_bytes = len(text.encode("utf-8", "replace"))
    if size_bytes > LARGEST_BYTES:
        return [Problem(0, "the file", f"it has {size_bytes:,} bytes, {LARGEST_BYTES:,} are allowed", "leave some out")]
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return [Problem(0, "the file", "it is empty", "begin with what `classpulse evaluation show` prints")]
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return [Problem(line, "the file", error.problem or "it is no YAML", "correct the YAML there")]
    except (yaml.YAMLError, ValueError) as error:
        return [Problem(0, "the file", " ".join(str(error).split())[:200], "correct the YAML")]
    try:
        return Evaluation.model_validate(data)
    except ValidationError as error:
        return [_problem(dict(found), data, root) for found in error.errors(include_url=False)]


def _problem(error: dict[str, Any], data: object, root: yaml.Node) -> Problem:
    message = str(error["msg"]).removeprefix("Value error, ")
    # Our own messages carry the remedy after a semicolon; Pydantic's have one by their type.
    reason, own, remedy = message.partition("; ") if error["type"] == "value_error" else (message, "", "")
    given = f", not {str(error['input'])[:60]!r}" if isinstance(error.get("input"), str | int | float) else ""
    line, place = _place(error["loc"], data, root)
    if not own:
        reason, remedy = message + given, _REMEDIES.get(error["type"], "correct it")
    return Problem(line, place, reason[:1].lower() + reason[1:], remedy)


def _place(location: Sequence[str | int], data: object, root: yaml.Node) -> tuple[int, str]:
    """Return the line and the path of what an error is about; list entries are named by their id as well."""
    place, node = "", root
    for part in location:
        if isinstance(part, int):
            if not isinstance(node, yaml.SequenceNode) or not isinstance(data, list) or part >= len(node.value):
                break
            node, data = node.value[part], data[part]
            name = data.get("id") if isinstance(data, dict) else None
            place += f"[{part}]" + (f" ({name})" if isinstance(name, str) else "")
            continue
        found = [value for key, value in node.value if key.value == part] if isinstance(node, yaml.MappingNode) else []
        # Not in the file: as which of the norms Pydantic read it.
        if not found and part in {"linear", "band", "share"}:
            continue
        place += f".{part}" if place else str(part)
        if not found or not isinstance(data, dict):
            break
        node, data = found[0], data.get(part)
    return node.start_mark.line + 1, place or "the file"
