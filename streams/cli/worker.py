"""``classpulse worker``."""

import asyncio
import logging
import os

import click

from streams import settings as settings_module
from streams.output import logs


@click.command()
@click.option("--log-level", default="INFO", show_default=True, type=click.Choice(["DEBUG", "INFO", "WARNING"]))
def worker(log_level: str) -> None:
    """Run a worker until it is told to stop (SIGTERM or Ctrl-C).

    Any number of workers with the same CLASSPULSE_GROUP share the partitions. A worker that dies is replaced by the
    others; one that is started again goes on from the checkpoint in ClickHouse. While Kafka or ClickHouse is away it waits,
    says so once in its log, and again when they are back.

    \b
    Exit status: 0 after an orderly stop, 1 after a failure, 2 if it could not start.
    """
    settings = settings_module.load()
    settings.pseudonym_key_bytes()
    logs.configure(settings.log_format, log_level, settings.secrets)
    from streams.worker.runner import Worker  # imported late: Faust takes a second to load

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    status = Worker(settings, loop).run(loop)
    logging.shutdown()
    # A thread may be in a call that ClickHouse does not answer; an orderly interpreter exit would wait for it.
    os._exit(status)
