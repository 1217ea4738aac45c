"""What all tests share: how long an example of Hypothesis may take, and the order of the tests when several run at once."""

import itertools
from operator import itemgetter
from pathlib import Path

import pytest
from hypothesis import settings

#: Fixtures that start ClickHouse or Apache Kafka. ``tests/unit`` cannot ask for them.
pytest_plugins = ["tests.services"]

# Several tests run at once on few cores: how long an example takes says nothing.
settings.register_profile("classpulse", deadline=None)
settings.load_profile("classpulse")

#: Most of these take half a minute and more: they are spread among the others, so that progress shows from the beginning,
#: and none begins in the last part, where it would keep all others waiting.
_LONG = (
    "faults/",
    "end_to_end/test_cookbook",
    "end_to_end/test_demo",
    "end_to_end/test_dlq",
    "end_to_end/test_readme",
    "end_to_end/test_torture",
    "end_to_end/test_worker",
)


_LONG_WITHIN = 0.8


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every process that runs tests as many long ones: ``--dist worksteal`` gives each an equal share in order.

    The tests of a module stay together: between two others, its fixtures would be torn down and set up again.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes == 1:
        return
    folder = Path(__file__).parent
    long = [item for item in items if item.path.relative_to(folder).as_posix().startswith(_LONG)]
    longs = set(long)
    short = iter([item for item in items if item not in longs])
    ordered: list[pytest.Item] = []
    for number in range(processes):
        own = long[number::processes]
        others = list(itertools.islice(short, max(0, len(items) * (number + 1) // processes - len(ordered) - len(own))))
        ranked = [(_LONG_WITHIN * (nth + 1) / len(own), item) for nth, item in enumerate(own)]
        begins: dict[Path, float] = {}
        ranked += [(begins.setdefault(item.path, nth / len(others)), item) for nth, item in enumerate(others)]
        ordered += [item for _, item in sorted(ranked, key=itemgetter(0))]
    items[:] = [*ordered, *short]
