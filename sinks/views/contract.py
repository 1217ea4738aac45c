"""The contract with the evaluation services: versioned views, declared once with what every column means.

A view is a :class:`View` in one of the modules ``sinks/contract_*.py``. :func:`apply` creates it in ClickHouse with its
comments: the view's own and one for every column. ``docs/tables.md`` and the contract test are made from there, and
``v1_columns`` lists it all as rows. A view ``v1_`` may gain columns and rows; what it has, it keeps (see the test).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Protocol

from schemas.errors import MustStop

__all__ = ["COLUMNS_VIEW", "Engine", "View", "apply", "statement", "views"]

#: Modules with a list ``VIEWS``; a view comes after those it reads.
_MODULES: Final = ("metrics", "history", "rollups", "portraits", "scores", "received", "preparation")
#: Lists the views and their columns; parameterised views have no columns in ``system.columns``.
COLUMNS_VIEW: Final = "v1_columns"

_NAME: Final = re.compile(r"(?:vendor_)?v[1-9][0-9]*_[a-z][a-z0-9_]*")
_PARAMETER: Final = re.compile(r"\{([a-z_]+):([A-Z][A-Za-z0-9]*(?:\([^{}]*\))?)\}")
#: A value of each type a parameter may have, to ask for a view's columns with.
_EXAMPLES: Final = {"Date": "2000-01-01", "DateTime64": "2000-01-01 00:00:00", "Array": "[]", "String": ""}

_TABLE: Final = """CREATE TABLE IF NOT EXISTS contract_views
(
    view       String               COMMENT 'name of the view; *: all of them, and the tables below',
    checksum   String               COMMENT 'SHA-256 of what it was made from',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when it was made'
)
ENGINE = ReplacingMergeTree(applied_at) ORDER BY view
COMMENT 'From which declaration each view of the contract was made'"""


#: The row of ``contract_views`` that stands for all views together.
_ALL: Final = "*"
#: Column types by what they follow from, so that a process that migrates several databases asks once.
_KNOWN_TYPES: Final[dict[tuple[str, str], dict[str, str]]] = {}
_EXISTING: Final = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'"


@dataclass(frozen=True, slots=True)
class View:
    """One view: its columns in order, each with its meaning, and the SELECT behind it.

    ``parameters`` (name to meaning) are those the SELECT names as ``{name:Type}``. ``definer``: it reads with the rights of
    who migrates, for a user who may read nothing below it.
    Raises ``ValueError`` for a name without a version, a missing meaning, and parameters that are not those of the SELECT.
    """

    name: str
    about: str
    columns: Mapping[str, str]
    select: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    definer: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name}: name a view of the contract v1_..., in lower case")
        if missing := [name for name, meaning in {**self.columns, **self.parameters}.items() if not meaning.strip()]:
            raise ValueError(f"{self.name}: say what {', '.join(missing)} mean")
        if not self.columns or not self.about.strip():
            raise ValueError(f"{self.name}: say what it is about and what its columns mean")
        if set(self.parameter_types()) != set(self.parameters):
            raise ValueError(f"{self.name}: declare exactly the parameters of its SELECT: {sorted(self.parameter_types())}")

    def parameter_types(self) -> dict[str, str]:
        """Return the ClickHouse type of each parameter of the SELECT, by its first use, in the declared order."""
        found = dict(reversed(_PARAMETER.findall(self.select)))
        return {name: found.pop(name) for name in self.parameters if name in found} | found

    def example_arguments(self) -> dict[str, str]:
        """Return some value of its type for each parameter, as SQL."""
        return {
            name: f"CAST('{_EXAMPLES.get(kind.split('(')[0], '0')}' AS {kind})"
            for name, kind in self.parameter_types().items()
        }

    def with_examples(self) -> str:
        """Return the SELECT with some value for each parameter: the columns are the same for all values."""
        examples = self.example_arguments()
        return _PARAMETER.sub(lambda found: examples[found[1]], self.select)


class Engine(Protocol):
    """What is asked of a connection: a clickhouse_connect client, or anything that answers like one."""

    def command(self, cmd: str, /) -> Any:
        """Run a statement."""

    def query(self, query: str, /) -> Any:
        """Return an answer with ``result_rows``."""


def views() -> list[View]:
    """Return every declared view, in an order in which they can be made. Raises ``ValueError`` for a name given twice."""
    found: list[View] = [view for name in _MODULES for view in import_module(f"sinks.views.{name}").VIEWS]
    names = [view.name for view in found]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"declared twice: {', '.join(sorted(doubled))}; keep one")
    return found


def apply(client: Engine, tables: str = "") -> list[str]:
    """Make the views that are missing or were made from another declaration; returns their names.

    ``tables`` is any text that changes whenever the tables below the views do; while neither it nor a declaration has
    changed, no view is looked at. Raises ``ValueError`` for a view whose declared columns are not those of its SELECT,
    and :class:`MustStop` if this database has a view of the contract that this program does not know.
    """
    client.command(_TABLE)
    made: dict[str, str] = dict(client.query("SELECT view, checksum FROM contract_views FINAL").result_rows)
    there = {row[0] for row in client.query(_EXISTING).result_rows}
    declared = views()
    names = {view.name for view in declared} | {COLUMNS_VIEW}
    if newer := made.keys() - names - {_ALL}:
        raise MustStop(
            f"The database has the view {min(newer)}, which this program does not know",
            "Install the classpulse version that made it",
        )
    whole = _checksum(repr(declared) + tables)
    if tables and names <= there and made.get(_ALL) == whole:
        return []
    statements = _make(client, declared, {name: made[name] for name in made.keys() & there}, tables)
    checksums = {name: _checksum(text) for name, text in statements.items()} | {_ALL: whole}
    rows = ", ".join(f"({_quoted(name)}, '{checksum}')" for name, checksum in checksums.items())
    client.command(f"INSERT INTO contract_views (view, checksum) VALUES {rows}")
    return list(statements)


def _make(client: Engine, declared: list[View], made: Mapping[str, str], tables: str) -> dict[str, str]:
    """Make what differs from ``made`` (name to checksum); returns the statements that were run, by view."""
    run: dict[str, str] = {}
    listed: list[tuple[str, str, str, str, str]] = []

    def make(name: str, text: str) -> None:
        if made.get(name) != _checksum(text):
            client.command(text)
            run[name] = text

    for view in declared:
        types = _types(client, view, tables)
        kinds = view.parameter_types()
        listed += [(view.name, "parameter", name, kinds[name], view.parameters[name]) for name in kinds]
        listed += [(view.name, "column", name, types[name], meaning) for name, meaning in view.columns.items()]
        make(view.name, statement(view, types))
    make(COLUMNS_VIEW, _columns_statement(listed))
    return run


def statement(view: View, types: Mapping[str, str]) -> str:
    """Return the statement that makes ``view``; ``types`` gives each column's type."""
    columns = ",\n".join(f"    `{name}` {types[name]} COMMENT {_quoted(meaning)}" for name, meaning in view.columns.items())
    rights = "DEFINER = CURRENT_USER SQL SECURITY DEFINER\n" if view.definer else ""
    body = f"{rights}AS {view.select.strip()}\nCOMMENT {_quoted(view.about)}"
    return f"CREATE OR REPLACE VIEW {view.name}\n(\n{columns}\n)\n{body}"


def _types(client: Engine, view: View, tables: str) -> Mapping[str, str]:
    select = view.with_examples()
    types = _KNOWN_TYPES.get((tables, select), {}) if tables else {}
    if not types:
        types = {row[0]: row[1] for row in client.query(f"DESCRIBE TABLE ({select})").result_rows}
        if list(types) != list(view.columns):
            raise ValueError(f"{view.name} declares the columns {list(view.columns)}, but its SELECT gives {list(types)}")
        if tables:
            _KNOWN_TYPES[tables, select] = types
    return types


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _columns_statement(listed: list[tuple[str, str, str, str, str]]) -> str:
    rows = ", ".join(f"({number}, {', '.join(map(_quoted, row))})" for number, row in enumerate(listed, start=1))
    view = View(
        COLUMNS_VIEW,
        "Every column and parameter of the contract's views, with its meaning",
        {
            "number": "their order",
            "view": "name of the view",
            "kind": "column or parameter",
            "name": "name of the column or parameter",
            "type": "its ClickHouse type",
            "meaning": "what it means",
        },
        "SELECT t.1 AS number, t.2 AS view, t.3 AS kind, t.4 AS name, t.5 AS type, t.6 AS meaning\n"
        f"FROM (SELECT arrayJoin([{rows}]) AS t)",
    )
    types = dict.fromkeys(view.columns, "String") | {"number": "UInt16"}
    return statement(view, types)


def _quoted(text: str) -> str:
    # JSON's escapes within double quotes, less the quotes; ClickHouse reads the same in single quotes.
    return "'" + json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
