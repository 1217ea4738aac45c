"""The evaluator: makes versions of metrics, portraits and scores from what the workers stored, cycle after cycle.

A cycle runs the steps in order, each on what the one before wrote, and notes in ``evaluator_cycles`` that it is complete.
Every step finds by itself what has changed and can be repeated, so a cycle that was broken off needs no repair.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from prometheus_client import CollectorRegistry, Counter, Histogram
from urllib3.exceptions import HTTPError

from schemas.errors import MustStop, Rejected, RetryLater
from schemas.metrics.rules import MetricRules
from sinks.clickhouse.client import WRITE_SETTINGS, Target, connect
from sinks.clickhouse.errors import ATTEMPTS_AT_UNKNOWN, classify
from sinks.evaluation.rollups import latest_cycle
from streams.output.dependency import Dependency
from streams.pipeline.telemetry import Moment
from streams.web.server import Health

__all__ = ["STEPS", "Cycle", "Evaluator", "EvaluatorTelemetry", "Step", "StepFunction", "steps"]

log = logging.getLogger("classpulse.evaluator")

#: ``step(client, rules, now)`` writes what has changed and returns the number of rows.
StepFunction = Callable[[Client, MetricRules, datetime], int]

#: name -> module with a function ``step``, in the order in which they run.
STEPS: Final = {
    "panes": "sinks.evaluation.closed_metrics",
    "portraits": "streams.evaluation.portraits",
    "scores": "streams.evaluation.scoring",
}
#: After a failure the next cycle waits at least so long.
FAILURE_DELAY_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
_SECONDS: Final = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a cycle."""

    name: str
    run: StepFunction


@dataclass(frozen=True, slots=True)
class Cycle:
    """A completed cycle: what it wrote bears ``at``; ``rows`` and ``seconds`` by step."""

    at: datetime
    rows: dict[str, int]
    seconds: dict[str, float]

    def __str__(self) -> str:
        """Say it in one line."""
        told = ", ".join(f"{name} {self.rows[name]:,} rows in {self.seconds[name]:.1f} s" for name in self.rows)
        return f"cycle {self.at:%Y-%m-%dT%H:%M:%S}Z: {told}"


class EvaluatorTelemetry:
    """The evaluator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.success_timestamp = Moment(
            "classpulse_evaluator_last_success_timestamp_seconds",
            "When the last cycle was complete",
            registry=self.registry,
        )
        self.step_seconds = Histogram(
            "classpulse_evaluator_step_seconds", "Duration of a step", ["step"], buckets=_SECONDS, registry=self.registry
        )
        self.step_rows = Counter("classpulse_evaluator_step_rows", "Rows a step wrote", ["step"], registry=self.registry)
        self.failures = Counter(
            "classpulse_evaluator_failures", "Cycles that were broken off and begun again", registry=self.registry
        )


def steps() -> list[Step]:
    """Return the steps; their modules are imported only now, so that the command line answers at once."""
    return [Step(name, import_module(module).step) for name, module in STEPS.items()]


class Evaluator:
    """Runs cycles. Not thread-safe: one thread runs them; ``alive`` and ``ready`` may be asked from others.

    ``on_step(name, number)`` is called before each step, ``number`` counting from 1.
    """

    def __init__(
        self,
        target: Target,
        rules: MetricRules,
        *,
        steps: Sequence[Step],
        stop: threading.Event | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_step: Callable[[str, int], None] = lambda _name, _number: None,
    ) -> None:
        self.telemetry = EvaluatorTelemetry()
        self._target = target
        self._rules = rules
        self._steps = steps
        self._stop = stop or threading.Event()
        self._clock = clock
        self._on_step = on_step
        self._clickhouse = Dependency(log, "ClickHouse answers")
        self._problem = "No cycle is complete yet"

    def once(self) -> Cycle | None:
        """Run one cycle; None if it was stopped between two steps.

        Raises :class:`RetryLater` when the database is away and :class:`MustStop` for what waiting does not cure.
        """
        # A server that is silent shows within seconds, whatever a step may take.
        connect(replace(self._target, timeout_seconds=min(ANSWER_SECONDS, self._target.timeout_seconds))).close()
        client = connect(self._target)
        try:
            return self._cycle(client)
        except (ClickHouseError, HTTPError, OSError) as error:
            raise classify(error, "evaluate") from error
        finally:
            client.close()

    def follow(self, interval_seconds: float, on_cycle: Callable[[Cycle], None]) -> None:
        """Run a cycle every ``interval_seconds``, or after the one before if that took longer, until told to stop.

        Raises :class:`MustStop` for what waiting does not cure; an error of which nothing is known is tried a few times
        before. While the database is away it is tried again and again.
        """
        rejected = 0
        while not self._stop.is_set():
            began_seconds = time.monotonic()
            wait_seconds = 0.0
            try:
                cycle, rejected = self.once(), 0
                self._clickhouse.back()
                if cycle is not None:
                    on_cycle(cycle)
            except (RetryLater, Rejected) as error:
                rejected = rejected + 1 if isinstance(error, Rejected) else 0
                if rejected == ATTEMPTS_AT_UNKNOWN:
                    raise
                self.telemetry.failures.inc()
                self._problem = str(error)
                self._clickhouse.away("waiting for ClickHouse; the cycle is begun again when it answers", error)
                wait_seconds = FAILURE_DELAY_SECONDS
            self._stop.wait(max(wait_seconds, interval_seconds - (time.monotonic() - began_seconds)))

    def alive(self) -> Health:
        """Return no problems: a process that hangs answers no request."""
        return Health()

    def ready(self) -> Health:
        """Return what kept the last cycle from being complete, if anything."""
        return Health((self._problem,) if self._problem else ())

    def _cycle(self, client: Client) -> Cycle | None:
        now = self._instant(client)
        rows: dict[str, int] = {}
        seconds: dict[str, float] = {}
        for number, step in enumerate(self._steps, start=1):
            if self._stop.is_set():
                return None
            self._on_step(step.name, number)
            began_seconds = time.monotonic()
            rows[step.name] = step.run(client, self._rules, now)
            seconds[step.name] = time.monotonic() - began_seconds
            self.telemetry.step_rows.labels(step.name).inc(rows[step.name])
            self.telemetry.step_seconds.labels(step.name).observe(seconds[step.name])
        finished_at = max(self._clock(), now)
        client.insert(
            "evaluator_cycles",
            [[now, finished_at, sum(rows.values())]],
            column_names=["cycle_at", "finished_at", "rows_written"],
            settings=WRITE_SETTINGS,
        )
        self.telemetry.success_timestamp.set(finished_at.timestamp())
        self._problem = ""
        return Cycle(now, rows, seconds)

    def _instant(self, client: Client) -> datetime:
        """Return the instant of a new cycle: a clock that went back must not write into what was already read."""
        now = self._clock()
        if now.tzinfo is None:
            raise MustStop("The clock tells no time zone", "Give the evaluator a clock such as datetime.now(UTC)")
        now -= timedelta(microseconds=now.microsecond % 1000)
        latest = latest_cycle(client)
        return now if latest is None else max(now, latest + timedelta(milliseconds=1))
