"""What the tests share: one running ClickHouse engine, a fresh database in it for each test that asks, one Apache Kafka."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import pytest
from hypothesis import settings

from deploy.local.apache import ApacheCluster, jars
from deploy.local.clickhouse.errors import StackError
from deploy.local.commands.dev import DATABASE
from sinks.clickhouse.client import Target, Warehouse
from sinks.clickhouse.migrations import migrate
from tests.oracle.database import fresh_database, running_clickhouse

# Several tests run at once on few cores: how long an example takes says nothing.
settings.register_profile("classpulse", deadline=None)
settings.load_profile("classpulse")

_numbers = itertools.count()
#: Most of these take half a minute and more: they are spread among the others, so that progress shows from the beginning,
#: and none begins in the last part, where it would keep all others waiting.
_LONG = (
    "faults/",
    "end_to_end/test_cookbook",
    "end_to_end/test_demo",
    "end_to_end/test_dlq",
    "end_to_end/test_readme",
    "end_to_end/test_torture",
    "end_to_end/test_worker",
)


_LONG_WITHIN = 0.8


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every process that runs tests as many long ones: ``--dist worksteal`` gives each an equal share in order.

    The tests of a module stay together: between two others, its fixtures would be torn down and set up again.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes == 1:
        return
    folder = Path(__file__).parent
    long = [item for item in items if item.path.relative_to(folder).as_posix().startswith(_LONG)]
    longs = set(long)
    short = iter([item for item in items if item not in longs])
    ordered: list[pytest.Item] = []
    for number in range(processes):
        own = long[number::processes]
        others = list(itertools.islice(short, max(0, len(items) * (number + 1) // processes - len(ordered) - len(own))))
        ranked = [(_LONG_WITHIN * (nth + 1) / len(own), item) for nth, item in enumerate(own)]
        begins: dict[Path, float] = {}
        ranked += [(begins.setdefault(item.path, nth / len(others)), item) for nth, item in enumerate(others)]
        ordered += [item for _, item in sorted(ranked, key=itemgetter(0))]
    items[:] = [*ordered, *short]


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
