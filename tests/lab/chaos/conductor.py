"""Performs a schedule on a rig: begins each fault at its time, heals it after its duration, and takes note of both."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from deploy.local.stack import stack
from tests.lab.chaos.faults import (
    Cut,
    Delay,
    Drip,
    DropUpload,
    Fault,
    Freeze,
    HalfOpen,
    Injection,
    Predicate,
    ResetAfterRequest,
    TruncateResponse,
    contains,
    inserts_into,
)
from tests.lab.chaos.proxy import Proxy
from tests.lab.chaos.rig import EXTRA, ProxiedRig, ProxiedWorker
from tests.lab.chaos.schedule import Step

#: Faults on different processes overlap; those on one wait for each other.
AT_ONCE: Final = 6

LINK_FAULTS: Final[dict[str, Fault]] = {
    "clickhouse_delay": Delay(200, 600),
    "clickhouse_drip": Drip(20_000),
    "clickhouse_half_open": HalfOpen("client"),
    "clickhouse_cut": Cut(),
    "kafka_delay": Delay(50, 300),
    "kafka_drip": Drip(20_000),
    "kafka_half_open": HalfOpen("client"),
    "kafka_cut": Cut(),
}


class Conductor:
    """Runs steps. ``done`` and ``met`` count them by kind; ``met`` only those that something ran into."""

    def __init__(self, rig: ProxiedRig, journal: Path) -> None:
        self._rig = rig
        self._journal = journal
        self._began = time.monotonic()
        self._stopped = threading.Event()
        self._guard = threading.Lock()
        self.current: dict[int, Step] = {}
        self.done: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.failures: list[str] = []

    def play(self, steps: Sequence[Step], on_step: Callable[[Step], None]) -> None:
        """Perform all steps; returns when the last has healed."""
        self._began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fault") as pool:
            try:
                for number, step in enumerate(steps):
                    if self._stopped.wait(max(0.0, step.at_seconds - (time.monotonic() - self._began))):
                        return
                    on_step(step)
                    pool.submit(self._perform, number, step)
            except BaseException:
                self.stop()  # the pool waits for what it has begun
                raise

    def stop(self) -> None:
        """Begin nothing more, and heal what is in force."""
        self._stopped.set()

    def _perform(self, number: int, step: Step) -> None:
        if self._stopped.is_set():
            return
        self.current[number] = step
        began = time.monotonic() - self._began
        met, problem = False, ""
        try:
            met = self._strike(step)
        except Exception as error:  # it is reported; the others go on
            problem = f"{step}: {error!r}"
            self.failures.append(problem)
        del self.current[number]
        line = {"began": round(began, 2), "ended": round(time.monotonic() - self._began, 2), "met": met, "problem": problem}
        with self._guard:
            self.done[step.kind] += 1
            self.met[step.kind] += met
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**step.to_json(), **line}) + "\n")

    def _strike(self, step: Step) -> bool:
        """Perform one step to its end; return whether anything ran into it."""
        if step.target == stack.CLICKHOUSE:
            return self._strike_part(step, stack.CLICKHOUSE, self._rig.clickhouse_lock)
        if step.target == "broker":
            return self._strike_part(step, stack.KAFKA, self._rig.broker_lock)
        worker = self._rig.workers[step.target]
        if step.target == EXTRA:
            return self._visit(step, worker)
        if step.kind in LINK_FAULTS:
            link = worker.kafka if step.kind.startswith("kafka") else worker.clickhouse
            return self._wait(step, link, LINK_FAULTS[step.kind])
        strike: Callable[[Step, ProxiedWorker], bool] = getattr(self, f"_{step.kind}")
        return strike(step, worker)

    def _strike_part(self, step: Step, name: str, lock: AbstractContextManager[object]) -> bool:
        with lock:
            if step.kind.endswith("_kill"):
                stack.kill(self._rig.folder, name, signal.SIGKILL)
                self._stopped.wait(step.duration_seconds)
                self._rig.start_part(name)
            else:
                stack.kill(self._rig.folder, name, signal.SIGSTOP)
                try:
                    self._stopped.wait(step.duration_seconds)
                finally:
                    stack.kill(self._rig.folder, name, signal.SIGCONT)
        return True

    def _visit(self, step: Step, worker: ProxiedWorker) -> bool:
        with worker.lock:
            worker.start()
            self._stopped.wait(step.duration_seconds)
            if step.kind == "worker_visits":
                worker.kill()
            else:
                self._stop_in_order(step, worker)
        return True

    def _stop_in_order(self, step: Step, worker: ProxiedWorker) -> None:
        status = worker.stop_in_order()
        if status != 0:
            self.failures.append(f"{step}: a worker asked to stop ended with status {status}")

    def _worker_kill(self, _step: Step, worker: ProxiedWorker) -> bool:
        with worker.lock:
            worker.kill_and_start()
        return True

    def _worker_stop(self, step: Step, worker: ProxiedWorker) -> bool:
        with worker.lock:
            self._stop_in_order(step, worker)
            worker.start()
        return True

    def _worker_freeze(self, step: Step, worker: ProxiedWorker) -> bool:
        with self._frozen(worker):
            self._stopped.wait(step.duration_seconds)
        return True

    _worker_zombie = _worker_freeze

    def _kill_before_insert(self, step: Step, worker: ProxiedWorker) -> bool:
        return self._at_insert(step, worker, Freeze(worker.kill_and_start, "before"))

    def _kill_after_insert(self, step: Step, worker: ProxiedWorker) -> bool:
        return self._at_insert(step, worker, Freeze(worker.kill_and_start, "after"))

    def _zombie_insert(self, step: Step, worker: ProxiedWorker) -> bool:
        """The worker stands still while its insert is on the way; the insert arrives when its partitions have moved."""

        def stand_still() -> None:
            with self._frozen(worker):
                self._stopped.wait(step.duration_seconds)

        injection = worker.clickhouse.inject(
            Freeze(stand_still, "before", go_on=True), when=inserts_into(step.table), times=1
        )
        met = self._until_met(injection, step.duration_seconds)
        worker.clickhouse.heal(injection)
        if met:
            self._stopped.wait(step.duration_seconds)
        return met

    def _reset_after_insert(self, step: Step, worker: ProxiedWorker) -> bool:
        return self._at_insert(step, worker, ResetAfterRequest())

    def _drop_upload(self, step: Step, worker: ProxiedWorker) -> bool:
        return self._at_insert(step, worker, DropUpload(0.5))

    def _truncate_answer(self, step: Step, worker: ProxiedWorker) -> bool:
        return self._wait(step, worker.clickhouse, TruncateResponse(100), when=contains("SELECT"), times=3)

    def _clickhouse_reset(self, _step: Step, worker: ProxiedWorker) -> bool:
        met = worker.clickhouse.connections > 0
        worker.clickhouse.reset_connections()
        return met

    def _kafka_reset(self, _step: Step, worker: ProxiedWorker) -> bool:
        met = worker.kafka.connections > 0
        worker.kafka.reset_connections()
        return met

    def _at_insert(self, step: Step, worker: ProxiedWorker, fault: Fault) -> bool:
        """Wait for the insert of the step, and let the fault act on it once."""
        injection = worker.clickhouse.inject(fault, when=inserts_into(step.table), times=1)
        met = self._until_met(injection, step.duration_seconds)
        worker.clickhouse.heal(injection)
        return met

    def _wait(
        self, step: Step, link: Proxy, fault: Fault, *, when: Predicate | None = None, times: int | None = None
    ) -> bool:
        injection = link.inject(fault, when=when, times=times)
        self._stopped.wait(step.duration_seconds)
        link.heal(injection)
        return injection.hits > 0

    def _until_met(self, injection: Injection, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stopped.is_set():
            if injection.wait(0.1):
                return True
        return injection.hits > 0

    @contextmanager
    def _frozen(self, worker: ProxiedWorker) -> Iterator[None]:
        with worker.lock, contextlib.ExitStack() as thaw:
            worker.pause()
            thaw.callback(worker.go_on)
            yield
