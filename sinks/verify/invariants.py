"""The accounting invariant: what a partition's checkpoint counts is what the tables hold.

Once a partition is older than its events are kept, counting begins at a base: an earlier checkpoint, above which nothing
can have expired. What the counters have grown since must be in the tables above it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from clickhouse_connect.driver.client import Client

from schemas.events.event_types import Family
from sinks.verify.findings import Invariant, VerifyReport

__all__ = ["DEAD_LETTERS", "Base", "Checkpoint", "Tally", "add_invariants", "bases_of", "checkpoints_of"]

DEAD_LETTERS: Final = "dead_letters"
#: What lies above a checkpoint is stored after it; but a worker that fell in between may have stored some of it before,
#: and the next one has written the same checkpoint again since. So long at most, is assumed.
LONGEST_RECOVERY: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far one partition was applied, and the records it counted until there."""

    topic: str
    partition: int
    position: int
    consumed: int
    stored: int
    duplicates: int
    dead_letters: int


def checkpoints_of(client: Client) -> list[Checkpoint]:
    """Read the checkpoint of every partition."""
    rows = client.query(
        "SELECT toString(topic), partition, position, consumed, stored, duplicates, dead_letters"
        " FROM checkpoints FINAL ORDER BY topic, partition"
    ).result_rows
    return [Checkpoint(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Base:
    """From where a partition's counters are held against a table; all 0: from the beginning."""

    position: int = 0
    stored: int = 0
    dead_letters: int = 0


FROM_THE_BEGINNING: Final = Base()


def bases_of(client: Client, bases_sql: str, family: Family, last_aged_day: date) -> dict[int, Base | None]:
    """Return the base of each partition of the family's topic, if what was written until that day may be gone.

    None where no earlier checkpoint will do: then there is nothing to count yet.
    """
    settled = last_aged_day + LONGEST_RECOVERY
    found = client.query(bases_sql, parameters={"topic": family.topic, "last_aged_day": settled}).result_rows
    return {
        partition: FROM_THE_BEGINNING if began > settled else Base(*base) if has_base else None
        for partition, began, has_base, base in found
    }


@dataclass(slots=True)
class Tally:
    """Stored events of one family by partition: unique ones, and rows of them (more if one is stored at two times)."""

    family: Family
    checkpoints: Sequence[Checkpoint]
    event_bases: Mapping[int, Base | None]
    letter_bases: Mapping[int, Base | None]
    unique_events: Counter[int] = field(default_factory=Counter)
    rows: Counter[int] = field(default_factory=Counter)

    def own_checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints of the family's topic."""
        return [checkpoint for checkpoint in self.checkpoints if checkpoint.topic == self.family.topic]

    @property
    def counts_every_event(self) -> bool:
        """Nothing of the topic is old enough to have expired."""
        return all(base == FROM_THE_BEGINNING for base in self.event_bases.values())

    @property
    def counts_every_dead_letter(self) -> bool:
        """Nothing of the topic was rejected so long ago that it may have expired."""
        return all(base == FROM_THE_BEGINNING for base in self.letter_bases.values())

    def event_base(self, checkpoint: Checkpoint) -> Base:
        """Return from where the partition's events are counted."""
        return _base(checkpoint, self.event_bases)

    def letter_base(self, checkpoint: Checkpoint) -> Base:
        """Return from where the partition's dead letters are counted."""
        return _base(checkpoint, self.letter_bases)

    def add(self, client: Client, counts_sql: str, key_from: str, key_to: str) -> None:
        """Count the events of one range of keys between the bases and the checkpoints."""
        own = self.own_checkpoints()
        if not own:
            return
        parameters = {
            "events_table": self.family.table,
            "key_from": key_from,
            "key_to": key_to,
            "partitions": [checkpoint.partition for checkpoint in own],
            "first_positions": [self.event_base(checkpoint).position for checkpoint in own],
            "positions": [checkpoint.position for checkpoint in own],
        }
        for partition, unique_events, rows in client.query(counts_sql, parameters=parameters).result_rows:
            self.unique_events[partition] += unique_events
            self.rows[partition] += rows


def _base(checkpoint: Checkpoint, bases: Mapping[int, Base | None]) -> Base:
    base = bases.get(checkpoint.partition, FROM_THE_BEGINNING)
    if base is None or base.position > checkpoint.position:
        # A checkpoint that was written after ours was read is no base for it.
        return Base(checkpoint.position, checkpoint.stored, checkpoint.dead_letters)
    return base


def add_invariants(client: Client, tally: Tally, report: VerifyReport) -> None:
    """Add the four invariants of every partition of the family's topic to the report."""
    for checkpoint in tally.own_checkpoints():
        topic, partition = checkpoint.topic, checkpoint.partition
        accounted = checkpoint.stored + checkpoint.duplicates + checkpoint.dead_letters
        events_from, letters_from = tally.event_base(checkpoint), tally.letter_base(checkpoint)
        unique_events = tally.unique_events[partition]
        rejected = client.query(
            "SELECT count() FROM dead_letters FINAL"
            " WHERE topic = {topic:String} AND partition = {partition:UInt16}"
            " AND position >= {first_position:UInt64} AND position < {position:UInt64}",
            parameters={
                "topic": topic,
                "partition": partition,
                "first_position": letters_from.position,
                "position": checkpoint.position,
            },
        ).result_rows[0][0]
        for invariant in (
            Invariant(topic, partition, "consumed = stored + duplicates + dead letters", accounted, checkpoint.consumed),
            Invariant(
                topic,
                partition,
                "stored = unique events in the table",
                unique_events,
                checkpoint.stored - events_from.stored,
            ),
            Invariant(
                topic,
                partition,
                "dead letters = rows in dead_letters",
                rejected,
                checkpoint.dead_letters - letters_from.dead_letters,
            ),
            Invariant(topic, partition, "rows of events = unique events", unique_events, tally.rows[partition]),
        ):
            report.add_invariant(invariant)
