"""The pages."""

from pathlib import Path

import pytest

from docs.generate.catalogue import folder


@pytest.fixture(scope="session")
def docs() -> Path:
    """The folder of the pages."""
    return folder()
