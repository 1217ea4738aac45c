"""``classpulse worker``."""

import asyncio
import logging
import signal
import sys
import time
from typing import Final

import click

from schemas.pseudonym import fingerprint
from sinks.pseudonym_keys import compare
from streams import kafka_rights
from streams import settings as settings_module
from streams import topics as topics_module

log = logging.getLogger("classpulse.worker")

ABSENT_SECONDS: Final = 3.0
#: aiokafka complains thirty times a second while a broker is away; once in so long is enough of the same.
SAME_AGAIN_SECONDS: Final = 30.0


class _NotTheSameAgain(logging.Filter):
    """Lets each warning of a library through once in a while; the messages differ in numbers alone."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is shown."""
        if record.name.startswith("classpulse"):
            return True
        place = (record.pathname, record.lineno)
        now_seconds = time.monotonic()
        if now_seconds - self._said_at.get(place, -SAME_AGAIN_SECONDS) < SAME_AGAIN_SECONDS:
            return False
        self._said_at[place] = now_seconds
        return True


@click.command()
@click.option("--log-level", default="INFO", show_default=True, type=click.Choice(["DEBUG", "INFO", "WARNING"]))
def worker(log_level: str) -> None:
    """Run a worker until it is told to stop (SIGTERM or Ctrl-C).

    Any number of workers with the same CLASSPULSE_GROUP share the partitions. A worker that dies is replaced by the
    others; one that is started again goes on from the checkpoint in ClickHouse.

    \b
    Exit status: 0 after an orderly stop, 1 after a failure, 2 if it could not start.
    """
    logging.basicConfig(
        level=log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # aiokafka and Faust say at INFO what a rebalance does step by step; that drowns what people look for.
    for noisy in ("aiokafka", "faust", "mode"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(log_level)))
    for handler in logging.getLogger().handlers:
        handler.addFilter(_NotTheSameAgain())
    settings = settings_module.load()
    key = fingerprint(settings.pseudonym_key_bytes())
    # Said in one line here; deeper inside a wrong password or a missing right looks like an absent broker.
    asyncio.run(_check_kafka(settings))
    # A database that does not answer now is asked again before the first write.
    compare(settings.clickhouse, key)
    from streams.worker import Worker  # imported late: Faust takes a second to load

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    sys.exit(Worker(settings, loop).run(loop))


async def _check_kafka(settings: settings_module.Settings) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sys.exit, 0)
    await settings.kafka_access.check()
    while not await settings.kafka_access.answers():
        log.warning("no broker answers at %s (CLASSPULSE_KAFKA); trying again until one does", settings.kafka)
        await asyncio.sleep(ABSENT_SECONDS)
        await settings.kafka_access.check()
    await kafka_rights.check(settings.kafka_access, settings.group, [topic.name for topic in topics_module.declared()])
