"""``classpulse evaluate``."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import click

from streams import settings as settings_module
from streams.cli.options import PORT, NumberType
from streams.cli.reading import away_is_final, reading
from streams.evaluation import evaluator as evaluation
from streams.evaluation.standing import after_a_cycle
from streams.output import logs
from streams.output.terminal import Console, echo
from streams.web.server import WebServer

log = logging.getLogger("classpulse.evaluator")

#: A first cycle over a long history asks more of the server than a worker ever does.
TIMEOUT_SECONDS: Final = 600.0


@click.command()
@click.option("--once/--follow", "once", default=True, help="One cycle (default), or one after the other until stopped.")
@click.option(
    "--interval-seconds",
    default=60.0,
    show_default=True,
    type=NumberType(0.001, 86_400),
    help="With --follow: from the beginning of one cycle to that of the next.",
)
@click.option(
    "--web-port",
    default=0,
    show_default=True,
    type=PORT,
    help="With --follow: serve /metrics, /healthz and /readyz here, on CLASSPULSE_WEB_HOST; 0: do not.",
)
@click.option("--user", help="A user with the evaluator's rights; default: CLASSPULSE_CLICKHOUSE_USER.")
@click.option("--password-env", default="CLASSPULSE_CLICKHOUSE_PASSWORD", show_default=True, help="Where its password is.")
def evaluate(*, once: bool, interval_seconds: float, web_port: int, user: str | None, password_env: str) -> None:
    """Make versions of metrics, portraits and scores from what the workers stored.

    \b
    A cycle has three steps, each of which writes only what has changed since:
      panes      closed metrics, with the school, class and teacher they belong to
      portraits  of students, teachers, classes, schools and groups
      scores     of the evaluation, with coverage and data quality

    Reads and writes ClickHouse alone; workers may run meanwhile. Run one evaluator for a database. It may be ended and
    started again at any moment: nothing is written twice, nothing is left out. Nothing is ever overwritten, so that any
    read as of a completed cycle gives the same answer for ever.

    A lesson, a week of preparation and an activity count once they are closed. After one cycle this command says what is
    scored, what is still open, and when that closes.

    \b
    Examples:
      classpulse evaluate                                     after an import: once
      classpulse evaluate --follow --interval-seconds 30      beside the workers: for ever

    SIGTERM or Ctrl-C ends it at once, also within a step.

    \b
    Exit status: 0 after a cycle or an orderly stop, 2 if something stands in the way that the message explains.
    """
    settings = settings_module.load_for_admin(user, password_env)
    target = replace(settings.clickhouse, timeout_seconds=TIMEOUT_SECONDS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # raises KeyboardInterrupt, wherever it waits
    cycles = 0

    def note(cycle: evaluation.Cycle) -> None:
        nonlocal cycles
        cycles += 1
        log.info("%s", cycle)

    try:
        with _progress(shown=once) as on_step:
            evaluator = evaluation.Evaluator(target, settings.metric_rules, steps=evaluation.steps(), on_step=on_step)
            if once:
                with away_is_final(target, "CLASSPULSE_CLICKHOUSE_URL"):
                    cycle = evaluator.once()
        if once:
            echo(str(cycle))
            with reading(target, "say what is scored") as client:
                echo("\n".join(after_a_cycle(client, settings.time_zone)))
            return
        logs.configure(settings.log_format, secrets=settings.secrets)
        with _served(evaluator, settings.web_host, web_port):
            evaluator.follow(interval_seconds, note)
    except KeyboardInterrupt:
        if once:
            echo("stopped before the cycle was complete; the next one goes on from here")
        else:
            log.info("stopped in order after %s complete cycles", cycles)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[str, int], None]]:
    """Name the step under way on standard error; nothing where that is not a terminal."""
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield lambda _name, _number: None
        return
    total = len(evaluation.STEPS)
    with console.status("connecting") as status:
        yield lambda name, number: status.update(f"step {number} of {total}: {name}")


@contextmanager
def _served(evaluator: evaluation.Evaluator, host: str, port: int) -> Iterator[None]:
    if not port:
        yield
        return
    registry = evaluator.telemetry.registry
    server = WebServer(host, port, registry, evaluator.alive, evaluator.ready, port_setting="--web-port")
    server.start()
    try:
        yield
    finally:
        server.stop()
