"""What the demo shows: progress while it runs, a summary at the end."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from clickhouse_connect.driver.client import Client
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.simulator import Ledger
from streams.terminal import Console

QUERIES: Final = (
    (
        "Which lessons drew in the most students (参与广度)?",
        """SELECT class_id, course, formatDateTime(window_start, '%H:%i', 'Asia/Shanghai') AS began,
    round(value, 3) AS breadth, sample_size AS students
FROM v1_lesson_figures
WHERE metric = 'participation_breadth' AND window = 'lesson' AND sample_size >= 10
ORDER BY breadth DESC, class_id LIMIT 3""",
    ),
    (
        "How did one lesson's interactions move, minute by minute (人均互动频次)?",
        """SELECT lesson_id, formatDateTime(window_start, '%H:%i', 'Asia/Shanghai') AS begins,
    round(value, 3) AS per_student_minute, sample_size AS interactions, closed
FROM v1_lesson_figures
WHERE metric = 'interactions_per_student_minute' AND window = '10m/1m'
  AND lesson_id = (SELECT min(lesson_id) FROM v1_lessons)
ORDER BY window_start LIMIT 4, 5""",
    ),
    (
        "Who prepared longest in the last seven days (有效备课时长)?",
        """SELECT teacher_id, toDate(window_start, 'Asia/Shanghai') AS first_day, round(value, 1) AS active_minutes,
    sample_size AS activities
FROM v1_prep_figures
WHERE window = '7d/1d'
ORDER BY value DESC, first_day DESC, teacher_id
LIMIT 1 BY teacher_id LIMIT 3""",
    ),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One progress bar."""

    progress: Progress
    task: TaskID

    def update(self, done: int) -> None:
        """Set how many are done."""
        self.progress.update(self.task, completed=done)


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, what: str) -> None:
        """Say what happens now."""
        self._console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/dim]  {what}", highlight=False)

    def bar(self, what: str, total: int) -> Bar:
        """Add a progress bar."""
        if not self._console.is_terminal:
            self.step(f"{what}: {total} records")
        return Bar(self._progress, self._progress.add_task(what, total=total))


def print_summary(
    console: Console,
    result: Mapping[str, float],
    ledger: Ledger,
    client: Client,
    laws_hold: bool,
    drained: bool,
) -> None:
    """Print what happened, and three queries with their answers; ``drained``: the events were there first."""
    console.print()
    console.print(_accounts(result, ledger))
    verdict = (
        "[bold green]Both laws hold.[/bold green] Every record is accounted for, and verify recomputed "
        f"{result['metric_rows']:,} metric rows from the stored events without a difference."
        if laws_hold
        else "[bold red]A law is broken.[/bold red] Run the demo with --keep, then `classpulse verify`."
    )
    console.print(Panel(verdict, expand=False))
    if drained:
        rate = f"{result['events_per_second']:,.0f}"
        console.print(f"One worker stored {rate} events/s on this machine, ClickHouse included.\n")
    else:
        console.print("`classpulse demo --events 1000000` measures how fast one worker drains a backlog.\n")
    for question, sql in QUERIES:
        _print_query(console, client, question, sql)


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
    table.add_row("metric rows", "", f"{result['metric_rows']:,}", "figures over windows, lessons, weeks, activities")
    return table


def _reasons(ledger: Ledger) -> str:
    return "refused: " + ", ".join(f"{reason} {count}" for reason, count in ledger.dead_letters_by_reason.items())


def _print_query(console: Console, client: Client, question: str, sql: str) -> None:
    console.print(f"[bold]{question}[/bold]")
    console.print(f"[dim]{sql}[/dim]", highlight=False)
    answer = client.query(sql)
    table = Table(*answer.column_names)
    for row in answer.result_rows:
        table.add_row(*(str(value) for value in row))
    console.print(table)


def print_next(console: Console, clickhouse_url: str | None, folder: Path) -> None:
    """Print where to go next; ``clickhouse_url`` is None if everything was stopped."""
    if clickhouse_url is None:
        console.print(
            "Next: `classpulse demo --keep` leaves everything running to look around in; `classpulse dev up` starts an "
            "empty stack.\nHow to connect a device, Grafana or curl: README.md."
        )
        return
    console.print("Everything is still running.")
    query = "SELECT+*+FROM+classpulse.v1_lessons+LIMIT+3+FORMAT+Pretty"
    console.print(f"  curl       curl '{clickhouse_url}/?query={query}' \\")
    console.print(f"               -u classpulse_reader:PASSWORD    (passwords: {folder / 'credentials.json'})")
    console.print(f"  Grafana    a ClickHouse data source at {clickhouse_url}, user classpulse_reader")
    console.print(f'  a device   eval "$(classpulse dev env --folder {folder})"; then README.md, Connect a device')
    console.print(f"  stop       classpulse demo --stop --folder {folder}")
