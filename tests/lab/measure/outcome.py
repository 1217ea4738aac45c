"""What a measuring program says at the end: a table for people, JSON for programs, and which goals were met."""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from streams.output.terminal import Console

__all__ = ["Goal", "Outcome"]

_WIDTH: Final = 140


@dataclass(frozen=True, slots=True)
class Goal:
    """One bound and what was measured: ``at_most`` it, or at least."""

    name: str
    bound: float
    measured: float
    unit: str
    at_most: bool = True

    @property
    def met(self) -> bool:
        """Whether what was measured keeps the bound; what could not be measured does not."""
        if math.isnan(self.measured):
            return False
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def to_json(self) -> dict[str, Any]:
        """Return the goal with its verdict."""
        return {
            "goal": self.name,
            "bound": self.bound,
            "at_most": self.at_most,
            "unit": self.unit,
            "measured": round(self.measured, 3),
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """``columns`` and ``rows`` are the table; ``figures`` is what JSON holds beside the machine and the options."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: dict[str, Any]
    goals: Sequence[Goal]

    def to_json(
        self, machine: Mapping[str, Any], versions: Mapping[str, str], options: argparse.Namespace
    ) -> dict[str, Any]:
        """Return everything, with when and on what it was measured; ``options``: those of the command line."""
        given = {name: value for name, value in vars(options).items() if name not in {"json", "folder"}}
        return {
            "measured": self.name,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": dict(machine),
            "versions": dict(versions),
            "options": given,
            "figures": self.figures,
            "goals": [goal.to_json() for goal in self.goals],
        }

    def tell(self, machine: Mapping[str, Any], versions: Mapping[str, str], options: argparse.Namespace) -> None:
        """Print the table on standard error and JSON on standard output; write JSON to ``options.json`` if it is given."""
        # Where there is no terminal, Rich takes 80 columns, too few for most of these tables.
        console = Console(stderr=True, width=None if sys.stderr.isatty() else _WIDTH)
        table = Table(*self.columns, title=f"{self.name} ({machine['cores']} cores, {options.broker} broker)")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for goal in self.goals:
            verdict = "[green]met[/green]" if goal.met else "[red]missed[/red]"
            sign = "≤" if goal.at_most else "≥"
            console.print(f"{verdict}  {goal.name}: {goal.measured:,.3g} {goal.unit} ({sign} {goal.bound:,g})")
        text = json.dumps(self.to_json(machine, versions, options), indent=2, ensure_ascii=False) + "\n"
        sys.stdout.write(text)
        if options.json is not None:
            Path(options.json).write_text(text, encoding="utf-8")
