"""The fetch guard replaces private classes of one version of aiokafka."""

import aiokafka
import pytest
from aiokafka.consumer import fetcher

from streams.kafka.fetch.guard import guard


def test_another_version_of_aiokafka_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version whose private classes nobody has looked at is rejected before anything is replaced."""
    untouched = object()
    monkeypatch.setattr(fetcher, "MemoryRecords", untouched)
    monkeypatch.setattr(aiokafka, "__version__", "0.99.0")
    with pytest.raises(ImportError, match=r"0\.99\.0 is installed"):
        guard()
    assert fetcher.MemoryRecords is untouched
