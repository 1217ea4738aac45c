"""A town for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import Town


@pytest.fixture
def town(migrated: Path, tmp_path: Path) -> Iterator[Town]:
    """Run an embedded stack of its own for one test."""
    running = Town(tmp_path / "stack", migrated=migrated)
    yield running
    running.close()
