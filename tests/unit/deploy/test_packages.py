"""What the import linter cannot see: files and modules that code asks for by name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ASKING = {"files", "import_module", "open_binary", "open_text", "read_text", "__import__"}


def asked_for(module: Path) -> Iterator[str]:
    """Return the packages that ``module`` names in a call, as ``files("X")`` or ``import_module("X.y")`` do."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0]
        if isinstance(first, ast.JoinedStr):
            first = first.values[0]
        if name in ASKING and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value.partition(".")[0]


@pytest.mark.parametrize("package", ["schemas", "sinks", "streams"])
def test_a_package_asks_by_name_for_what_is_its_own(package: str) -> None:
    """Data and late imports go no other way than imports do: to a package's own files."""
    for module in sorted((ROOT / package).rglob("*.py")):
        assert set(asked_for(module)) <= {package}, module


def test_what_is_asked_for_is_seen() -> None:
    """The search finds the migrations, the views and the topics; else the test above would show nothing."""
    found = [
        set(asked_for(ROOT / name))
        for name in ("sinks/clickhouse/migrations.py", "sinks/views/contract.py", "streams/kafka/topics.py")
    ]
    assert found == [{"sinks"}, {"sinks"}, {"streams"}]
