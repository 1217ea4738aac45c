"""Reading the dead-letter topic of either broker: all of it, from a moment on, one position, and not what comes later."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from deploy.local.stack import stack
from sinks.stores.dead_letters import LARGEST_VALUE_BYTES, REPLAYED_FROM, DeadLetter
from streams.dlq.log import open_log
from streams.dlq.records import RecordPosition, Selection
from streams.dlq.replay import ORIGINAL_GONE, Replayed, replay
from streams.kafka import topics
from streams.settings import Settings

BEGAN_MS: Final = 1_794_787_200_000
DEAD_LETTERS: Final = 1_200


@pytest.fixture(scope="module", params=["embedded", "apache"])
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Run a broker whose dead-letter topic holds ``DEAD_LETTERS`` of them, one of each second, and two more of the last."""
    if request.param == "apache":
        yield from _filled(request.getfixturevalue("apache").bootstrap)
        return
    folder = Path(tmp_path_factory.mktemp("stack"))
    yield from _filled(stack.up(folder).kafka_bootstrap)
    stack.down(folder)


def _filled(bootstrap: str) -> Iterator[Settings]:
    asyncio.run(topics.create(bootstrap, topics.declared()))
    settings = Settings(kafka=bootstrap)
    asyncio.run(publish(settings, range(DEAD_LETTERS)))
    # A crash between the dead letters and the checkpoint publishes them again; a futile replay makes one of another
    # position.
    asyncio.run(publish(settings, [DEAD_LETTERS - 1]))
    asyncio.run(publish(settings, [DEAD_LETTERS], replay_of=DEAD_LETTERS - 1))
    yield settings


async def publish(
    settings: Settings, numbers: range | list[int], *, replay_of: int | None = None, reason: str = "json"
) -> None:
    """Publish a dead letter for each number, which is its offset in the topic of its record."""
    producer = AIOKafkaProducer(**settings.kafka_access.client_options(), acks="all", linger_ms=20)
    await producer.start()
    headers = [] if replay_of is None else [(REPLAYED_FROM, f"{topics.DEAD_LETTER_TOPIC}/0@{replay_of}".encode())]
    sent = []
    for number in numbers:
        value = b"%d" % (number if replay_of is None else replay_of)
        at_ms = BEGAN_MS + 1_000 * number
        letter = DeadLetter("classpulse.prep", 1, number, number, at_ms, reason, "", "", b"k", value, headers)
        sent.append(
            await producer.send(
                topics.DEAD_LETTER_TOPIC, letter.kafka_value, letter.kafka_key, None, at_ms, letter.kafka_headers()
            )
        )
    await asyncio.gather(*sent)
    await producer.stop()


async def offsets(settings: Settings, selection: Selection, *, events: bool = False) -> list[int]:
    """Return the offsets of the records of the dead letters that are read; those of other tests have another reason."""
    async with open_log(settings) as log:
        letters = log.letters(replace(selection, reasons=frozenset({"json"})), events=events)
        return [letter.position.offset async for letter in letters]


def test_every_letter_is_read_once(kafka: Settings) -> None:
    """All are read to the last one of the last batch, and one of two that a crash left."""
    assert asyncio.run(offsets(kafka, Selection())) == list(range(DEAD_LETTERS + 1))


def test_a_replay_reads_one_letter_an_event(kafka: Settings) -> None:
    """The dead letter of what was replayed and rejected again is left out beside its first."""
    assert asyncio.run(offsets(kafka, Selection(), events=True)) == list(range(DEAD_LETTERS))
    late = Selection(since_ms=BEGAN_MS + 1_000 * DEAD_LETTERS)
    assert asyncio.run(offsets(kafka, late, events=True)) == [DEAD_LETTERS]


@pytest.mark.parametrize(("since", "until"), [(0, 3), (700, 703), (1_190, 5_000), (5_000, 9_000)])
def test_a_span_of_time_is_read(kafka: Settings, since: int, until: int) -> None:
    """Dead letters of the seconds asked for are read, whatever the broker says where they begin."""
    selection = Selection(since_ms=BEGAN_MS + 1_000 * since, until_ms=BEGAN_MS + 1_000 * until)
    assert asyncio.run(offsets(kafka, selection)) == list(range(since, min(until, DEAD_LETTERS + 1)))


def test_a_letter_is_found_by_either_place(kafka: Settings) -> None:
    """By the position of the record, and by its own, for which nothing else is read."""
    by_record = Selection(positions=frozenset({RecordPosition("classpulse.prep", 1, 77)}))
    by_letter = Selection(positions=frozenset({RecordPosition(topics.DEAD_LETTER_TOPIC, 0, 77)}))
    assert asyncio.run(offsets(kafka, by_record)) == asyncio.run(offsets(kafka, by_letter)) == [77]
    beyond = Selection(positions=frozenset({RecordPosition(topics.DEAD_LETTER_TOPIC, 0, 10**6)}))
    assert asyncio.run(offsets(kafka, beyond)) == []


def test_what_comes_after_the_opening_is_not_read(kafka: Settings) -> None:
    """A replay never meets the dead letters that it causes."""

    async def read_while_publishing() -> list[int]:
        async with open_log(kafka) as log:
            await publish(kafka, [DEAD_LETTERS + 1], reason="data")
            return [letter.position.offset async for letter in log.letters(Selection(reasons=frozenset({"data"})))]

    assert asyncio.run(read_while_publishing()) == []


def test_a_cut_letter_is_replayed_from_its_original(kafka: Settings) -> None:
    """The whole record is sent again with its key and headers, and says where it comes from; what is gone is left out."""
    value, key, headers = b"v" * (LARGEST_VALUE_BYTES + 1), b"teacher-1", [("x", b"1"), ("empty", None)]

    async def send_reject_and_replay() -> tuple[Replayed, list[ConsumerRecord]]:
        producer = AIOKafkaProducer(**kafka.kafka_access.client_options(), acks="all")
        await producer.start()
        sent = await producer.send_and_wait("classpulse.prep", value, key, headers=headers)
        for offset in (sent.offset, 10**6):
            letter = DeadLetter(
                "classpulse.prep", sent.partition, offset, offset, sent.timestamp, "too_large", "", "", key, value, headers
            )
            parts = letter.kafka_value, letter.kafka_key
            await producer.send_and_wait(topics.DEAD_LETTER_TOPIC, *parts, headers=letter.kafka_headers())
        await producer.stop()
        async with open_log(kafka) as log:
            done = await replay(log, kafka, Selection(reasons=frozenset({"too_large"})))
        consumer = AIOKafkaConsumer("classpulse.prep", **kafka.kafka_access.client_options(), auto_offset_reset="earliest")
        await consumer.start()
        records = [await asyncio.wait_for(consumer.getone(), 30) for _ in range(2)]
        await consumer.stop()
        return done, records

    done, (original, again) = asyncio.run(send_reject_and_replay())
    assert (done.sent, done.skipped) == (1, {ORIGINAL_GONE: 1})
    assert (again.partition, again.key, again.value) == (original.partition, key, value)
    assert list(again.headers[:-1]) == headers
    name, position = again.headers[-1]
    assert name == REPLAYED_FROM
    assert RecordPosition.parse(position.decode()).topic == topics.DEAD_LETTER_TOPIC
