"""Plain Faust: an agent that counts in a tumbling table, as its guide to tables does.

Windows follow the broker's timestamps, as Faust's do by default; with the time of an event Faust would need a model of it.
"""

import logging
import tempfile
from typing import Any

import faust

from tests.lab.bench.peers.events import WINDOW_SECONDS, parsed
from tests.lab.bench.program import Stopwatch, Task

_SESSION_SECONDS = 6.0


def _app(task: Task) -> faust.App:
    app = faust.App(
        task.group,
        broker=f"kafka://{task.bootstrap.split(',')[0]}",
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="bench-faust-"),
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=task.fetch_max_bytes,
        topic_partitions=task.partitions,
        topic_disable_leader=True,
        web_enabled=False,
        # The embedded broker finishes a group join only after these have passed.
        broker_session_timeout=_SESSION_SECONDS,
        broker_rebalance_timeout=_SESSION_SECONDS,
        broker_heartbeat_interval=_SESSION_SECONDS / 3,
    )
    # Raw: Faust's own decoding stops the agent at the first record that is no JSON.
    topic = app.topic(task.topic, key_serializer="raw", value_serializer="raw")
    # Its changelog needs as many partitions as the topic has.
    counts = app.Table(f"{task.group}-counts", default=int, key_type=str).tumbling(WINDOW_SECONDS, expires=60.0)
    stopwatch = Stopwatch(task)

    async def count(stream: faust.StreamT[Any]) -> None:
        async for key, value in stream.items():
            if isinstance(parsed(value), dict):
                counts[(key or b"").decode("utf-8", "replace")] += 1
            stopwatch.count()

    app.agent(topic)(count)
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    faust.Worker(_app(Task.from_command_line()), loglevel="WARN", quiet=True).execute_from_commandline()
