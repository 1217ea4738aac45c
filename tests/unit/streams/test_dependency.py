"""What is away is said once, what is back is said once, what flaps is not said at every turn."""

import logging

import pytest

from streams.output import dependency as module
from streams.output.dependency import Dependency


class Clock:
    """A monotonic clock that is set by hand."""

    now_seconds = 1_000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now_seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    """Let the dependency ask this clock."""
    caplog.set_level(logging.INFO)
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_one_line_when_it_goes_and_one_when_it_is_back(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is asked meanwhile; the second line tells how long it was away."""
    database = Dependency(logging.getLogger("classpulse"), "ClickHouse answers")
    for _again in range(100):
        database.away("waiting for ClickHouse to insert 5 rows", "connection refused")
        clock.now_seconds += 3
    assert database.problem == "waiting for ClickHouse to insert 5 rows"
    database.back()
    database.back()
    assert database.problem is None
    assert caplog.messages == [
        "waiting for ClickHouse to insert 5 rows: connection refused",
        "ClickHouse answers, after 300.0 s",
    ]


def test_what_flaps_is_said_only_once_it_lasts(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A database that fails every second call fills no log; when it then stays away, that is said."""
    database = Dependency(logging.getLogger("classpulse"), "ClickHouse answers")
    for _turn in range(100):
        database.away("waiting")
        clock.now_seconds += 0.5
        database.back()
    assert len(caplog.messages) == 2
    database.away("waiting")
    clock.now_seconds += module.LASTING_SECONDS
    database.away("waiting")
    assert len(caplog.messages) == 3


def test_a_short_absence_may_be_normal(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """What is always away for some seconds, as a group that settles, is said only beyond them; people who ask see it."""
    group = Dependency(logging.getLogger("classpulse"), "it has settled", patience_seconds=5)
    group.away("waiting for the group")
    clock.now_seconds += 4.9
    group.away("waiting for the group")
    assert caplog.messages == []
    assert group.problem == "waiting for the group"
    clock.now_seconds += 0.2
    group.away("waiting for the group")
    group.back()
    assert caplog.messages == ["waiting for the group", "it has settled, after 5.1 s"]
