"""How soon a restarted worker is at work again, with a million events in open windows.

    classpulse measure restart

Lessons that are all still open are stored through a worker. It is stopped, in an orderly way or by SIGKILL; further events
of the same lessons come to wait in Kafka; it is started again. "Processing again" is when the first checkpoint beyond the
old one is found in ClickHouse, counted from the start of the process. Where the time goes is told by the worker's log and
by its own metrics.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from deploy.local.commands.demo_display import Display
from deploy.local.simulator import Produced
from schemas.errors import MustStop
from streams.settings import Settings
from tests.lab.measure import inputs
from tests.lab.measure.outcome import Goal, Outcome
from tests.lab.measure.rig import MeasuringRig, wait_for_worker
from tests.lab.rig import WorkerProcess, usage
from tests.lab.rig.scrape import Page

__all__ = ["KINDS", "PARTS", "measure", "options", "parts_of"]

GOAL_SECONDS: Final = 10.0
KINDS: Final = ("orderly", "killed")
#: The parts of a restart in their order, with what the log says at the end of each.
PARTS: Final = (
    ("interpreter and imports", "metrics and health on "),
    ("Kafka group, checkpoints, assignment", "assigned "),
)
LAST_PART: Final = "fetch, stored events, first write"
#: After so long Kafka gives up a worker that was killed; until then its successor waits.
_SESSION: Final = "CLASSPULSE_SESSION_TIMEOUT_SECONDS"
_DEFAULT_SESSION_SECONDS: Final = Settings.model_fields["session_timeout_seconds"].default
_STAGES: Final = "classpulse_stage_seconds_sum"


def parts_of(started: float, said: Sequence[float], processing: float) -> dict[str, float]:
    """Return the seconds of each part, given when each of ``PARTS`` ended and when the first checkpoint was found.

    A log is written in ms and a poll sees a checkpoint later, so no part is below 0.
    """
    moments = [started, *said, processing]
    names = [name for name, _ in PARTS] + [LAST_PART]
    return {
        name: round(max(0.0, after - before), 3)
        for name, before, after in zip(names, moments[:-1], moments[1:], strict=True)
    }


def measure(rig: MeasuringRig, options: argparse.Namespace, display: Display) -> Outcome:
    """Store the events, then stop and start the worker in each way; return what was found."""
    display.step(f"Filling {options.lessons} lessons with {options.events} events")
    records = inputs.lessons_at_once(options.lessons, options.students, options.seed)
    consumed = rig.publish(islice(records, options.events)).produced
    worker = rig.worker_on(rig.store)
    worker.start()
    rig.wait_until_consumed(rig.store, consumed, [worker])
    ended = rig.store.number("SELECT countIf(type = 'classroom.lesson.ended') FROM events_classroom")
    if ended:
        raise MustStop(f"{ended} lessons have ended within {options.events} events", "Give more --lessons")
    runs: list[dict[str, Any]] = []
    for turn in range(options.repeat):
        for kind in KINDS:
            display.step(f"Restart {turn + 1} of {options.repeat}, {kind}")
            run, consumed = _restart(rig, worker, kind, records, consumed, options)
            runs.append(run)
    worker.stop()
    return _outcome(rig, runs, options)


def _restart(
    rig: MeasuringRig,
    worker: WorkerProcess,
    kind: str,
    records: Iterator[Produced],
    consumed: int,
    options: argparse.Namespace,
) -> tuple[dict[str, Any], int]:
    before = time.time()
    if kind == "killed":
        worker.kill()
    else:
        worker.stop()
    stopped_seconds = time.time() - before
    waiting = rig.publish(islice(records, options.waiting)).produced
    if options.pause:
        time.sleep(options.pause)
    worker.start()
    started = worker.started_at_seconds
    wait_for_worker(lambda: rig.store.consumed() > consumed, "the first checkpoint", worker)
    processing = time.time()
    page, cpu_seconds = worker.telemetry(), usage.cpu_seconds(worker.pid)
    caught_up = rig.wait_until_consumed(rig.store, consumed + waiting, [worker])
    said = [worker.said_at_seconds(words) or started for _, words in PARTS]
    return {
        "kind": kind,
        "stop_seconds": round(stopped_seconds, 2),
        "processing_after_seconds": round(processing - started, 2),
        "caught_up_after_seconds": round(caught_up - started, 2),
        "parts_seconds": parts_of(started, said, processing),
        "first_write_seconds": _stages(page),
        "cached_rows": page.total("classpulse_cached_rows"),
        "cpu_seconds": round(cpu_seconds, 2),
    }, consumed + waiting


def _stages(page: Page) -> dict[str, float]:
    """Return what the worker spent in each stage until its first write was done, and reading stored events back."""
    found = {stage: round(seconds, 3) for stage, seconds in page.by_label(_STAGES, "stage").items()}
    return {"stored events read back": round(page.total("classpulse_rebuild_seconds_sum"), 3), **found}


def _outcome(rig: MeasuringRig, runs: Sequence[dict[str, Any]], options: argparse.Namespace) -> Outcome:
    names = [name for name, _ in PARTS] + [LAST_PART]
    rows = [
        [
            run["kind"],
            f"{run['processing_after_seconds']:.1f}",
            *(f"{run['parts_seconds'][name]:.1f}" for name in names),
            f"{run['first_write_seconds']['stored events read back']:.1f}",
            f"{run['caught_up_after_seconds']:.1f}",
        ]
        for run in runs
    ]
    goals = [
        Goal(
            f"processing again after the worker was {kind if kind == 'killed' else 'stopped in order'} (slowest)",
            GOAL_SECONDS,
            max(run["processing_after_seconds"] for run in runs if run["kind"] == kind),
            "s",
        )
        for kind in KINDS
    ]
    figures = {
        "events_in_open_lessons": options.events,
        "lessons": options.lessons,
        "runs": list(runs),
        "session_timeout_seconds": float(rig.workers[0].environment.get(_SESSION, _DEFAULT_SESSION_SECONDS)),
    }
    columns = ("stop", "processing s", *(f"{name} s" for name in names), "of it stored events read back s", "caught up s")
    return Outcome("restart", columns, rows, figures, goals)


def options(parser: argparse.ArgumentParser) -> None:
    """Add what this scenario may be told."""
    parser.add_argument("--events", type=int, default=1_000_000, help="stored of lessons that are open")
    parser.add_argument("--waiting", type=int, default=20_000, help="that wait when the worker starts again")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between stop and start")
    parser.add_argument("--repeat", type=int, default=3, help="restarts of each kind")
    parser.add_argument("--lessons", type=int, default=1_080, help="open at once; each holds about 1,175 events")
    parser.add_argument("--students", type=int, default=45, help="in each lesson")
