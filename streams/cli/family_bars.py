"""A progress bar for each family of events, on standard error; nothing where that is not a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from streams.output.terminal import Console

__all__ = ["family_bars"]

#: ``show(family, done, total, text)``: so many of the family's ranges are done, and what there is to say.
Show = Callable[[str, int, int, str], None]


@contextmanager
def family_bars() -> Iterator[Show]:
    """Give a function that moves the bar of a family, and make the bar when it is first named."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(family: str, done: int, total: int, text: str) -> None:
            if family not in tasks:
                tasks[family] = bars.add_task(family, total=total)
            bars.update(tasks[family], completed=done, description=f"{family}: {text}")

        yield show
