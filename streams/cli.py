"""The command ``classpulse``. A command's module is imported when it is asked for, so ``--help`` answers at once."""

import importlib
import logging
import os
import signal
import sys
from types import FrameType
from typing import Final

import click

from schemas.errors import MustStop, RetryLater

#: name -> (module below ``streams.commands``, one line for the overview)
COMMANDS: Final = {
    "demo": ("demo", "Play a simulated school morning through everything, and check the result."),
    "dev": ("dev", "Start, stop and look at the embedded Kafka and ClickHouse."),
    "fuzz": ("fuzz", "Send hostile records through a worker, and account for each."),
    "simulate": ("simulate", "Produce the events of a simulated district."),
    "worker": ("worker", "Run a worker: consume, compute, store."),
    "migrate": ("migrate", "Bring the ClickHouse database up to date."),
    "topics": ("topics", "Create the Kafka topics that are missing."),
    "schema": ("schema", "Export the event schemas; check a vendor's events."),
    "dlq": ("dlq", "Find, look at and replay what was refused."),
    "evaluate": ("evaluate", "Make portraits and scores from what the workers stored."),
    "evaluation": ("evaluation", "Check, activate and show what the evaluation scores by."),
    "explain": ("explain", "Show what a score is made of, down to the events."),
    "verify": ("verify", "Recompute every figure from the stored events and compare."),
    "recompute": ("recompute", "Rebuild stored figures after a formula changed."),
    "report": ("report", "Write the evaluation report of a school, teacher, class or group."),
    "bench": ("bench", "Measure classpulse beside the bare client's ceiling and its peers."),
    "torture": ("torture", "Strike a running system with faults; check that every law holds."),
    "pseudonym": ("pseudonym", "Print the pseudonym a student id is stored under."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"streams.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_module, summary) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="classpulse")
def cli() -> None:
    """Event streaming for smart classrooms: from a device's event to an exact figure.

    Start with `classpulse demo`. Settings are environment variables CLASSPULSE_*; docs/settings.md lists them.
    """


class _Terminated(BaseException):
    """SIGTERM came; no handler of errors may take it for one."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def main() -> None:
    """Run the command line; errors that a person can mend are one line, without a traceback."""
    # It logs each failed request; our own messages say what it means and what to do.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    # So that whatever waits or loops ends at once and cleans up, also as the first process of a container, which would
    # ignore the signal. Commands that have something to finish take it themselves.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli()
    except _Terminated:
        click.echo("classpulse: stopped", err=True)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(128 + signal.SIGTERM)
    except (MustStop, RetryLater) as error:
        click.echo(f"classpulse: {error}", err=True)
        sys.exit(2)
