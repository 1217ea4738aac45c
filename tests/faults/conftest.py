"""Apache Kafka, ClickHouse over HTTP, and a proxy before each, for every fault."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.fault_rig import FaultRig
from tests.lab.chaos import Proxy


@pytest.fixture
def new_rig(apache_installed: None, migrated: Path, tmp_path: Path) -> Iterator[Callable[..., FaultRig]]:
    """Return what makes a rig; it is gone after the test."""
    rigs: list[FaultRig] = []

    def make(**options: int) -> FaultRig:
        wanted = os.environ.get("CLASSPULSE_TEST_PARTITIONS")
        partitions = {"partitions": int(wanted)} if wanted else {}
        rigs.append(FaultRig(tmp_path / "stack", migrated=migrated, broker="apache", **{**partitions, **options}))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(new_rig: Callable[..., FaultRig]) -> FaultRig:
    """Run a rig with one broker."""
    return new_rig()


@pytest.fixture
def clickhouse_proxy(rig: FaultRig) -> Iterator[Proxy]:
    """Stand between every worker started from now on and ClickHouse."""
    with rig.before_clickhouse() as proxy:
        yield proxy


@pytest.fixture
def kafka_proxy(rig: FaultRig) -> Iterator[Proxy]:
    """Stand between every worker started from now on and Kafka."""
    with rig.before_kafka() as proxy:
        yield proxy
