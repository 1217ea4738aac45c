"""What the tests share: one running ClickHouse engine, a fresh database in it for each test that asks, one Apache Kafka."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings

from deploy.embedded.apache import ApacheCluster, jars
from deploy.embedded.errors import StackError
from sinks.migrations import migrate
from sinks.warehouse import Target, Warehouse
from tests.oracle.database import running_clickhouse

# Several tests run at once on few cores: how long an example takes says nothing.
settings.register_profile("classpulse", deadline=None)
settings.load_profile("classpulse")

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
