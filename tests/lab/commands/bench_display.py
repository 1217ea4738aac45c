"""What the benchmark shows: progress while it runs, a table at the end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streams.output.terminal import Console

_MIB = 2**20


class BenchDisplay:
    """Steps and bars on a terminal; a line a step where there is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            # Drawing takes processor time from what is measured.
            refresh_per_second=2,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def step(self, what: str) -> None:
        """Say what happens now."""
        self._console.print(f"{time.monotonic() - self._began:6.1f} s  {what}", highlight=False, markup=False)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar while the block runs; it is given how many are done."""
        task = self._progress.add_task(what, total=total)
        try:
            yield lambda done: self._progress.update(task, completed=done)
        finally:
            self._progress.remove_task(task)


def print_result(console: Console, result: dict[str, Any]) -> None:
    """Print what ``--json`` prints, as a person reads it."""
    machine, versions = result["machine"], result["versions"]
    console.print(
        f"{result['events']:,} events of {result['bytes_per_event']:.0f} bytes ({result['mix']}) on {versions['broker']}; "
        f"{machine['cores']} cores of {machine['cpu']}; medians of {len(result['rounds']['ceiling'])} rounds",
        highlight=False,
        markup=False,
    )
    table = Table()
    table.add_column("")
    for column in ("events/s", "classpulse", "CPU µs", "events", "spread"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row(
        "ceiling: aiokafka alone",
        f"{result['ceiling_events_per_second']:,.0f}",
        f"{result['ratio_to_ceiling']:.2f} of it",
        _number(result["ceiling_cpu_us_per_event"]),
        f"{result['events']:,}",
        f"{result['spread']['ceiling']:.0%}",
    )
    table.add_row(
        "[bold]classpulse[/bold]",
        f"[bold]{result['classpulse_events_per_second']:,.0f}[/bold]",
        "",
        _number(result["worker_cpu_us_per_event"]),
        f"{result['events']:,}",
        f"{result['spread']['classpulse']:.0%}",
    )
    for name, peer in result["peers"].items():
        table.add_row(
            name,
            f"{peer['events_per_second']:,.0f}",
            f"{peer['ratio']:g} × it",
            _number(peer["cpu_us_per_event"]),
            f"{peer['events']:,}",
            f"{peer['spread']:.0%}",
        )
    console.print(table)
    console.print(
        f"Beside the worker, ClickHouse took {_number(result['clickhouse_cpu_us_per_event'])} µs of CPU an event. "
        f"Start-up {result['startup_seconds']:.1f} s; memory of the worker at most "
        f"{result['worker_peak_memory_bytes'] / _MIB:,.0f} MiB.",
        highlight=False,
    )
    for name, remedy in result["not_measured"].items():
        console.print(f"{name} was not measured: {remedy}", style="yellow", markup=False)
    if result["laws_hold"]:
        console.print("Every record is accounted for in every round, and verify finds no difference.", style="green")
    else:
        console.print(
            f"The invariants do not hold: verify finds {result['verify_differences']} differences.", style="bold red"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
