"""What verification found: differences of rows, invariants that do not hold, and how much was looked at."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

__all__ = ["Difference", "Invariant", "OnProgress", "Progress", "Scalar", "VerifyReport"]

Kind = Literal["missing", "unexpected", "different", "invariant"]
Scalar = str | int | float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the stored events say.

    ``missing``: a metric that should be stored. ``unexpected``: a stored metric that no event explains.
    ``different``: ``columns`` do not agree. ``invariant``: counters of a partition do not add up. ``key`` names the row
    (metric, window, key, item, slot) or the partition (topic, partition, invariant); times are RFC 3339 in UTC.
    ``expected`` and ``stored`` hold the metrics on both sides, None where there is no row.
    """

    kind: Kind
    key: dict[str, Scalar]
    columns: tuple[str, ...]
    expected: dict[str, Scalar] | None
    stored: dict[str, Scalar] | None


@dataclass(frozen=True, slots=True)
class Invariant:
    """One equation of the accounting of one partition: two counts, in records, that must be equal.

    ``expected`` is what the tables or the other counters say, ``counted`` what is held against it.
    """

    topic: str
    partition: int
    name: str
    expected: int
    counted: int

    @property
    def holds(self) -> bool:
        """Both counts are equal."""
        return self.expected == self.counted


@dataclass(frozen=True, slots=True)
class Progress:
    """How far verification is: ranges of keys done of one family, rows and differences so far in all."""

    family: str
    ranges_done: int
    ranges_total: int
    rows_expected: int
    differences_total: int


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class VerifyReport:
    """The verdict. ``differences`` holds at most ``limit`` of the ``differences_total``; ``invariants`` holds
    all of them.

    ``since`` holds for each family, and for ``dead_letters``, the first day (UTC) of storing that was looked at; None
    where that is everything. Metrics that depend on an event stored before that day are left out.
    """

    limit: int
    rows_expected: int = 0
    rows_stored: int = 0
    differences_total: int = 0
    differences: list[Difference] = field(default_factory=list)
    invariants: list[Invariant] = field(default_factory=list)
    since: dict[str, str | None] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Nothing differs and every invariant holds."""
        return self.differences_total == 0

    @property
    def room(self) -> int:
        """How many more differences are listed."""
        return max(0, self.limit - len(self.differences))

    def add(self, differences: list[Difference], total: int) -> None:
        """List as many of ``differences`` as there is room for, and count ``total`` of them."""
        self.differences += differences[: self.room]
        self.differences_total += total

    def note_since(self, name: str, last_aged_day: date, *, everything: bool) -> None:
        """Note that what was stored until ``last_aged_day`` was left out, unless nothing is that old."""
        if not everything:
            self.since[name] = (last_aged_day + timedelta(days=1)).isoformat()
        self.since.setdefault(name, None)

    def add_invariant(self, invariant: Invariant) -> None:
        """Keep the invariant; one that does not hold is a difference."""
        self.invariants.append(invariant)
        if not invariant.holds:
            key: dict[str, Scalar] = {
                "topic": invariant.topic,
                "partition": invariant.partition,
                "invariant": invariant.name,
            }
            sides: tuple[dict[str, Scalar], dict[str, Scalar]] = (
                {"count": invariant.expected},
                {"count": invariant.counted},
            )
            self.add([Difference("invariant", key, ("count",), *sides)], 1)

    def to_json(self) -> dict[str, Any]:
        """Return the report as what ``json.dumps`` takes."""
        return {
            "agrees": self.agrees,
            "since": self.since,
            "rows_expected": self.rows_expected,
            "rows_stored": self.rows_stored,
            "differences_total": self.differences_total,
            "differences": [asdict(difference) for difference in self.differences],
            "invariants": [asdict(invariant) | {"holds": invariant.holds} for invariant in self.invariants],
        }
