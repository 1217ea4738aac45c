"""Quix Streams: a tumbling count, as its guide to windowing does."""

import tempfile
from datetime import timedelta
from typing import Any

from quixstreams import Application

from tests.lab.bench.peers.events import WINDOW_SECONDS, time_of
from tests.lab.bench.program import Stopwatch, Task

_SESSION_MS = 6_000
#: Out-of-order events are waited for as long as classpulse's watermark waits.
_GRACE = timedelta(seconds=60)


def _event_time_ms(value: Any, _headers: Any, _timestamp: float, _timestamp_type: Any) -> int:
    return int(time_of(value).timestamp() * 1000)


def main(task: Task) -> None:
    """Run until the stopwatch ends the process."""
    stopwatch = Stopwatch(task)

    def skip(_error: Exception, _message: Any, _logger: Any) -> bool:
        # A record that is no JSON: the default is to stop.
        stopwatch.count()
        return True

    application = Application(
        broker_address=task.bootstrap,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(prefix="bench-quixstreams-"),
        # The embedded broker finishes a group join only after the session has passed.
        consumer_extra_config={"session.timeout.ms": _SESSION_MS},
        on_consumer_error=skip,
        on_message_processed=lambda _topic, _partition, _offset: stopwatch.count(),
        # Above the level at which every late event is a line.
        loglevel="ERROR",
    )
    topic = application.topic(
        task.topic, key_deserializer="bytes", value_deserializer="json", timestamp_extractor=_event_time_ms
    )
    windows = application.dataframe(topic).tumbling_window(timedelta(seconds=WINDOW_SECONDS), grace_ms=_GRACE)
    windows.count().final()
    application.run()


if __name__ == "__main__":
    main(Task.from_command_line())
