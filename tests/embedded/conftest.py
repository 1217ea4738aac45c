"""One running embedded stack for the whole folder, and the ways the tests speak to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from deploy.local.stack import stack
from deploy.local.stack.stack import StackInfo

from .wire import Http


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackInfo]:
    """A stack that runs for the whole test session."""
    folder = tmp_path_factory.mktemp("embedded-stack")
    info = stack.up(folder)
    yield info
    stack.down(folder)


@pytest.fixture(scope="session")
def ch(running: StackInfo) -> Http:
    """Raw HTTP to its ClickHouse, with the database whose tables and views are granted, still empty."""
    http = Http(running)
    http("CREATE DATABASE classpulse")
    return http


@pytest.fixture(scope="session")
def stack_folder(running: StackInfo) -> Path:
    """Its folder."""
    return running.folder


@pytest.fixture(scope="session")
def client(ch: Http) -> Iterator[Client]:
    """A clickhouse-connect client of its admin."""
    made = ch.client()
    yield made
    made.close()


@pytest.fixture
def table(ch: Http, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh MergeTree table (id UInt64, name String, at DateTime64(3), score Nullable(Float64)) that readers may read.

    With the parameter "metric_rows" it has this name, and a worker's user may fill it.
    """
    name = f"classpulse.{getattr(request, 'param', f'v1_t_{abs(hash(request.node.nodeid))}')}"
    columns = "id UInt64, name String, at DateTime64(3) DEFAULT 0, score Nullable(Float64)"
    answer = ch(f"CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY id")
    if answer.status != 200:
        raise RuntimeError(answer.text)
    yield name
    ch(f"DROP TABLE {name} SYNC")
