"""What the torture command shows: the fault of the moment while it runs, a table at the end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from deploy.local.commands.demo_display import Display
from streams.output.terminal import Console, plain
from tests.lab.chaos.conductor import Conductor
from tests.lab.chaos.feed import Feed
from tests.lab.chaos.schedule import KIND, Step

_MOST_SHOWN: Final = 20
_LONGEST_TAIL_CHARACTERS: Final = 600


class TortureDisplay(Display):
    """The steps, and a bar for the faults; a line a fault where there is no terminal."""

    def __init__(self, console: Console, seconds: int, faults: int) -> None:
        super().__init__(console)
        self._faults = faults
        self._feed: Feed | None = None
        self._conductor: Conductor | None = None
        self._seconds = seconds
        self._strikes = self._progress.add_task("Faults", total=faults)
        self._stored = self._progress.add_task("Checkpointed", total=None, visible=False)
        self._struck = 0

    def follow(self, conductor: Conductor, feed: Feed) -> None:
        """Say whose progress is shown."""
        self._conductor, self._feed = conductor, feed

    def strike(self, step: Step) -> None:
        """Show the fault that begins."""
        self._struck += 1
        records = self._feed.acknowledged if self._feed is not None else 0
        others = len(self._conductor.current) if self._conductor is not None else 0
        beside = f", beside {others} more" if others else ""
        self._progress.update(
            self._strikes,
            completed=self._struck,
            description=f"{step.kind} {step.table} at {step.target}{beside}; {records:,} records".replace("  ", " "),
        )
        if not self._console.is_terminal:
            self._console.print(f"{self._struck:4} of {self._faults} {step}", highlight=False, soft_wrap=True)

    def checkpointed(self, consumed: int) -> None:
        """Show how far the workers have settled."""
        total = self._feed.acknowledged if self._feed is not None else None
        self._progress.update(self._stored, completed=consumed, total=total, visible=True)


def print_result(console: Console, result: Mapping[str, Any], folder: Path) -> None:
    """Print faults by kind, what became of the records, and every broken invariant."""
    table = Table(title=f"Faults, seed {result['seed']}, {result['broker']} broker, {result['workers']} workers")
    table.add_column("fault")
    table.add_column("done", justify="right")
    table.add_column("met", justify="right")
    table.add_column("what")
    for kind, count in sorted(result["faults_done"].items()):
        table.add_row(kind, str(count), str(result["faults_met"].get(kind, 0)), KIND[kind].what)
    table.add_section()
    table.add_row("all", str(sum(result["faults_done"].values())), str(sum(result["faults_met"].values())), "")
    console.print(table)
    account = Table(title="Records", show_header=False)
    account.add_column()
    account.add_column(justify="right")
    names = (
        "produced",
        "consumed",
        "stored",
        "duplicates",
        "dead_letters",
        "lost",
        "doubled",
        "rows_expected",
        "differences",
    )
    for name in names:
        bad = name in {"lost", "doubled", "differences"} and result[name]
        account.add_row(name.replace("_", " "), f"{result[name]:,}", style="bold red" if bad else "")
    console.print(account)
    _print_endings(console, result)
    for problem in (*result["problems"], *result["failures"])[:_MOST_SHOWN]:
        console.print(plain(problem, style="red"))
    good, bad = "[bold green]Every invariant holds.[/bold green]", "[bold red]An invariant is broken.[/bold red]"
    console.print(
        f"{good if result['invariants_hold'] else bad} The schedule, what was done, and all logs are in {folder}."
    )


def _print_endings(console: Console, result: Mapping[str, Any]) -> None:
    """Show the workers that ended by themselves and were started again; that is allowed, but worth a look."""
    endings = result["endings"]
    if not endings:
        return
    console.print(f"{len(endings)} times a worker ended by itself and was started again, such as:")
    for ending in endings[:3]:
        last = ending["tail"][-_LONGEST_TAIL_CHARACTERS:]
        console.print(plain(f"{ending['worker']} at {ending['at_seconds']:.0f} s, status {ending['status']}: …{last}"))
