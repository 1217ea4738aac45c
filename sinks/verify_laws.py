"""The accounting law: what a partition's checkpoint counts is what the tables hold."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from clickhouse_connect.driver.client import Client

from schemas.event_types import Family
from sinks.verify_report import Law, VerifyReport

__all__ = ["Checkpoint", "Tally", "add_laws", "checkpoints_of"]


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


@dataclass(slots=True)
class Tally:
    """Stored events of one family by partition: unique ones, and rows of them (more if one is stored at two times)."""

    family: Family
    checkpoints: Sequence[Checkpoint]
    unique_events: Counter[int] = field(default_factory=Counter)
    rows: Counter[int] = field(default_factory=Counter)

    def own_checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints of the family's topic."""
        return [checkpoint for checkpoint in self.checkpoints if checkpoint.topic == self.family.topic]

    def add(self, client: Client, counts_sql: str, key_from: str, key_to: str) -> None:
        """Count the events of one range of keys below the checkpoints."""
        own = self.own_checkpoints()
        if not own:
            return
        parameters = {
            "events_table": self.family.table, "key_from": key_from, "key_to": key_to,
            "partitions": [checkpoint.partition for checkpoint in own],
            "positions": [checkpoint.position for checkpoint in own],
        }  # fmt: skip
        for partition, unique_events, rows in client.query(counts_sql, parameters=parameters).result_rows:
            self.unique_events[partition] += unique_events
            self.rows[partition] += rows


def add_laws(client: Client, tally: Tally, report: VerifyReport) -> None:
    """Add the four laws of every partition of the family's topic to the report."""
    for checkpoint in tally.own_checkpoints():
        topic, partition = checkpoint.topic, checkpoint.partition
        accounted = checkpoint.stored + checkpoint.duplicates + checkpoint.dead_letters
        unique_events = tally.unique_events[partition]
        refused = client.query(
            "SELECT count() FROM dead_letters FINAL"
            " WHERE topic = {topic:String} AND partition = {partition:UInt16} AND position < {position:UInt64}",
            parameters={"topic": topic, "partition": partition, "position": checkpoint.position},
        ).result_rows[0][0]
        for law in (
            Law(topic, partition, "consumed = stored + duplicates + dead letters", accounted, checkpoint.consumed),
            Law(topic, partition, "stored = unique events in the table", unique_events, checkpoint.stored),
            Law(topic, partition, "dead letters = rows in dead_letters", refused, checkpoint.dead_letters),
            Law(topic, partition, "rows of events = unique events", unique_events, tally.rows[partition]),
        ):
            report.add_law(law)
