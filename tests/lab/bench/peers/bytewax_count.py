"""Bytewax: Kafka input and a tumbling count, as its guides to Kafka and to windowing do. One worker, no recovery."""

from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import operators as kop
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from bytewax.testing import run_main

from tests.lab.bench.peers.events import WINDOW_SECONDS, parsed, time_of
from tests.lab.bench.program import Stopwatch, Task

#: Out-of-order events are waited for as long as classpulse's watermark waits.
_WAIT = timedelta(seconds=60)


def _flow(task: Task) -> Dataflow:
    stopwatch = Stopwatch(task)

    def keyed(message: Any) -> tuple[str, datetime]:
        return (message.key or b"").decode("utf-8", "replace"), time_of(parsed(message.value))

    def when(event: tuple[str, datetime]) -> datetime:
        # Asked once for each event, by the window itself.
        stopwatch.count()
        return event[1]

    flow = Dataflow("bench")
    records = kop.input("records", flow, brokers=task.bootstrap.split(","), topics=[task.topic])
    events = op.map("parse", records.oks, keyed)
    windows = windowing.count_window(
        "count",
        events,
        windowing.EventClock(ts_getter=when, wait_for_system_duration=_WAIT),
        windowing.TumblingWindower(length=timedelta(seconds=WINDOW_SECONDS), align_to=datetime(2020, 1, 1, tzinfo=UTC)),
        key=lambda event: event[0],
    )
    # Every flow needs an output; nothing comes through this one.
    op.output("out", op.filter("none", windows.down, lambda _count: False), StdOutSink())
    return flow


if __name__ == "__main__":
    run_main(_flow(Task.from_command_line()))
