"""Services that tests share: one running ClickHouse engine, a fresh database for each test that asks, one Apache Kafka."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.apache import ApacheCluster, jars
from deploy.local.clickhouse.errors import StackError
from deploy.local.commands.dev import DATABASE
from sinks.clickhouse.client import Target, Warehouse, connect
from tests.oracle.database import fresh_database, running_clickhouse


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Run the embedded engine behind its HTTP interface; the user may do everything."""
    with running_clickhouse(Path(tmp_path_factory.mktemp("clickhouse"))) as target:
        yield target


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a stopped engine with every table and view; to migrate anew costs as much as a small test."""
    folder = tmp_path_factory.mktemp("migrated")
    with running_clickhouse(folder) as server:
        fresh_database(server, DATABASE)
    return folder / "clickhouse"


class Databases:
    """Databases with every table and view, used one test after the other: to migrate one takes longer than most tests."""

    def __init__(self, server: Target) -> None:
        self._server = server
        self._free: list[Target] = []
        self._numbers = itertools.count()
        self._fresh: dict[str, tuple[str, int]] = {}

    def take(self) -> Target:
        """Return one without a row of a test."""
        if self._free:
            return self._free.pop()
        target = fresh_database(self._server, f"test_{next(self._numbers)}")
        self._fresh = self._fresh or self._tables(target)
        return target

    def give_back(self, target: Target) -> None:
        """Empty the tables for the next test; a database that was changed otherwise is dropped."""
        tables = self._tables(target)
        filled = [name for name, (_, rows) in tables.items() if rows != self._fresh.get(name, ("", 0))[1]]
        changed = {name: text for name, (text, _) in tables.items()} != {
            name: text for name, (text, _) in self._fresh.items()
        }
        client = connect(self._server)
        if changed or any(self._fresh[name][1] for name in filled):
            client.command(f"DROP DATABASE {target.database} SYNC")
        else:
            for name in filled:
                client.command(f"TRUNCATE TABLE {target.database}.{name} SYNC")
            self._free.append(target)
        client.close()

    def _tables(self, target: Target) -> dict[str, tuple[str, int]]:
        """Return each table with its definition, and the rows in it; a view has none."""
        client = connect(self._server)
        found = client.query(
            "SELECT name, create_table_query, if(engine LIKE '%View', 0, ifNull(total_rows, 0)) FROM system.tables"
            " WHERE database = {database:String}",
            parameters={"database": target.database},
        ).result_rows
        client.close()
        return {name: (text.replace(target.database, "database"), rows) for name, text, rows in found}


@pytest.fixture(scope="session")
def databases(clickhouse: Target) -> Databases:
    """Return what gives each test a database."""
    return Databases(clickhouse)


@pytest.fixture
def database(databases: Databases) -> Iterator[Target]:
    """Return a database with every table and view, and no row."""
    target = databases.take()
    yield target
    databases.give_back(target)


@pytest.fixture(scope="module")
def module_database(databases: Databases) -> Iterator[Target]:
    """Return a database with every table and view, and no row, which the tests of a module share."""
    target = databases.take()
    yield target
    databases.give_back(target)


@pytest.fixture
def warehouse(database: Target) -> Iterator[Warehouse]:
    """Return a connection to a fresh database."""
    warehouse = Warehouse(database)
    yield warehouse
    warehouse.close()


@pytest.fixture(scope="session")
def apache_installed() -> None:
    """Skip without Java or Maven, and say what to install; fail instead where CLASSPULSE_REQUIRE_APACHE is 1."""
    try:
        jars.java()
        jars.class_path()
    except StackError as error:
        if os.environ.get("CLASSPULSE_REQUIRE_APACHE") == "1":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def apache(apache_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheCluster]:
    """Run one broker of Apache Kafka for the whole session; each test uses topics and groups of its own."""
    cluster = ApacheCluster(tmp_path_factory.mktemp("apache"))
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
