"""``classpulse dlq`` on a running rig: what was rejected is found, shown, and replayed, and both invariants hold."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer
from click.testing import CliRunner

from deploy.local.commands import dev
from deploy.local.simulator import Disturbance, Ledger, Produced, SimulationConfig, simulate, source_and_id
from sinks.stores.dead_letters import LARGEST_VALUE_BYTES, DeadLetter
from streams.cli.program import cli
from streams.kafka.topics import DEAD_LETTER_TOPIC
from tests.end_to_end.harness import AccountedRig

MALFORMED = Disturbance(
    disorder_share=0.0,
    duplicate_share=0.0,
    late_share=0.0,
    offline_share=0.0,
    skew_share=0.0,
    wild_clock_share=0.0,
    malformed_share=0.05,
)
CLEAN = Disturbance(
    disorder_share=0.0,
    duplicate_share=0.0,
    late_share=0.0,
    offline_share=0.0,
    skew_share=0.0,
    wild_clock_share=0.0,
    malformed_share=0.0,
)


def dlq(rig: AccountedRig, *arguments: str, status: int = 0) -> bytes:
    """Run the command; return what it prints."""
    done = CliRunner().invoke(cli, ["dlq", *arguments], env=dev.environment(rig.info))
    assert done.exit_code == status, done.output
    return done.stdout_bytes


def listed(rig: AccountedRig, *arguments: str) -> list[dict[str, Any]]:
    """Return what ``dlq list --json`` prints."""
    return [json.loads(line) for line in dlq(rig, "list", "--json", *arguments).splitlines()]


def replayed(rig: AccountedRig, outcomes: Iterable[tuple[str, str | None]]) -> None:
    """Count records that a replay has sent, each with its outcome and reason."""
    ledger = Ledger()
    for outcome, reason in outcomes:
        ledger.add(Produced("classpulse.classroom", None, None, [], 0, outcome, reason))  # type: ignore[arg-type]
    rig.ledgers.append(ledger)


def test_what_is_rejected_is_listed_shown_and_rejected_again(rig: AccountedRig) -> None:
    """Every rejection is in the list; replaying what is still bad adds its rejections and changes nothing else."""
    malformed = list(simulate(SimulationConfig(seed=3, events=3_000, disturbance=MALFORMED)))
    rig.start_worker()
    ledger = rig.publish(malformed)
    rig.assert_invariants()
    reasons = ledger.dead_letters_by_reason
    assert {entry["reason"]: entry["count"] for entry in listed(rig, "--by", "reason")} == reasons
    letters = listed(rig, "--all")
    assert Counter(letter["reason"] for letter in letters) == Counter(reasons)
    assert len({letter["position"] for letter in letters}) == len(letters) == ledger.dead_letters
    assert listed(rig, "--all", "--until", "1h") == []
    assert listed(rig, "--all", "--since", "1h") == letters
    assert (
        listed(rig, "--reason", "unknown_version", "--limit", "2")
        == [letter for letter in letters if letter["reason"] == "unknown_version"][-2:]
    )

    newest = {letter["reason"]: letter for letter in letters}
    versions = dlq(rig, "show", newest["unknown_version"]["position"]).decode()
    assert "expected major version 1" in versions
    assert versions.count("\n  ") > 10
    assert dlq(rig, "show", newest["unknown_version"]["dead_letter"]).decode() == versions
    raw = dlq(rig, "show", newest["encoding"]["position"], "--raw")
    assert raw in {record.value for record in malformed if record.reason == "encoding"}
    assert "00000000  " in dlq(rig, "show", newest["encoding"]["position"]).decode()

    still_bad = ["unknown_version", "key", "json"]
    options = [option for reason in still_bad for option in ("--reason", reason)]
    count = sum(reasons[reason] for reason in still_bad)
    assert f"would be sent: {count}" in dlq(rig, "replay", *options, "--dry-run").decode()
    rig.assert_invariants()
    for _attempt in range(2):
        # The second time the same again: the dead letters of the first are of the same events.
        assert f"sent: {count}" in dlq(rig, "replay", *options, "--yes", "--rate", "2000").decode()
        replayed(rig, (("dead_letter", reason) for reason in still_bad for _ in range(reasons[reason])))
        rig.assert_invariants()
    assert len(listed(rig, "--all", *options)) == 3 * count


def test_what_became_acceptable_is_stored_once(rig: AccountedRig) -> None:
    """A larger limit and a replay store what was too large, one of it from its original; a second replay is a duplicate."""
    valid = list(simulate(SimulationConfig(seed=4, events=400, disturbance=CLEAN)))
    positions = [index for index, record in enumerate(valid) if len(record.headers) == 1][:40:2]
    sizes_bytes = [LARGEST_VALUE_BYTES + 50_000, *[20_000] * (len(positions) - 1)]
    records = list(valid)
    padded = {}
    for index, size_bytes in zip(positions, sizes_bytes, strict=True):
        value = (valid[index].value or b"")[:-1] + b',"padding":"' + b"x" * size_bytes + b'"}'
        records[index] = valid[index]._replace(value=value, outcome="dead_letter", reason="too_large")
        padded[source_and_id(records[index])] = size_bytes
    worker = rig.start_worker(CLASSPULSE_MAX_VALUE_BYTES="10000")
    rig.publish(records)
    rig.assert_invariants()
    letters = listed(rig, "--all")
    assert [letter["reason"] for letter in letters] == ["too_large"] * len(positions)
    (cut,) = [letter for letter in letters if letter["truncated"]]
    assert cut["truncated"] == ["value"]
    assert worker.stop() == 0

    rig.start_worker()
    assert dlq(rig, "replay", cut["position"], "--yes").decode().endswith("sent: 1\n")
    replayed(rig, [("stored", None)])
    rig.expected |= {event for event, size_bytes in padded.items() if size_bytes > LARGEST_VALUE_BYTES}
    rig.assert_invariants()
    rig.expected |= set(padded)
    for outcomes in (["duplicate", *["stored"] * (len(positions) - 1)], ["duplicate"] * len(positions)):
        assert dlq(rig, "replay", "--reason", "too_large", "--yes").decode().endswith(f"sent: {len(positions)}\n")
        replayed(rig, ((outcome, None) for outcome in outcomes))
        rig.assert_invariants()
    assert len(listed(rig, "--all")) == len(positions)


def test_hostile_records_are_rejected_shown_and_never_stop_the_worker(rig: AccountedRig) -> None:
    """Huge keys and headers, nothing at all, foreign dead letters and dead letters whose original is gone."""
    gone = DeadLetter(
        "classpulse.classroom", 0, 10**6, 10**6, 1, "data", "", "", b"k", bytes(LARGEST_VALUE_BYTES + 1), [("x", b"")]
    )
    escapes = b'{"source":"\x1b]0;owned\x07","id":'

    async def publish_hostile() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=rig.info.kafka_bootstrap, max_request_size=4_000_000)
        await producer.start()
        name = "ce_" + "y" * 250_000
        await producer.send_and_wait("classpulse.classroom", b"x", b"k" * 300_000, headers=[(name, b""), (name, b"")])
        await producer.send_and_wait("classpulse.classroom", bytes(1_000_000), b"k", headers=[("", b"")] * 5_000)
        await producer.send_and_wait("classpulse.classroom", escapes, b"\x1b[2J", headers=[("\x9b31m", b"\x1bc")])
        await producer.send_and_wait(DEAD_LETTER_TOPIC, b"foreign")
        await producer.send_and_wait(DEAD_LETTER_TOPIC, gone.kafka_value, gone.kafka_key, headers=gone.kafka_headers())
        await producer.stop()

    asyncio.run(publish_hostile())
    replayed(rig, [("dead_letter", "envelope"), ("dead_letter", "json"), ("dead_letter", "json")])
    rig.start_worker()
    rig.wait_for_checkpoints(3)
    assert rig.counters() == (3, 0, 0, 3)
    letters = listed(rig, "--all", "--topic", "classroom")
    assert [set(letter["truncated"]) for letter in letters if letter["reason"] == "envelope"] == [{"key", "headers"}]
    assert "1 records of the topic are none of classpulse's" in dlq(rig, "list").decode()
    for letter in letters:
        text = dlq(rig, "show", letter["dead_letter"]).decode()
        assert all(line.isprintable() for line in text.split("\n"))
    (shown,) = [letter for letter in letters if letter["source"]]
    assert shown["source"] == "\x1b]0;owned\x07"
    answer = dlq(rig, "replay", "--all", "--yes", status=1).decode()
    assert "sent: 3\n" in answer
    assert "1 cut, and the original is no longer where it was" in answer
    rig.wait_for_checkpoints(6)
    assert rig.counters() == (6, 0, 0, 6)
