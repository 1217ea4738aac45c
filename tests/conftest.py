"""What the tests share: one running ClickHouse engine, and a fresh database in it for each test that asks."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sinks.migrations import migrate
from sinks.warehouse import Target, Warehouse
from tests.oracle.database import running_clickhouse

_numbers = itertools.count()


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Run the embedded engine behind its HTTP interface; the user may do everything."""
    with running_clickhouse(Path(tmp_path_factory.mktemp("clickhouse"))) as target:
        yield target


@pytest.fixture
def database(clickhouse: Target) -> Target:
    """Return a fresh database with every table and view."""
    target = replace(clickhouse, database=f"test_{next(_numbers)}")
    for _migration in migrate(target):
        pass
    return target


@pytest.fixture
def warehouse(database: Target) -> Iterator[Warehouse]:
    """Return a connection to a fresh database."""
    warehouse = Warehouse(database)
    yield warehouse
    warehouse.close()
