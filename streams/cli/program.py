"""The command ``classpulse``. A command's module is imported when it is asked for, so ``--help`` answers at once."""

import importlib
import io
import logging
import os
import signal
import sys
import traceback
from contextlib import suppress
from types import FrameType
from typing import Final

import click

from schemas.errors import ClasspulseError
from streams.output import logs, terminal

#: Exit statuses; those of interrupted and unread commands are what a shell gives for SIGINT and SIGPIPE.
BROKEN: Final = 1
FAILED: Final = 2
INTERRUPTED: Final = 130
NOT_READ: Final = 141

#: name -> (module, one line for the overview)
COMMANDS: Final = {
    "worker": ("streams.cli.worker", "Run a worker: consume, compute, store."),
    "migrate": ("streams.cli.migrate", "Bring the ClickHouse database up to date."),
    "topics": ("streams.cli.topics", "Create the Kafka topics that are missing."),
    "schema": ("streams.cli.schema", "Export the event schemas; check a vendor's events."),
    "received": ("streams.cli.received", "Tell what became of events: stored, come again, rejected."),
    "dlq": ("streams.cli.dlq", "Find, look at and replay what was rejected."),
    "evaluate": ("streams.cli.evaluate", "Make portraits and scores from what the workers stored."),
    "evaluation": ("streams.cli.evaluation", "Check, activate and show what the evaluation scores by."),
    "explain": ("streams.cli.explain", "Show what a score is made of, down to the events."),
    "verify": ("streams.cli.verify", "Recompute every metric from the stored events and compare."),
    "recompute": ("streams.cli.recompute", "Rebuild stored metrics after a formula changed."),
    "report": ("streams.cli.report", "Write the evaluation report of a school, teacher, class or group."),
    "features": ("streams.cli.features", "Write features for a model, as they were known at an instant."),
    "pseudonym": ("streams.cli.pseudonym", "Print the pseudonym a student id is stored under."),
}
#: What a checkout has besides: packages with a table ``COMMANDS`` of their own, by the heading that help gives them. The
#: wheel and the production image hold neither.
BESIDES: Final = {"On this machine": "deploy.local.commands", "Laboratory": "tests.lab.commands"}


def sections() -> dict[str, dict[str, tuple[str, str]]]:
    """Return the commands that there are here, by the heading that help gives them."""
    found = {"Commands": COMMANDS}
    for heading, package in BESIDES.items():
        with suppress(ModuleNotFoundError):
            found[heading] = importlib.import_module(package).COMMANDS
    return found


def commands() -> dict[str, tuple[str, str]]:
    """Return the commands that there are here: name -> (module, one line for the overview)."""
    return {name: told for section in sections().values() for name, told in section.items()}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in commands():
            return None
        command: click.Command = getattr(importlib.import_module(commands()[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for heading, section in sections().items():
            with formatter.section(heading):
                formatter.write_dl([(name, summary) for name, (_module, summary) in section.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="classpulse")
def cli() -> None:
    """Event streaming for smart classrooms: from a device's event to an exact metric.

    Settings are environment variables CLASSPULSE_*; docs/settings.md lists them.
    """


class _Terminated(BaseException):
    """SIGTERM came; no handler of errors may take it for one."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def main() -> None:
    """Run the command line; an error that a person can correct is a sentence, without a traceback.

    Exit status: the command's own; 2 for such an error, 130 after Ctrl-C, 141 when nobody reads what is printed.
    """
    # It logs each failed request; our own messages say what it means and what to do.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    # So that whatever waits or loops ends at once and cleans up, also as the first process of a container, which would
    # ignore the signal. Commands that have something to finish take it themselves.
    signal.signal(signal.SIGTERM, _terminate)
    terminal.prepare()
    try:
        status = _status()
        if sys.stdout is not None:
            sys.stdout.flush()
    except _Terminated:
        terminal.echo("classpulse: stopped", err=True)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        status = 128 + signal.SIGTERM
    except BrokenPipeError:
        status = NOT_READ
    except OSError as error:
        terminal.echo(f"classpulse: {_file_sentence(error)}", err=True)
        status = FAILED
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # What is left in the buffer would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _status() -> int:
    """Run the command and return its exit status; raises ``OSError``."""
    status: object
    try:
        status = cli(standalone_mode=False)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            # click's way to end; a failure would be the same status.
            raise ended.__context__ from None
        status = ended.code
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        terminal.echo(shown.getvalue(), err=True, nl=False)
        status = error.exit_code
    except OSError:
        raise
    except Exception as error:
        text, status = _told(error)
        if logs.configured():
            logs.log.critical("%s", text)
        else:
            terminal.echo(f"classpulse: {text}", err=True)
    return status if isinstance(status, int) else 0


def _told(error: Exception) -> tuple[str, int]:
    """Return what a person is told of the error that ended a command, and the exit status."""
    if isinstance(error, ClasspulseError):
        return str(error), FAILED
    if isinstance(error, click.Abort):
        if isinstance(error.__cause__ or error.__context__, EOFError):
            return "no answer was given, so nothing was done", FAILED
        return "interrupted", INTERRUPTED
    if isinstance(error, UnicodeEncodeError):
        return "an argument is not UTF-8. Give it in UTF-8", FAILED
    if _is_foreign(error):
        text = " ".join(str(error).split()) or type(error).__name__
        return f"{text}. Check Kafka and ClickHouse, and run the command again", FAILED
    return f"a fault of this program; please report it\n{traceback.format_exc()}", BROKEN


def _file_sentence(error: OSError) -> str:
    if error.filename is None:
        return f"The system refuses ({error.strerror or error}). Check files and connections, and run the command again"
    return f"{error.filename} cannot be used: {error.strerror}. Name another place, or get the right to use this one"


def _is_foreign(error: Exception) -> bool:
    """Whether the error tells of Kafka or ClickHouse, not of this program. Imported late: only a failure needs them."""
    from aiokafka.errors import KafkaError
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from urllib3.exceptions import HTTPError

    return isinstance(error, KafkaError | ClickHouseError | HTTPError)
