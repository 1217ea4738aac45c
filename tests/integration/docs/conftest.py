"""The pages, and the database that some of them are made from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from docs.generate import tables
from docs.generate.catalogue import folder


@pytest.fixture(scope="session")
def docs() -> Path:
    """The folder of the pages."""
    return folder()


@pytest.fixture(scope="session")
def database() -> Iterator[Client]:
    """A real engine with every migration applied."""
    with tables.migrated_database() as client:
        yield client
