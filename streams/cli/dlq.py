"""``classpulse dlq``: find out what was rejected, look at it, and replay it once the cause is fixed."""

import asyncio
import logging
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from zoneinfo import ZoneInfo

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams import settings as settings_module
from streams.cli.dlq_display import (
    GROUPINGS,
    Summary,
    dead_letter_line,
    dead_letter_lines,
    dead_letters_table,
)
from streams.cli.dlq_options import PositionType, selected, selecting
from streams.cli.options import NumberType
from streams.dlq.log import DeadLetterLog, open_log
from streams.dlq.records import PublishedDeadLetter, RecordPosition, Selection
from streams.dlq.replay import Replayed, obstacle, replay
from streams.kafka.topics import DEAD_LETTER_TOPIC
from streams.output.terminal import Console, echo, printable
from streams.settings import Settings

#: A table is laid out as a whole, so many rows are shown in several.
ROWS_PER_TABLE: Final = 200
LARGEST_LIMIT: Final = 10_000
SUMMARY_ROWS: Final = 40
#: Dead letters that `show` prints of one position: a position has several once its topic was recreated.
MOST_SHOWN: Final = 10


@click.group()
def dlq() -> None:
    """Find, look at and replay what was rejected (dead letters, 死信).

    Reads the topic classpulse.dead-letters of CLASSPULSE_KAFKA; whoever may read that topic can use these commands.

    \b
    A way through:
      classpulse dlq list                                what is rejected, why, and whose it is
      classpulse dlq list --reason data --limit 20       the newest twenty of one kind
      classpulse dlq show classpulse.classroom/3@1841    one of them, with its content
      classpulse dlq replay --reason unknown_version --since 2d --dry-run
    """
    # What it logs of a broker that is away is in our own message, with the remedy.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@dlq.command(name="list")
@selecting
@click.option("--limit", type=click.IntRange(1, LARGEST_LIMIT), help="List the newest so many, one by one.")
@click.option("--all", "every", is_flag=True, help="List all, one by one, oldest first.")
@click.option("--summary", is_flag=True, help="Count in groups; so without --limit and --all.")
@click.option(
    "--by", multiple=True, type=click.Choice(GROUPINGS), help="Group by this; default: reason, field, type and source."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def list_letters(
    *, limit: int | None, every: bool, summary: bool, by: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """List what was rejected: by default in groups, with counts, first and last time.

    Conditions of one kind are alternatives, of different kinds all hold. A PATTERN may hold *. Source and type are those
    of the rejected event, as far as they can be read. Times are those of CLASSPULSE_TIME_ZONE (--json: UTC).

    No content is shown. `classpulse dlq show POSITION` shows it.
    """
    if limit is not None and every:
        raise click.UsageError("--limit and --all exclude each other.")
    settings = settings_module.load()
    selection = selected(settings, **given)
    if summary or by or (limit is None and not every):
        asyncio.run(_print_summary(settings, selection, by or GROUPINGS[:4], as_json=as_json))
    else:
        asyncio.run(_print_letters(settings, selection, limit, as_json=as_json))


@dlq.command()
@click.argument("position", type=PositionType())
@click.option("--raw", is_flag=True, help="Write the value's bytes as they are, into a file or a pipe.")
def show(position: RecordPosition, *, raw: bool) -> None:
    """Show one dead letter: why it was rejected, where it was, its headers and its original bytes.

    POSITION is where the rejected record was, as `list` prints it (classpulse.classroom/3@1841), or where the dead letter
    is (classpulse.dead-letters/0@17), which is found at once. Control characters are shown escaped.

    The original bytes may hold personal data, such as a student's number before it became a pseudonym. Only who may read
    the topic classpulse.dead-letters can see them; do not pass them on.

    \b
    Exit status: 0 if it was found, 1 if not.
    """
    if raw and sys.stdout.isatty():
        raise click.UsageError("--raw writes bytes that a terminal may obey; send them into a file: --raw > record.bin")
    settings = settings_module.load()
    letters = asyncio.run(_found(settings, position))
    if not letters:
        echo(f"No dead letter of {position} in {DEAD_LETTER_TOPIC}; it keeps them for 30 days.", err=True)
        sys.exit(1)
    if raw:
        if "value" in letters[-1].truncated:
            echo(f"classpulse: only the beginning; all of it is at {letters[-1].position}", err=True)
        click.get_binary_stream("stdout").write(letters[-1].value or b"")
        return
    for number, letter in enumerate(letters):
        if number:
            echo()
        for line in dead_letter_lines(letter, ZoneInfo(settings.time_zone)):
            echo(line)


@dlq.command(name="replay")
@selecting
@click.argument("positions", type=PositionType(), nargs=-1)
@click.option("--all", "every", is_flag=True, help="Replay everything; needed where nothing is selected.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent, by topic and reason.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--rate", type=NumberType(0.001, 1e9), help="Records a second at most.")
def replay_letters(
    *, positions: tuple[RecordPosition, ...], every: bool, dry_run: bool, yes: bool, rate: float | None, **given: Any
) -> None:
    """Send rejected records to their own topics again, as they were: same key, same bytes, same headers.

    Fix the cause first: upgrade the workers, or correct the setting that rejected them. A record that is still bad is
    rejected again and makes a new dead letter, nothing else; what a producer got wrong, it must send again corrected.

    An event keeps its source and id, so replaying twice stores it once; the second counts as a duplicate. What was replayed
    and rejected again is sent once by the next replay, however many dead letters it has. A dead letter that was cut is
    replayed from the original record, if its topic still has it. Only dead letters that are there when the command begins
    are read. Each replayed record has the header classpulse-replayed-from.

    \b
    Exit status: 0 if everything selected was sent, 1 if some could not be, 2 if it failed midway: repeat it.
    """
    settings = settings_module.load()
    selection = selected(settings, positions, **given)
    if selection.is_everything and not every:
        raise click.UsageError("Select what to replay (a POSITION, --reason, --since, ...), or give --all.")
    sys.exit(asyncio.run(_replay(settings, selection, dry_run=dry_run, yes=yes, rate=rate)))


async def _print_summary(settings: Settings, selection: Selection, by: tuple[str, ...], *, as_json: bool) -> None:
    summary = Summary(by)
    async with open_log(settings) as log:
        async for letter in _read(log, selection):
            summary.add(letter)
    if as_json:
        for line in summary.lines():
            echo(line)
        return
    console = Console()
    if summary.letters:
        console.print(summary.table(ZoneInfo(settings.time_zone), SUMMARY_ROWS))
    more = len(summary.groups) - SUMMARY_ROWS
    beyond = f"; {more:,} more, narrow with the filters or --by" if more > 0 else ""
    echo(f"{summary.letters:,} dead letters in {len(summary.groups):,} groups{beyond}{_foreign(log)}")


async def _print_letters(settings: Settings, selection: Selection, limit: int | None, *, as_json: bool) -> None:
    zone, console = ZoneInfo(settings.time_zone), Console()
    # Only what is listed stays in memory; without a limit, one table's worth.
    held: deque[PublishedDeadLetter] = deque(maxlen=limit)
    count = 0

    def flush() -> None:
        if as_json:
            for letter in held:
                echo(dead_letter_line(letter))
        elif held:
            console.print(dead_letters_table(held, zone))
        held.clear()

    async with open_log(settings) as log:
        async for letter in _read(log, selection):
            count += 1
            held.append(letter.without_content())
            if limit is None and len(held) == ROWS_PER_TABLE:
                flush()
    shown = min(count, limit or count)
    flush()
    if not as_json:
        echo(f"{shown:,} of {count:,} dead letters{_foreign(log)}")


async def _found(settings: Settings, position: RecordPosition) -> list[PublishedDeadLetter]:
    found: deque[PublishedDeadLetter] = deque(maxlen=MOST_SHOWN)
    async with open_log(settings) as log:
        async for letter in _read(log, Selection(positions=frozenset({position}))):
            found.append(letter)
    return list(found)


async def _replay(settings: Settings, selection: Selection, *, dry_run: bool, yes: bool, rate: float | None) -> int:
    async with open_log(settings) as log:
        plan, obstacles, cut = Counter[tuple[str, str]](), Counter[str](), 0
        async for letter in _read(log, selection, events=True):
            if why := obstacle(letter):
                obstacles[why] += 1
            else:
                plan[letter.position.topic, letter.reason] += 1
                cut += bool(letter.truncated)
        for (topic, reason), count in sorted(plan.items()):
            echo(f"{count:>9,}  {topic}  {printable(reason)}")
        for why, count in obstacles.items():
            echo(f"{count:>9,}  left out, {why}")
        if cut:
            echo(f"{cut:>9,}  of these were cut; their originals are read from their topics")
        if dry_run or not plan:
            echo(f"would be sent: {plan.total():,}" if plan else "Nothing to replay.")
            return 1 if obstacles else 0
        if not yes and not click.confirm(f"Send these records again ({plan.total():,})?"):
            return 0
        with _bar("replaying", plan.total() + obstacles.total()) as advance:
            done = await replay(log, settings, selection, rate=rate, on_progress=lambda replayed: advance(replayed.letters))
    return _report(done)


def _report(done: Replayed) -> int:
    echo(f"sent: {done.sent:,}")
    for why, count in done.skipped.items():
        echo(f"left out: {count:,} {why}")
    return 1 if done.skipped else 0


async def _read(log: DeadLetterLog, selection: Selection, *, events: bool = False) -> AsyncIterator[PublishedDeadLetter]:
    """Read with a bar on standard error."""
    with _bar("reading", None) as advance:
        async for letter in log.letters(selection, advance, events=events):
            yield letter


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show a bar on standard error; nothing where that is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total)

        def advance(completed: int, of: int | None = None) -> None:
            bars.update(task, completed=completed, total=total if of is None else of)

        yield advance


def _foreign(log: DeadLetterLog) -> str:
    if not log.foreign_records:
        return ""
    return f"; {log.foreign_records:,} records of the topic are none of classpulse's, and left out"
