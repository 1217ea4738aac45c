"""``classpulse simulate``."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.commands.applied import Applied
from deploy.local.simulator import Disturbance, Ledger, Produced, Simulation, SimulationConfig, ending_now, publish
from deploy.local.simulator.config import FAMILY_NAMES
from deploy.local.simulator.malformed import VALUE_KINDS
from schemas.errors import MustStop
from streams import settings as settings_module
from streams.cli.options import DayType, NumberType
from streams.output.terminal import Console, echo, echo_json

_SHARE = NumberType(0.0, 1.0)
_PROGRESS_RECORDS = 5_000
#: With more events it takes several seconds to find when the last one happens.
_LONG_TO_LAY_OUT = 200_000


def _disturbance_options(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option("--realistic", is_flag=True, help="Disturb as an ordinary day does; the shares below override."),
        click.option("--disorder", type=_SHARE, help="Share of events that arrive up to 20 s late."),
        click.option("--duplicates", type=_SHARE, help="Share of events sent again later."),
        click.option("--late", type=_SHARE, help="Share of events that arrive minutes to hours late."),
        click.option("--offline", type=_SHARE, help="Share of tablets that lose the network once a lesson."),
        click.option("--skew", type=_SHARE, help="Share of devices whose clock is off by up to 45 s."),
        click.option("--wild-clocks", type=_SHARE, help="Share of events stamped decades ahead or in 1970."),
        click.option("--malformed", type=_SHARE, help="Share of records that no worker may store."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--bootstrap", help="Kafka bootstrap servers. Without: the setting CLASSPULSE_KAFKA.")
@click.option("--seed", default=1, show_default=True, help="The same seed, date and options give the same records.")
@click.option("--events", type=click.IntRange(0, 1_000_000_000), help="Exactly so many records. Without: whole days.")
@click.option("--days", default=1, show_default=True, type=click.IntRange(1, 400), help="School days, without --events.")
@click.option(
    "--date",
    type=DayType(),
    help="Last school day, at the timetable's hours. Without: the lessons are moved so that the last event happens now.",
)
@click.option("--schools", type=click.IntRange(1, 99), help="Without: fits --events, or 54.")
@click.option("--classes", type=click.IntRange(1, 60), help="Classes a school. Without: fits --events, or 15.")
@click.option("--students", default=45, show_default=True, type=click.IntRange(1, 100), help="Students a class.")
@click.option("--family", "families", multiple=True, type=click.Choice(FAMILY_NAMES), help="Only these; repeatable.")
@click.option("--binary", default=0.15, show_default=True, type=_SHARE, help="Share of records in binary mode.")
@_disturbance_options
@click.option("--speed", type=NumberType(0.001, 1e9), help="Simulated seconds a second; 1 is real time.")
@click.option("--rate", type=NumberType(0.001, 1e9), help="Records a second at most.")
@click.option("--wait", is_flag=True, help="Return only when workers have stored everything, by CLASSPULSE_CLICKHOUSE_URL.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write a file of one event a line instead; - is stdout.")
@click.option("--ledger", type=click.Path(dir_okay=False, path_type=Path), help="Write the account as JSON here.")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON instead of a table.")
def simulate(
    *,
    bootstrap: str | None,
    speed: float | None,
    rate: float | None,
    wait: bool,
    out: str | None,
    ledger: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Produce the events of a simulated district: registry, preparation, research, and lessons.

    The account says exactly how many records a worker must store, drop as duplicates, and put to the dead letters.
    Every lesson ends and is closed by its own last event, so that `classpulse evaluate` can score it at once.
    The days before the lessons are sent at once; --speed paces the lessons. Without --date each run makes lessons of its
    own, the same ones for the same seed and weekday; with it, the same records, which are duplicates the second time.
    With --out, records without a value are left out, and all records are in structured mode.

    \b
    Examples:
      classpulse simulate --events 100000                     a school morning, as fast as Kafka takes it
      classpulse simulate --events 20000 --wait               a small one, stored when the command returns
      classpulse simulate --events 50000 --speed 60           a minute a second
      classpulse simulate --realistic --ledger account.json   the whole district's day, and what must come of it
      classpulse simulate --days 5 --date 2026-11-20          a school week of the whole district
      classpulse simulate --events 1000 --out events.ndjson   events to look at, or for `classpulse schema check`
      classpulse simulate --events 10000 --malformed 0.2 --rate 500
    """
    if out is not None and (bootstrap or speed or rate or wait):
        raise click.UsageError("--out writes a file; leave out --bootstrap, --speed, --rate and --wait")
    config = _config(to_file=out is not None, **options)
    if config.date is None:
        if (config.events or 0) > _LONG_TO_LAY_OUT:
            echo("Laying out the lessons, so that the last one ends now; --date DAY needs no such step", err=True)
        config = ending_now(config, datetime.now(UTC), speed=speed, rate=rate)
    simulation = Simulation(config)
    if out is None:
        # What the client complains about while it retries reaches the person as one error at the end.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        settings = settings_module.load({"kafka": "--bootstrap"}, **({"kafka": bootstrap} if bootstrap else {}))
        access = settings.kafka_access
        asyncio.run(access.require())
        applied = Applied(settings.clickhouse, access) if wait else None
        with _progress(simulation) as advance:
            account = asyncio.run(
                publish(
                    access.client_options(),
                    simulation.records(),
                    speed=speed,
                    rate=rate,
                    pace_from_ms=simulation.fitted.first_lesson_ms,
                    stamp_now=True,
                    on_progress=advance,
                )
            )
        if applied is not None:
            with _bar("Workers store", account.produced) as advance:
                applied.wait(account.produced, advance)
    else:
        account = _write_file(out, simulation)
    if ledger is not None:
        with _named_errors(ledger):
            ledger.write_text(json.dumps(account.to_json(), indent=2) + "\n", encoding="utf-8")
    if as_json:
        echo_json(account.to_json(), err=out == "-")
    else:
        # What goes to standard output with `--out -` must stay one event a line.
        _print_account(Console(stderr=out == "-"), account)


def _config(
    *,
    to_file: bool,
    seed: int,
    events: int | None,
    days: int,
    date: datetime | None,
    schools: int | None,
    classes: int | None,
    students: int,
    families: tuple[str, ...],
    binary: float,
    **disturbance: Any,
) -> SimulationConfig:
    try:
        return SimulationConfig(
            seed=seed,
            events=events,
            days=days,
            date=date.date() if date is not None else None,
            schools=schools,
            classes_per_school=classes,
            students_per_class=students,
            families=families or FAMILY_NAMES,
            binary_share=0.0 if to_file else binary,
            disturbance=_disturbance(to_file=to_file, **disturbance),
        )
    except ValueError as error:
        raise MustStop(f"This cannot be simulated: {error}", "Change the option") from error


def _disturbance(*, to_file: bool, realistic: bool, **given: float | None) -> Disturbance:
    names = {
        "disorder": "disorder_share",
        "duplicates": "duplicate_share",
        "late": "late_share",
        "offline": "offline_share",
        "skew": "skew_share",
        "wild_clocks": "wild_clock_share",
        "malformed": "malformed_share",
    }
    shares: dict[str, Any] = {names[name]: share for name, share in given.items() if share is not None}
    if to_file:
        # A line of a file has neither headers nor key that could be wrong.
        shares["malformed_kinds"] = tuple(VALUE_KINDS)
    return replace(Disturbance.realistic() if realistic else Disturbance(), **shares)


def _write_file(out: str, simulation: Simulation) -> Ledger:
    account = Ledger()
    with _named_errors(out), click.open_file(out, "wb") as file, _progress(simulation) as advance:
        for number, record in enumerate(simulation.records(), start=1):
            _write_line(file, record)
            account.add(record)
            if number % _PROGRESS_RECORDS == 0:
                advance(number)
    return account


def _write_line(file: IO[bytes], record: Produced) -> None:
    if record.value:
        file.write(record.value + b"\n")


@contextmanager
def _named_errors(file: str | Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MustStop(f"Could not write {file}: {error.strerror}", "Name a file that can be written") from error


def _progress(simulation: Simulation) -> AbstractContextManager[Callable[[int], None]]:
    fitted = simulation.fitted
    title = f"{fitted.schools} schools, {fitted.classes_per_school} classes each"
    return _bar(f"{title}, {fitted.timetable.label(fitted.date)}", fitted.config.events)


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while the block runs, nothing unless that is a terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=total)
        yield lambda sent: bar.update(task, completed=sent)


def _print_account(console: Console, account: Ledger) -> None:
    table = Table(title="What must become of the records")
    table.add_column("topic")
    for column in ("produced", "stored", "duplicates", "dead letters"):
        table.add_column(column, justify="right")
    for topic, row in account.by_topic.items():
        table.add_row(topic, *(f"{count:,}" for count in row.values()))
    table.add_section()
    totals = (account.produced, account.stored, account.duplicates, account.dead_letters)
    table.add_row("all", *(f"{count:,}" for count in totals))
    console.print(table)
    if account.dead_letters:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in account.dead_letters_by_reason.items())
        console.print(f"Dead letters: {reasons}")
