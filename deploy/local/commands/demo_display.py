"""What the demo shows: progress while it runs, a summary at the end."""

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from clickhouse_connect.driver.client import Client
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.commands.demo_answers import QUESTIONS, Question
from deploy.local.simulator import Ledger
from streams.output.terminal import Console

#: Where there is no terminal to draw a bar on, a line says after each of these shares of the work how far it is.
_TOLD: Final = 0.25
_EXAMPLE_QUERY: Final = "SELECT * FROM v1_lessons LIMIT 3 FORMAT Pretty"


@dataclass(slots=True)
class Bar:
    """One progress bar, or now and then a line by ``say``."""

    what: str
    total: int
    progress: Progress
    task: TaskID
    say: Callable[[str], None]
    told: float = 0.0

    def update(self, done: int) -> None:
        """Set how many are done."""
        self.progress.update(self.task, completed=done)
        if self.progress.disable and done / self.total >= self.told + _TOLD:
            self.told = done / self.total // _TOLD * _TOLD
            self.say(f"{self.what}: {done:,} of {self.total:,} records")


class Display:
    """Steps and bars on a terminal; a line a step where there is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def step(self, what: str) -> None:
        """Say what happens now."""
        self._console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/dim]  {what}", highlight=False)

    def bar(self, what: str, total: int) -> Bar:
        """Add a progress bar."""
        return Bar(what, total, self._progress, self._progress.add_task(what, total=total), self.step)


def print_summary(
    console: Console,
    result: Mapping[str, float],
    ledger: Ledger,
    client: Client,
    invariants_hold: bool,
    drained: bool,
) -> None:
    """Print what happened, and three queries with their answers; ``drained``: the events were there first."""
    console.print()
    console.print(_accounts(result, ledger))
    verdict = (
        "[bold green]Both invariants hold.[/bold green] Every record is accounted for, and verify recomputed "
        f"{result['metric_rows']:,} metric rows from the stored events without a difference."
        if invariants_hold
        else "[bold red]An invariant is broken.[/bold red] Run the demo with --keep, then `classpulse verify`."
    )
    console.print(Panel(verdict, expand=False))
    if drained:
        rate = f"{result['events_per_second']:,.0f}"
        console.print(f"One worker stored {rate} events/s on this machine, ClickHouse included.\n")
    else:
        console.print("`classpulse demo --events 1000000` measures how fast one worker drains a backlog.\n")
    console.print("Three questions, and what ClickHouse answers; any client that reads the views can ask them:\n")
    for question in QUESTIONS:
        _print_answer(console, client, question)


def _accounts(result: Mapping[str, float], ledger: Ledger) -> Table:
    table = Table("", "simulator says", "ClickHouse says", "meaning", title="A school morning, record by record")
    rows = (
        ("produced", ledger.produced, result["stored"] + result["duplicates"] + result["dead_letters"], "sent by devices"),
        ("stored", ledger.stored, result["stored"], "unique events"),
        ("duplicates", ledger.duplicates, result["duplicates"], "sent again by a device; no second effect"),
        ("dead letters", ledger.dead_letters, result["dead_letters"], _reasons(ledger)),
    )
    for name, expected, found, meaning in rows:
        style = "" if expected == found else "bold red"
        table.add_row(name, f"{expected:,}", f"{found:,}", meaning, style=style)
    table.add_row("metric rows", "", f"{result['metric_rows']:,}", "metrics over windows, lessons, weeks, activities")
    return table


def _reasons(ledger: Ledger) -> str:
    return "rejected: " + ", ".join(f"{reason} {count}" for reason, count in ledger.dead_letters_by_reason.items())


def _print_answer(console: Console, client: Client, question: Question) -> None:
    console.print(f"[bold]{question.chinese}[/bold]  {question.english}")
    console.print(question.sql, style="dim", highlight=False, markup=False, soft_wrap=True)
    answer = client.query(question.sql)
    if not answer.result_rows:
        console.print("No rows: so few events hold nothing of it.\n")
        return
    table = Table()
    for name, values in zip(answer.column_names, zip(*answer.result_rows, strict=True), strict=True):
        table.add_column(name, justify="left" if isinstance(values[0], str) else "right")
    for row in answer.result_rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row))
    console.print(table)
    console.print()


def print_next(console: Console, clickhouse_url: str | None, folder: Path) -> None:
    """Print where to go next; ``clickhouse_url`` is None if everything was stopped.

    Commands stand on lines of their own that are never broken, so that they can be copied.
    """
    if clickhouse_url is None:
        console.print(
            "Next: `classpulse demo --keep` leaves everything running to look around in; `classpulse dev up` starts an "
            "empty stack.\nHow to connect a device, Grafana or curl: README.md."
        )
        return
    named = shlex.quote(str(folder))
    first = "" if shutil.which("classpulse") else f"\nIn this shell first:\n. {shlex.quote(sys.prefix)}/bin/activate\n"
    lines = f"""Everything is still running.
{first}
Read a view with curl:
eval "$(classpulse dev env --folder {named} --user classpulse_reader)"
curl --silent --show-error "$CLASSPULSE_CLICKHOUSE_URL/?database=classpulse" \\
  --user "$CLASSPULSE_CLICKHOUSE_USER:$CLASSPULSE_CLICKHOUSE_PASSWORD" \\
  --data-binary "{_EXAMPLE_QUERY}"

Score it, and explain a score:
eval "$(classpulse dev env --folder {named} --user classpulse_evaluator)"
classpulse evaluate
classpulse explain district

Grafana: a ClickHouse data source at {clickhouse_url}, user classpulse_reader; its password is in
{folder / "credentials.json"}

Send events of your own, in a shell with the settings above: README.md, Connect a device

Stop everything:
classpulse demo --stop --folder {named}"""
    console.print(lines, highlight=False, markup=False, soft_wrap=True)
