"""What must be true when everything has healed: what ClickHouse holds, held against what Kafka has acknowledged.

The account of the feed is independent of the product: it knows each record's outcome from the simulator, and the identity
of each valid event. So an event that is lost and another that is stored in its place do not cancel out.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from schemas.events.event_types import FAMILIES
from schemas.metrics.rules import MetricRules
from sinks.stores.dead_letters import OWN_PREFIX
from sinks.verify.verify import verify
from tests.lab.chaos.feed import Account, Place, identity

#: At most so many broken invariants are spelled out; all are counted.
MOST_PROBLEMS: Final = 50
_POLL_SECONDS: Final = 0.5
_READ_MS: Final = 2_000
_CHECKPOINTS: Final = (
    "SELECT topic, partition, consumed, stored, duplicates, dead_letters FROM checkpoints FINAL ORDER BY topic, partition"
)


@dataclass(slots=True)
class Verdict:
    """What was found. ``lost`` and ``doubled`` count events; ``differences`` are those of ``verify``."""

    produced: int = 0
    consumed: int = 0
    stored: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    lost: int = 0
    doubled: int = 0
    differences: int = 0
    rows_expected: int = 0
    problems_total: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Every invariant holds."""
        return not self.problems_total

    def problem(self, text: str) -> None:
        """Take note of a broken invariant."""
        self.problems_total += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(text)

    def expect(self, what: str, expected: object, found: object) -> None:
        """Two things must be equal."""
        if expected != found:
            self.problem(f"{what}: expected {expected}, found {found}")


class NotSettledError(Exception):
    """The checkpoints stopped short of the end of the log."""


def settle(
    client: Client, account: Account, patience_seconds: float, on_progress: Callable[[int], None]
) -> dict[Place, tuple[int, ...]]:
    """Wait until everything is checkpointed; return each partition's counters: consumed, stored, duplicates, dead letters.

    Raises :class:`NotSettledError` when nothing has moved for ``patience_seconds``.
    """
    moved_at, last = time.monotonic(), -1
    while True:
        found = _checkpoints(client)
        consumed = sum(counters[0] for counters in found.values())
        on_progress(consumed)
        if consumed >= account.ledger.produced:
            return found
        if consumed != last:
            moved_at, last = time.monotonic(), consumed
        if time.monotonic() - moved_at > patience_seconds:
            behind = [
                f"{topic}/{partition} at {found.get((topic, partition), (0,))[0]} of {outcomes.total()}"
                for (topic, partition), outcomes in sorted(account.partitions.items())
                if found.get((topic, partition), (0,))[0] < outcomes.total()
            ]
            raise NotSettledError(
                f"Nothing has moved for {patience_seconds:.0f} s: {consumed} of {account.ledger.produced} records are "
                f"checkpointed; behind: {', '.join(behind) or 'none'}"
            )
        time.sleep(_POLL_SECONDS)


def _checkpoints(client: Client) -> dict[Place, tuple[int, ...]]:
    try:
        rows = client.query(_CHECKPOINTS).result_rows
    except (ClickHouseError, HTTPError, OSError):
        return {}  # it has just been started again; patience decides
    return {(topic, int(partition)): tuple(map(int, counters)) for topic, partition, *counters in rows}


def judge(client: Client, account: Account, counters: dict[Place, tuple[int, ...]], rules: MetricRules) -> Verdict:
    """Check every invariant on a rig that has settled."""
    verdict = Verdict(produced=account.ledger.produced)
    _judge_counters(verdict, account, counters)
    for family in FAMILIES:
        _judge_events(verdict, client, family.table, account.events.get(family.topic, set()))
    _judge_dead_letters(verdict, client, account)
    report = verify(client, rules=rules)
    verdict.differences, verdict.rows_expected = report.differences_total, report.rows_expected
    if report.differences_total:
        verdict.problem(f"verify finds {report.differences_total} differences, such as {report.differences[:3]}")
    if not report.rows_expected:
        verdict.problem("there is not a single metric to verify; the run was too short")
    return verdict


def _judge_counters(verdict: Verdict, account: Account, counters: dict[Place, tuple[int, ...]]) -> None:
    for position in sorted(account.partitions.keys() | counters.keys()):
        outcomes = account.partitions.get(position, Counter())
        expected = (outcomes.total(), outcomes["stored"], outcomes["duplicate"], outcomes["dead_letter"])
        found = counters.get(position, (0, 0, 0, 0))
        verdict.expect(f"{position[0]}/{position[1]} (consumed, stored, duplicates, dead letters)", expected, found)
    totals = [sum(column) for column in zip(*counters.values(), strict=True)] or [0, 0, 0, 0]
    verdict.consumed, verdict.stored, verdict.duplicates, verdict.dead_letters = totals


def _judge_events(verdict: Verdict, client: Client, table: str, expected: set[int]) -> None:
    """Hold every stored event against the account, by its identity, and count those that are there twice."""
    found: set[int] = set()
    rows, foreign, example = 0, 0, ""
    with client.query_row_block_stream(f"SELECT key, source, id FROM {table} FINAL") as blocks:
        for block in blocks:
            for key, source, event_id in block:
                one = identity(key.encode(), source, event_id)
                rows += 1
                found.add(one)
                if one not in expected:
                    foreign, example = foreign + 1, f"{key} {source} {event_id}"
    lost, doubled = len(expected - found), rows - len(found)
    verdict.lost += lost
    verdict.doubled += doubled
    if lost:
        verdict.problem(f"{table}: {lost} events are lost of {len(expected)}")
    if doubled:
        verdict.problem(f"{table}: {doubled} events are stored twice")
    if foreign:
        verdict.problem(f"{table}: {foreign} events were never produced as valid ones, such as {example}")


def _judge_dead_letters(verdict: Verdict, client: Client, account: Account) -> None:
    rows = client.query("SELECT reason, count() FROM dead_letters FINAL GROUP BY reason").result_rows
    found = {reason: int(count) for reason, count in rows}
    verdict.expect("dead letters by reason", dict(sorted(account.ledger.dead_letters_by_reason.items())), _sorted(found))


def _sorted(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


async def published_letters(bootstrap: str, topic: str, partitions: int) -> set[tuple[str, int, int]]:
    """Return topic, partition and offset of the record of each dead letter in the topic, which has so many partitions."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest", client_id=f"classpulse-{uuid.uuid4()}"
    )
    await consumer.start()
    try:
        positions = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(positions)
        ends = await consumer.end_offsets(positions)
        found: set[tuple[str, int, int]] = set()
        while any([await consumer.position(position) < ends[position] for position in positions]):
            for records in (await consumer.getmany(timeout_ms=_READ_MS)).values():
                found.update(_origin(dict(record.headers)) for record in records)
        return found
    finally:
        await consumer.stop()


def _origin(headers: dict[str, Any]) -> tuple[str, int, int]:
    own = (headers[OWN_PREFIX + name].decode() for name in ("topic", "partition", "offset"))
    topic, partition, offset = own
    return topic, int(partition), int(offset)


def judge_published_letters(verdict: Verdict, client: Client, published: set[tuple[str, int, int]]) -> None:
    """Every dead letter of the table must be in the topic at least once, and no other."""
    rows = client.query("SELECT topic, partition, bitAnd(position, 281474976710655) FROM dead_letters FINAL").result_rows
    stored = {(topic, int(partition), int(offset)) for topic, partition, offset in rows}
    if missing := stored - published:
        verdict.problem(f"{len(missing)} dead letters are not in the dead-letter topic, such as {min(missing)}")
    if foreign := published - stored:
        verdict.problem(
            f"{len(foreign)} dead letters in the topic are of records that were not rejected, such as {min(foreign)}"
        )
