"""Dead letters read back: positions, moments, who sent it, which are meant."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.stores.dead_letters import REPLAYED_FROM, DeadLetter
from streams.dlq.records import PublishedDeadLetter, RecordPosition, Selection, moment_ms, read_dead_letter

SHANGHAI = ZoneInfo("Asia/Shanghai")
#: 2026-11-16T08:00:00+08:00
NOW_MS = 1_794_787_200_000
TYPE = "io.classpulse.classroom.answer.submitted.v1"
EVENT = b'{"source": "/schools/s07/devices/t-1", "type": "%s", "data": {"type": "other"}}' % TYPE.encode()


@dataclass
class Stored:
    """A record of the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    topic: str = "classpulse.dead-letters"
    partition: int = 0
    offset: int = 17
    timestamp: int = NOW_MS


def stored(
    value: bytes | None = EVENT,
    headers: Sequence[tuple[str, bytes | None]] = (),
    *,
    reason: str = "data",
    offset: int = 1841,
) -> PublishedDeadLetter:
    """Publish a dead letter and read it back."""
    letter = DeadLetter(
        "classpulse.classroom", 3, 2**48 + offset, offset, NOW_MS - 5, reason, "data.score", "why", b"key", value, headers
    )
    found = read_dead_letter(Stored(letter.kafka_key, letter.kafka_value, letter.kafka_headers()))
    assert found is not None
    return found


@given(st.binary() | st.none(), st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.binary() | st.none())))
def test_a_letter_is_read_back_as_it_was_written(value: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    """Place, reason, bytes and the record's own headers survive; ours are not among them."""
    letter = stored(value, headers)
    assert str(letter.position) == "classpulse.classroom/3@1841"
    assert str(letter.dead_letter_position) == "classpulse.dead-letters/0@17"
    assert (letter.reason, letter.field, letter.detail, letter.recorded_ms) == ("data", "data.score", "why", NOW_MS - 5)
    assert (letter.key, letter.value, letter.truncated) == (b"key", value, frozenset())
    assert list(letter.headers) == [header for header in headers if not header[0].startswith("classpulse-")]


def test_a_cut_letter_knows_what_is_missing() -> None:
    """Its parts are named, as an earlier version's dead letters name them too."""
    assert stored(bytes(900_001), [("x", bytes(70_000))]).truncated == {"value", "headers"}
    headers = [(name, b"true" if name == "classpulse-truncated" else value) for name, value in _headers()]
    before = read_dead_letter(Stored(b"key", b"", headers))
    assert before is not None
    assert before.truncated == {"value"}


@pytest.mark.parametrize("lost", ["reason", "topic", "offset", "value-bytes", "truncated"])
def test_a_record_that_is_no_letter_is_none(lost: str) -> None:
    """Whatever else stands in the topic is told apart, and raises nothing."""
    headers = [(name, value) for name, value in _headers() if name != f"classpulse-{lost}"]
    assert read_dead_letter(Stored(b"key", b"", headers)) is None
    assert read_dead_letter(Stored(b"key", b"", [*headers, (f"classpulse-{lost}", b"\xff\x00")])) is None or lost in {
        "reason",
        "truncated",
    }


def _headers() -> list[tuple[str, bytes | None]]:
    return DeadLetter("classpulse.classroom", 3, 1, 1, 1, "data", "", "", b"key", b"", ()).kafka_headers()


@pytest.mark.parametrize(
    ("value", "headers", "source", "kind"),
    [
        (EVENT, [], "/schools/s07/devices/t-1", "classroom.answer.submitted"),
        (EVENT[:-9], [], "/schools/s07/devices/t-1", "classroom.answer.submitted"),
        (b"{}", [("CE_Source", b"/s"), ("ce_type", b"prep.plan.opened.v2")], "/s", "prep.plan.opened.v2"),
        (b'{"source": 7, "type": ["x"]}', [], "", ""),
        (b'{"source": "\\ud800"}', [], "\\ud800", ""),
        (b"[" * 100_000, [], "", ""),
        (b"\xff\xfe", [("ce_source", b"\xff")], "\\xff", ""),
        (None, [], "", ""),
    ],
)
def test_who_sent_it_is_read_as_far_as_possible(
    value: bytes | None, headers: list[tuple[str, bytes | None]], source: str, kind: str
) -> None:
    """Source and type come from the headers, the JSON, or what is left of it."""
    letter = stored(value, headers)
    assert letter.source == source
    assert letter.short_type == kind
    assert (letter.without_content().source, letter.without_content().value) == (source, None)


@pytest.mark.parametrize("text", ["classpulse.classroom/3@1841", "a/0@0", f"x/999999999@{10**18 - 1}"])
def test_a_place_is_written_as_it_is_read(text: str) -> None:
    """What a table prints can be given to a command."""
    assert str(RecordPosition.parse(text)) == text


@pytest.mark.parametrize("text", ["", "classpulse.classroom", "t/3", "t/x@1", "t/1@-1", "t/1@1\n", "t/1@٣", "a b/1@1"])
def test_what_is_no_place_is_rejected_with_an_example(text: str) -> None:
    """The message shows how a position is written."""
    with pytest.raises(ValueError, match=r"classpulse\.classroom/3@1841"):
        RecordPosition.parse(text)


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2h", NOW_MS - 7_200_000),
        ("3d", NOW_MS - 259_200_000),
        ("999999999w", 0),
        ("2026-11-16T08:00", NOW_MS),
        ("2026-11-16", NOW_MS - 8 * 3_600_000),
        ("2026-11-16T00:00:00Z", NOW_MS),
        ("1900-01-01", 0),
    ],
)
def test_a_moment_is_so_long_ago_or_a_time(text: str, expected_ms: int) -> None:
    """A time without a zone is the district's."""
    assert moment_ms(text, NOW_MS, SHANGHAI) == expected_ms


@pytest.mark.parametrize("text", ["", "yesterday", "2", "-2h", "2026-13-01", "h"])
def test_what_is_no_moment_is_rejected_with_examples(text: str) -> None:
    """The message shows both ways to write one."""
    with pytest.raises(ValueError, match="30m, 2h or 3d"):
        moment_ms(text, NOW_MS, SHANGHAI)


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({"json", "data"})), True),
        (Selection(reasons=frozenset({"json"})), False),
        (Selection(fields=("data.*",)), True),
        (Selection(fields=("data",)), False),
        (Selection(fields=("data[score]",)), False),
        (Selection(sources=("/schools/s07/*",), types=("classroom.*",)), True),
        (Selection(sources=("/schools/s07/*",), types=("prep.*",)), False),
        (Selection(types=(TYPE,)), True),
        (Selection(topics=frozenset({"classpulse.prep"})), False),
        (Selection(since_ms=NOW_MS, until_ms=NOW_MS + 1), True),
        (Selection(since_ms=NOW_MS + 1), False),
        (Selection(until_ms=NOW_MS), False),
        (Selection(positions=frozenset({RecordPosition("classpulse.classroom", 3, 1841)})), True),
        (Selection(positions=frozenset({RecordPosition("classpulse.dead-letters", 0, 17)})), True),
        (Selection(positions=frozenset({RecordPosition("classpulse.classroom", 3, 17)})), False),
    ],
)
def test_a_selection_holds_what_satisfies_every_condition(selection: Selection, meant: bool) -> None:
    """Conditions of one kind are alternatives, those of different kinds all hold."""
    assert (stored() in selection) is meant


def test_a_letter_and_that_of_its_replay_are_of_one_event() -> None:
    """They are two dead letters; a forged origin makes no other record's dead letter the same."""
    first = stored()
    again = stored(headers=[(REPLAYED_FROM, str(first.dead_letter_position).encode())], offset=2000)
    assert first.identity != again.identity
    assert first.event_identity == again.event_identity
    assert again.origin == "classpulse.dead-letters/0@17"
    forged = stored(b"{}", [(REPLAYED_FROM, str(first.dead_letter_position).encode())])
    assert forged.event_identity != first.event_identity
