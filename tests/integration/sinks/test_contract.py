"""The views of the contract: what evaluation services read stays, and says in ClickHouse itself what it means."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.errors import MustStop
from schemas.metrics.catalogue import METRICS
from schemas.metrics.metric import WINDOW_LESSON
from sinks.clickhouse.client import Target, connect
from sinks.views import contract
from sinks.views.contract import View

#: Every view of version 1 with its columns and parameters, as evaluation services know them.
PROMISED: dict[str, dict[str, list[str]]] = json.loads(
    (Path(__file__).parent / "contract_v1.json").read_text(encoding="utf-8")
)
DECLARED = {view.name: view for view in contract.views()}


@pytest.mark.parametrize("name", PROMISED)
def test_nothing_promised_is_gone(name: str) -> None:
    """A view of version 1 keeps its columns, in their order, and its parameters."""
    view = DECLARED.get(name)
    remedy = f"{name} is a contract: leave it as it was, and declare a view v2_{name.removeprefix('v1_')} beside it"
    assert view is not None, remedy
    promised = PROMISED[name]["columns"]
    assert [column for column in view.columns if column in promised] == promised, remedy
    assert sorted(view.parameters) == PROMISED[name]["parameters"], remedy


def test_everything_declared_is_promised() -> None:
    """A new view or column is written down in contract_v1.json, so that it cannot vanish again."""
    declared = {
        view.name: {"columns": list(view.columns), "parameters": sorted(view.parameters)} for view in DECLARED.values()
    }
    missing = {name: promise for name, promise in declared.items() if PROMISED.get(name) != promise}
    assert missing == {}, f"add to tests/integration/sinks/contract_v1.json: {json.dumps(missing)}"


def test_every_metric_of_a_lesson_has_its_column() -> None:
    """v1_lesson_wide has a column for each metric of the window lesson, and its meaning is the declared formula."""
    wide = DECLARED["v1_lesson_wide"].columns
    for metric in (metric for metric in METRICS if WINDOW_LESSON in metric.windows):
        meanings = [meaning for name, meaning in wide.items() if name == metric.name or name.startswith(f"{metric.name}_")]
        assert meanings, metric.name
        assert all(metric.numerator in text and f"Unit: {metric.unit}." in text for text in meanings)


def test_clickhouse_itself_says_what_views_and_columns_mean(database: Target) -> None:
    """Every view has a comment and so has every column; v1_columns tells the same, parameters included."""
    client = connect(database)
    tables: Any = client.query("SELECT name, comment FROM system.tables WHERE database = currentDatabase()").result_rows
    about = dict(tables)
    assert {name: about[name] for name in DECLARED} == {name: view.about for name, view in DECLARED.items()}
    columns = client.query(
        "SELECT table, name, comment FROM system.columns WHERE database = currentDatabase() AND table LIKE 'v1\\_%'"
    ).result_rows
    assert [row for row in columns if not row[2]] == []
    listed = client.query("SELECT view, kind, name, meaning FROM v1_columns ORDER BY number").result_rows
    expected = [
        (view.name, kind, name, meaning)
        for view in contract.views()
        for kind, named in (("parameter", view.parameters), ("column", view.columns))
        for name, meaning in named.items()
    ]
    assert sorted(map(tuple, listed)) == sorted(expected)
    client.close()


def test_views_are_made_once_and_mended(database: Target) -> None:
    """A second run makes none; a view that is gone or came from another declaration is made again, the others stay."""
    client = connect(database)
    assert contract.apply(client) == []
    client.command("DROP VIEW v1_cycles")
    client.command("INSERT INTO contract_views (view, checksum) VALUES ('v1_entities', 'of another declaration')")
    assert contract.apply(client, tables="as they are") == ["v1_entities", "v1_cycles"]
    assert contract.apply(client, tables="as they are") == []
    client.command("DROP VIEW v1_cycles")
    assert contract.apply(client, tables="as they are") == ["v1_cycles"]
    client.command("INSERT INTO contract_views (view, checksum) VALUES ('v1_later', 'x')")
    with pytest.raises(MustStop, match=r"v1_later.*Install"):
        contract.apply(client)
    client.close()


def test_a_declaration_must_be_its_select(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that the SELECT does not give are rejected, by name."""
    answers: dict[str, list[tuple[Any, ...]]] = {"DESCRIBE TABLE (SELECT 1 AS b)": [("b", "UInt8")]}
    engine = SimpleNamespace(
        command=lambda _text: None, query=lambda text: SimpleNamespace(result_rows=answers.get(text, []))
    )
    monkeypatch.setattr(contract, "views", lambda: [View("v1_x", "about", {"a": "meaning"}, "SELECT 1 AS b")])
    with pytest.raises(ValueError, match=r"v1_x declares the columns \['a'\].*\['b'\]"):
        contract.apply(engine)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "lessons"}, "v1_"),
        ({"about": " "}, "what it is about"),
        ({"columns": {}}, "what its columns mean"),
        ({"columns": {"a": ""}}, "say what a mean"),
        ({"select": "SELECT {day:Date} AS a"}, "day"),
        ({"parameters": {"day": "the day"}}, "parameters"),
    ],
)
def test_a_view_says_what_it_is(changes: dict[str, Any], message: str) -> None:
    """A name without a version, a missing meaning, an undeclared parameter: each is rejected and says so."""
    whole: dict[str, Any] = {"name": "v1_x", "about": "about", "columns": {"a": "meaning"}, "select": "SELECT 1 AS a"}
    assert View(**whole).parameter_types() == {}
    with pytest.raises(ValueError, match=message):
        View(**(whole | changes))


def test_parameters_have_the_types_of_the_select() -> None:
    """Types with arguments are understood, and every type gets a value that it accepts."""
    view = View(
        "v1_x",
        "about",
        {"a": "meaning"},
        "SELECT {at:DateTime64(3, 'UTC')} AS a WHERE {n:UInt8} = 1 OR {n:UInt8} = 2",
        {"at": "when", "n": "how many"},
    )
    assert view.parameter_types() == {"at": "DateTime64(3, 'UTC')", "n": "UInt8"}
    number, instant = "CAST('0' AS UInt8)", "CAST('2000-01-01 00:00:00' AS DateTime64(3, 'UTC'))"
    assert view.with_examples() == f"SELECT {instant} AS a WHERE {number} = 1 OR {number} = 2"
