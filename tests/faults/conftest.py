"""Apache Kafka, ClickHouse over HTTP, and a proxy before each, for every fault."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.broken_town import BrokenTown
from tests.lab.chaos import Proxy


@pytest.fixture
def new_town(apache_installed: None, migrated: Path, tmp_path: Path) -> Iterator[Callable[..., BrokenTown]]:
    """Return what makes a town; it is gone after the test."""
    towns: list[BrokenTown] = []

    def make(**options: int) -> BrokenTown:
        wanted = os.environ.get("CLASSPULSE_TEST_PARTITIONS")
        partitions = {"partitions": int(wanted)} if wanted else {}
        towns.append(BrokenTown(tmp_path / "stack", migrated=migrated, broker="apache", **{**partitions, **options}))
        return towns[-1]

    yield make
    for town in towns:
        town.close()


@pytest.fixture
def town(new_town: Callable[..., BrokenTown]) -> BrokenTown:
    """Run a town with one broker."""
    return new_town()


@pytest.fixture
def clickhouse_proxy(town: BrokenTown) -> Iterator[Proxy]:
    """Stand between every worker started from now on and ClickHouse."""
    with town.before_clickhouse() as proxy:
        yield proxy


@pytest.fixture
def kafka_proxy(town: BrokenTown) -> Iterator[Proxy]:
    """Stand between every worker started from now on and Kafka."""
    with town.before_kafka() as proxy:
        yield proxy
