"""Unit tests use no service: no database, no broker. ``make unit`` passes them in less than a minute."""

from typing import NoReturn

import pytest

from deploy.local.stack import stack

SERVICES = {"clickhouse", "database", "warehouse", "migrated", "apache", "apache_installed"}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Reject a test that asks for a service."""
    asked = SERVICES & set(getattr(item, "fixturenames", ()))
    if asked:
        pytest.fail(f"a unit test uses no service, and this one asks for {', '.join(sorted(asked))}; see tests/integration")


@pytest.fixture(autouse=True)
def _no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(*_arguments: object, **_options: object) -> NoReturn:
        pytest.fail("a unit test starts no service; see tests/integration")

    for name in ("start_broker", "start_clickhouse", "_start_tansu", "_start_clickhouse"):
        monkeypatch.setattr(stack, name, reject)
