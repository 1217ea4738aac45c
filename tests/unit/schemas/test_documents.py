"""The events in a file: found whatever the line breaks, byte for byte, and with the verdict of a worker."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.check import check
from schemas.codec import documents
from schemas.codec.decode import decode
from schemas.codec.documents import Document
from schemas.events.event_types import CLASSROOM
from tests.unit.schemas.event_records import CLOCK, NOW_US, answer, answer_data, record

LIMIT_BYTES = 10_000


def found(text: bytes, chunk_bytes: int = 1 << 20) -> list[Document]:
    """Return the documents of a file that is read in chunks."""
    chunks = (text[start : start + chunk_bytes] for start in range(0, len(text), chunk_bytes))
    return list(documents.documents(chunks, LIMIT_BYTES))


def _partition_key(text: bytes) -> bytes | None:
    """Return the record key of a producer that sends ``text``: a file has none but the one that the event says."""
    try:
        event = json.loads(text.decode("utf-8-sig"))
    except ValueError:
        return None
    key = event.get("partitionkey") if isinstance(event, dict) else None
    return key.encode() if isinstance(key, str) else None


def pretty(event: Any) -> bytes:
    """Return ``event`` over many lines."""
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


ONE, TWO = answer(id="1", other="数{学}\n"), answer_data(score=0.1)
LINES = json.dumps(ONE).encode(), json.dumps(TWO).encode()
FORMS = {
    "one, pretty": (pretty(ONE), [pretty(ONE)]),
    "one, with CRLF": (pretty(ONE).replace(b"\n", b"\r\n"), [pretty(ONE).replace(b"\n", b"\r\n")]),
    "NDJSON": (b"\n".join(LINES) + b"\n", [*LINES]),
    "NDJSON, CRLF and blank lines": (b"\r\n\r\n".join(LINES), [*LINES]),
    "pretty, one after another": (pretty(ONE) + b"\n" + pretty(TWO), [pretty(ONE), pretty(TWO)]),
    "one after another without white space": (b"".join(LINES), [*LINES]),
    "on one line with blanks": (b"\t  ".join(LINES), [*LINES]),
    "pretty and compact": (pretty(ONE) + LINES[1], [pretty(ONE), LINES[1]]),
    "array": (b"[" + b",".join(LINES) + b"]", [*LINES]),
    "array after blanks and a mark": (b"\xef\xbb\xbf\r\n[\n" + pretty(ONE) + b"\n]\n", [pretty(ONE)]),
    "mark before an event": (b"\xef\xbb\xbf" + pretty(ONE), [b"\xef\xbb\xbf" + pretty(ONE)]),
    "unindented": (b'{"a": [\n{"b":1},\n{"c":2}\n]}\n{}', [b'{"a": [\n{"b":1},\n{"c":2}\n]}', b"{}"]),
    "broken line": (LINES[0] + b"\n{broken\n" + LINES[1], [LINES[0], b"{broken", LINES[1]]),
    "broken over lines": (b'{\n  "a": 1,,\n}\n' + LINES[1], [b'{\n  "a": 1,,\n}', LINES[1]]),
    "never closed": (b'{"a": [\n' + LINES[0] + b"\n" + LINES[1], [b'{"a": [', *LINES]),
    "text after an event on its line": (LINES[0] + b", x\n" + LINES[1], [LINES[0] + b", x", LINES[1]]),
    "other values": (b'null\n"x"\n1 2\n' + LINES[0], [b"null", b'"x"', b"1 2", LINES[0]]),
    "not UTF-8": (b'{"a":"\xff"}\n' + LINES[0] + b'\n{"\xed\xa0\x80', [b'{"a":"\xff"}', LINES[0], b'{"\xed\xa0\x80']),
    "long integers": (b'{"a":' + b"9" * 5_000 + b"}{}", [b'{"a":' + b"9" * 5_000 + b"}", b"{}"]),
    "deep": (b"[" * 3 + b"\n" + b'{"a":' * 9_000 + b"\n{}", None),
    "only blanks": (b" \r\n\t", []),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("chunk_bytes", [1, 7, 1 << 20])
@pytest.mark.parametrize(("text", "expected"), FORMS.values(), ids=FORMS.keys())
def test_every_form_of_a_file_gives_its_events_as_they_are_written(
    text: bytes, expected: list[bytes] | None, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is cut into chunks, the file gives the same bytes, numbered, each with the line it begins in."""
    monkeypatch.setattr(documents, "READ_BYTES", chunk_bytes)
    parts = found(text, chunk_bytes)
    if expected is None:
        assert [part.fault is None for part in parts] == [False]
        return
    assert [part.value for part in parts] == expected
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    begin = 0
    for part in parts:
        begin = text.index(part.value, begin)
        assert part.line == text.count(b"\n", 0, begin) + 1
        begin += len(part.value)


def test_a_document_above_the_limit_is_one_event() -> None:
    """Pretty-printed and far beyond what a record may hold: one document, and the next one is found."""
    large = pretty({"a": ["x" * 100] * 1_000})
    assert len(large) > 8 * LIMIT_BYTES
    assert [part.value for part in found(large + b"\n" + LINES[0] + b"\n{" + b"x" * 50_000)] == [
        *(large, LINES[0], b"{" + b"x" * 50_000),
    ]


def test_a_long_file_of_broken_events_is_read_to_its_end() -> None:
    """Every second of 60,000 lines is broken: each line is found as one event, in its place."""

    def lines() -> Iterator[bytes]:
        for number in range(60_000):
            yield b"{broken %d\n" % number if number % 2 else LINES[0] + b"\n"

    assert [part.line for part in documents.documents(lines(), LIMIT_BYTES)] == list(range(1, 60_001))


def test_an_array_too_long_to_be_held_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of an array is named, with what to write instead."""
    monkeypatch.setattr(documents, "ARRAY_LIMIT_CHARS", 100)
    monkeypatch.setattr(documents, "READ_BYTES", 10)
    (part,) = found(b"[" + LINES[0] + b"," + LINES[1] + b"]", 10)
    assert part.fault is not None
    assert "one event a line" in part.fault


@settings(max_examples=200)
@given(st.integers(0, 2**32))
def test_a_file_of_one_event_has_the_verdict_of_the_same_bytes_in_a_record(seed: int) -> None:
    """An event, right or spoilt, compact or over lines with any blanks: accepted here exactly if a worker stores it."""
    rng = random.Random(seed)
    event = rng.choice([answer(), answer_data(score=2), answer(id="a\u3000b"), answer(time="2026-02-30T00:00:00Z")])
    text = json.dumps(event, indent=rng.choice([None, 0, 1, "\t"]), ensure_ascii=rng.random() < 0.5).encode()
    if rng.random() < 0.5:
        place = rng.randrange(len(text))
        spoils = [b"", b"\r\n", b" ", b"\n{", b"}", b'"', b"\xff", b",", b"\xef\xbb\xbf"]
        text = text[:place] + rng.choice(spoils) + text[place:]
    text = rng.choice([b"", b"\n", b"\r\n\t ", b"\xef\xbb\xbf"]) + text.replace(b"\n", rng.choice([b"\n", b"\r\n"]))
    produced = replace(record(answer()), key=_partition_key(text), value=text)
    decoded = decode(CLASSROOM, [produced], clock=CLOCK, now_us=NOW_US)
    verdicts = list(check([text], clock=CLOCK, now_us=NOW_US, max_value_bytes=1_048_576, family=CLASSROOM))
    assert all(verdict.accepted for verdict in verdicts) == (decoded.events.height == 1)
    if len(verdicts) == 1 and decoded.rejects and not text[:1].isspace():
        assert verdicts[0].faults[0].reason == decoded.rejects[0].reason
