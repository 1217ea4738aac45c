"""The Faust app of a worker: its group, its consumer, and one agent that gets batches."""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

import faust
from yarl import URL

from streams.kafka.faust_credentials import credentials
from streams.kafka.transport import Assign, BatchScheduler, CheckpointTransport
from streams.settings import Settings

#: A broker that does not answer for so long is asked again, on a new connection.
REQUEST_SECONDS: Final = 30.0
#: A topic that was deleted and made again is noticed so soon.
METADATA_MS: Final = 10_000


def new_app(settings: Settings, loop: asyncio.AbstractEventLoop, assign: Assign) -> faust.App:
    """Return the app; ``assign`` is called with the partitions of each assignment."""
    brokers = [URL(f"kafka://{server.strip()}") for server in settings.kafka.split(",")]
    app = faust.App(
        settings.group,
        broker=brokers,
        broker_credentials=credentials(settings.kafka_access),
        loop=loop,
        # Acknowledgements are off; the checkpoint in ClickHouse says how far we are.
        ConsumerScheduler=BatchScheduler,
        stream_wait_empty=False,
        stream_buffer_maxsize=2,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        store="memory://",
        # Faust wants a folder even if it keeps nothing.
        datadir=Path(tempfile.gettempdir(), "classpulse-faust"),
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=settings.fetch_max_bytes,
        consumer_metadata_max_age_ms=METADATA_MS,
        broker_request_timeout=max(REQUEST_SECONDS, settings.session_timeout_seconds),
        broker_max_poll_interval=settings.max_poll_interval_seconds,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_rebalance_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 3,
    )
    # Nothing is produced through Faust, and its producer fails at the start when no broker answers.
    app.boot_strategy.enable_kafka_producer = False
    app.transport = CheckpointTransport(brokers, app, assign=assign, leave_group=settings.leave_group)
    return app


class PlainWorker(faust.Worker):
    """Faust's process runner, without its own logging set-up, prints and spinner."""

    def _setup_logging(self) -> None:
        self.spinner = None

    def listen_to_signals(self, loop: asyncio.AbstractEventLoop, signals: tuple[int, ...]) -> None:
        """Follow signals from now on, also those that come before Mode listens to them."""
        for number in signals:
            loop.add_signal_handler(number, self._on_sigterm)
