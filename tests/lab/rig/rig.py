"""A stack and the workers on it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from deploy.local.commands import dev
from deploy.local.stack import stack
from tests.lab.rig.worker import WORKER, WorkerProcess

__all__ = ["Rig", "start_stack"]


def start_stack(
    folder: Path,
    *,
    broker: str = stack.EMBEDDED,
    brokers: int = 1,
    partitions: int | None = None,
    migrated: Path | None = None,
    fresh: bool = False,
) -> stack.StackInfo:
    """Start a stack in ``folder``, with its database and topics.

    ``migrated`` is the folder of a stopped engine that has every table and view: the stack's engine begins as its copy.
    ``partitions`` replaces the number of partitions of each event topic; ``fresh`` removes what an earlier stack left.
    """
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    if migrated is not None:
        shutil.copytree(migrated, folder / "clickhouse", symlinks=True, dirs_exist_ok=True)
    info = stack.up(folder, broker=cast(stack.BrokerKind, broker), brokers=brokers, fresh=fresh)
    dev.prepare(info, partitions)
    return info


class Rig:
    """A running stack and the workers that were made on it; ``close`` ends all of them."""

    def __init__(self, info: stack.StackInfo) -> None:
        self.info = info
        self.folder = info.folder
        self.workers: list[WorkerProcess] = []

    def new_worker(self, command: Sequence[str] = WORKER, **settings: str) -> WorkerProcess:
        """Return a worker, not yet started; ``settings`` are environment variables."""
        number = len(self.workers)
        environment = {**dev.environment(self.info), "CLASSPULSE_WORKER_NAME": f"worker-{number}", **settings}
        self.workers.append(WorkerProcess(self.folder / f"worker-{number}.log", environment, command))
        return self.workers[-1]

    def close(self) -> None:
        """Kill the workers and stop the stack."""
        for worker in self.workers:
            worker.kill()
        stack.down(self.folder)
