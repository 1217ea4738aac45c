"""Whatever a record is, its dead letter can be published, and says what is missing in it."""

from typing import Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sinks.stores.dead_letters import (
    LARGEST_HEADERS_BYTES,
    LARGEST_KEY_BYTES,
    LARGEST_VALUE_BYTES,
    MOST_HEADERS,
    REPLAYED_FROM,
    DeadLetter,
)
from streams.kafka.topics import DEAD_LETTER_TOPIC, declared

#: aiokafka's producer rejects more; the worker leaves that at its default.
LARGEST_REQUEST_BYTES: Final = 1_048_576

sizes_bytes = st.sampled_from(
    [0, 1, 500, LARGEST_KEY_BYTES, LARGEST_KEY_BYTES + 1, LARGEST_VALUE_BYTES, LARGEST_VALUE_BYTES + 1, 1_100_000]
)
contents = st.none() | sizes_bytes.map(bytes) | st.binary(max_size=20)
names = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(["", "ce_x", REPLAYED_FROM, "課" * 30_000])
headers = st.lists(st.tuples(names, contents), max_size=6) | st.just([("n", b"")] * 5_000)
#: With halves of surrogate pairs, as JSON can hold them.
texts = st.text(max_size=20) | st.sampled_from(["\ud800" * 5_000, "課" * 5_000])


def letter(
    key: bytes | None = b"k",
    value: bytes | None = b"{}",
    given_headers: list[tuple[str, bytes | None]] | None = None,
    text: str = "",
) -> DeadLetter:
    """Return the dead letter of a record with this content."""
    return DeadLetter(
        "classpulse.classroom",
        5,
        2**40,
        2**40,
        1_794_787_560_000,
        "unknown_version",
        text,
        text,
        key,
        value,
        given_headers or [],
    )


def own(found: DeadLetter) -> dict[str, bytes | None]:
    """Return our headers of a dead letter, by their names without the prefix."""
    return {
        name.removeprefix("classpulse-"): value for name, value in found.kafka_headers() if name.startswith("classpulse-")
    }


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(key=contents, value=contents, given_headers=headers, text=texts)
def test_every_letter_can_be_published(
    key: bytes | None, value: bytes | None, given_headers: list[tuple[str, bytes | None]], text: str
) -> None:
    """The producer's own account of any dead letter is below what it and the topic take, and it has a key or a value."""
    found = letter(key, value, given_headers, text)
    parts = found.kafka_key, found.kafka_value, found.kafka_headers()
    assert parts[0] is not None or parts[1] is not None
    assert DefaultRecordBatchBuilder.estimate_size_in_bytes(*parts) <= LARGEST_REQUEST_BYTES
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=0, batch_size=1
    )
    assert builder.append(0, timestamp=0, key=parts[0], value=parts[1], headers=parts[2]) is not None
    (topic,) = (topic for topic in declared() if topic.name == DEAD_LETTER_TOPIC)
    assert len(builder.build()) <= int(topic.config["max.message.bytes"])


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(key=contents, value=contents, given_headers=headers)
def test_a_letter_says_what_was_cut(
    key: bytes | None, value: bytes | None, given_headers: list[tuple[str, bytes | None]]
) -> None:
    """A part is the record's own unless it is named as cut; the size is always that of the record."""
    found = letter(key, value, given_headers)
    said = own(found)
    cut = set((said["truncated"] or b"").decode().split(","))
    assert ("value" in cut) == ((found.kafka_value or b"") != (value or b""))
    assert ("key" in cut) == (found.kafka_key != key)
    theirs = [header for header in given_headers if not header[0].startswith("classpulse-")]
    kept = [header for header in found.kafka_headers() if not header[0].startswith("classpulse-")]
    assert ("headers" in cut) == (kept != theirs)
    assert said["value-bytes"] == str(len(value or b"")).encode()


def test_a_large_header_does_not_displace_the_others() -> None:
    """Headers that fit are kept in their order; content type and source are readable behind a huge one."""
    given_headers = [
        ("ce_type", b"t"),
        ("x", bytes(LARGEST_HEADERS_BYTES)),
        ("ce_source", b"/s"),
        *[("n", b"")] * MOST_HEADERS,
    ]
    kept = [header for header in letter(given_headers=list(given_headers)).kafka_headers() if header in given_headers]
    assert kept == [("ce_type", b"t"), ("ce_source", b"/s"), *[("n", b"")] * (MOST_HEADERS - 2)]


def test_a_record_rejected_again_says_its_last_rejection_and_its_first_letter() -> None:
    """Of the headers of a replayed dead letter only the one that says where it comes from is kept."""
    first = letter(text="first")
    replayed: list[tuple[str, bytes | None]] = [*first.kafka_headers(), (REPLAYED_FROM, b"classpulse.dead-letters/0@17")]
    again = letter(given_headers=replayed, text="second")
    names = [name for name, _value in again.kafka_headers()]
    assert len(names) == len(set(names))
    assert own(again)["detail"] == b"second"
    assert own(again)["replayed-from"] == b"classpulse.dead-letters/0@17"
    assert "replayed-from" not in own(letter(given_headers=[(REPLAYED_FROM, b"x" * 1_000)]))
