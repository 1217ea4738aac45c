"""A rig for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import AccountedRig


@pytest.fixture
def rig(migrated: Path, tmp_path: Path) -> Iterator[AccountedRig]:
    """Run an embedded stack of its own for one test."""
    running = AccountedRig(tmp_path / "stack", migrated=migrated)
    yield running
    running.close()
