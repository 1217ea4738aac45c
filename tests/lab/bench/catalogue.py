"""The peers: what each is, how it is started, how much it reads, and what it leaves out that classpulse does."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.lab.bench import kafka_streams
from tests.lab.bench.program import Task

__all__ = ["LIMIT_SECONDS", "PEERS", "PEERS_PYTHON", "Peer", "Python", "peer_versions"]

#: Made by `make bench`.
PEERS_PYTHON: Final = ".classpulse/peers/bin/python"
_APART: Final = ("quixstreams", "bytewax", "confluent-kafka")
_VERSIONS_PROGRAM: Final = """
import json, sys
from importlib.metadata import distributions
print(json.dumps({each.name: each.version for each in distributions() if each.name in sys.argv[1:]}))
"""
#: No peer reads longer than this in a round; events per second do not depend on it.
LIMIT_SECONDS: Final = 45.0
_PROBE_SECONDS: Final = 60.0

_NO_DEDUPE: Final = "count an event once that is sent twice"
_NO_DEAD_LETTERS: Final = "keep what it cannot read, with the reason"
_NO_EVENTS: Final = "store the events"
_NO_REFOLD: Final = "revise a window that has closed when a late event arrives"
_NO_CHECKS: Final = "check an event against its contract"
_NO_METRICS: Final = "compute the 33 metrics: one count a lesson and 10 s is all"
_NO_STATE: Final = "survive a crash with exactly the same numbers"


@dataclass(frozen=True, slots=True)
class Python:
    """The interpreters: ``own`` runs this command, ``peers`` has the packages that cannot live beside classpulse's."""

    own: str = sys.executable
    peers: str = PEERS_PYTHON


@dataclass(frozen=True, slots=True)
class Peer:
    """One thing to compare with.

    ``most_events``: how long a prefix of the topic it reads in a round; None: all of it. ``missing`` says what to do where
    it cannot run here, None where it can. ``lacks``: what it does not do, each as it goes on after "does not".
    """

    name: str
    title: str
    does: str
    lacks: tuple[str, ...]
    command: Callable[[Task, Python], list[str]]
    missing: Callable[[Python], str | None]
    most_events: int | None = None
    writes_to_clickhouse: bool = False

    def events_of(self, events: int) -> int:
        """Return how many of the topic's ``events`` it reads."""
        return events if self.most_events is None else min(events, self.most_events)


def _own(module: str) -> Callable[[Task, Python], list[str]]:
    return lambda task, python: [python.own, "-m", f"tests.lab.bench.peers.{module}", *task.arguments()]


def _apart(module: str) -> Callable[[Task, Python], list[str]]:
    # Absolute, since a program runs in a folder of its own; not resolved, since a venv's python is a link.
    return lambda task, python: [
        str(Path(python.peers).absolute()),
        "-m",
        f"tests.lab.bench.peers.{module}",
        *task.arguments(),
    ]


def _needs_own(package: str) -> Callable[[Python], str | None]:
    remedy = f"{package} is not installed; run `make bench`, or `pip install .`"
    return lambda _python: None if find_spec(package) else remedy


def _needs_apart(package: str) -> Callable[[Python], str | None]:
    def missing(python: Python) -> str | None:
        remedy = f"{package} is not installed in {python.peers}; run `make bench`, which makes it, or name another python"
        if shutil.which(python.peers) is None:
            return remedy
        try:
            probe = subprocess.run(
                [python.peers, "-c", f"import {package}"], capture_output=True, timeout=_PROBE_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return remedy
        return remedy if probe.returncode else None

    return missing


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(
            "aiokafka-pydantic",
            "aiokafka, pydantic, clickhouse-connect",
            "a loop: every event validated by the same pydantic models, one count a lesson and 10 s in a dict, every event "
            "inserted into a plain ClickHouse table in batches, then the offsets committed",
            (_NO_DEDUPE, _NO_DEAD_LETTERS, "store its counts: they stay in memory for ever", _NO_STATE, _NO_METRICS),
            _own("aiokafka_pydantic"),
            _needs_own("aiokafka"),
            most_events=200_000,
            writes_to_clickhouse=True,
        ),
        Peer(
            "faust",
            "Faust, a windowed table",
            "an agent that adds 1 to a tumbling table of 10 s a lesson, by the broker's time, memory store, with its "
            "changelog",
            (_NO_DEDUPE, _NO_DEAD_LETTERS, _NO_EVENTS, _NO_REFOLD, _NO_CHECKS, _NO_STATE, _NO_METRICS),
            _own("faust_table"),
            _needs_own("faust"),
            most_events=20_000,
        ),
        Peer(
            "quixstreams",
            "Quix Streams",
            "a streaming dataframe: JSON, tumbling count of 10 s a lesson by the event's time, RocksDB, with its changelog",
            (_NO_DEDUPE, _NO_DEAD_LETTERS, _NO_EVENTS, _NO_REFOLD, _NO_CHECKS, _NO_STATE, _NO_METRICS),
            _apart("quixstreams_count"),
            _needs_apart("quixstreams"),
            most_events=400_000,
        ),
        Peer(
            "bytewax",
            "Bytewax",
            "a dataflow: Kafka input, JSON, tumbling count of 10 s a lesson by the event's time, without recovery",
            (_NO_DEDUPE, _NO_DEAD_LETTERS, _NO_EVENTS, _NO_REFOLD, _NO_CHECKS, _NO_STATE, _NO_METRICS),
            _apart("bytewax_count"),
            _needs_apart("bytewax"),
            most_events=300_000,
        ),
        Peer(
            "kafka-streams",
            "Kafka Streams",
            "JSON by Jackson, tumbling count of 10 s a lesson by the event's time, RocksDB, with its changelog",
            (_NO_DEDUPE, _NO_DEAD_LETTERS, _NO_EVENTS, _NO_REFOLD, _NO_CHECKS, _NO_METRICS),
            lambda task, _python: kafka_streams.command(task),
            lambda _python: kafka_streams.missing(),
        ),
    )
}


def peer_versions(python: Python) -> dict[str, str]:
    """Return the versions of what is not installed beside classpulse; what is not installed at all is left out."""
    found = {"kafka-streams": kafka_streams.version(), "java": kafka_streams.java_version()}
    try:
        answer = subprocess.run(
            [python.peers, "-c", _VERSIONS_PROGRAM, *_APART], capture_output=True, timeout=_PROBE_SECONDS, check=True
        )
        found |= {str(name): str(version) for name, version in json.loads(answer.stdout).items()}
    except (OSError, subprocess.SubprocessError, ValueError):
        pass  # then they are among the peers that were not measured
    return {name: version for name, version in found.items() if version}
